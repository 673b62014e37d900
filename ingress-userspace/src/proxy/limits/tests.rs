//! Limits against a plain model of NGINX's rules, and what must hold whatever comes.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::model::{LimitKey, Limits, RequestRate};

const START: u64 = 3_600_000;

fn limits(per_second: Option<RequestRate>, per_minute: Option<RequestRate>, most: u32) -> Limits {
    Limits {
        per_second,
        per_minute,
        connections: NonZeroU32::new(most),
        exempt: Box::default(),
        key: LimitKey::Address,
        request_status: 503,
        connection_status: 503,
    }
}

fn per_second(requests: u32, multiplier: u64) -> Limits {
    let rate = RequestRate::new(requests, 1, u64::from(requests) * multiplier);
    limits(Some(rate), None, 0)
}

fn passes(zones: &Arc<Zones>, limits: &Limits, key: &[u8], now: u64) -> bool {
    zones.admit(limits, key, now).is_ok()
}

#[test]
fn a_client_has_its_burst_and_then_its_rate() {
    let zones = Arc::<Zones>::default();
    let limits = per_second(2, 5);
    let at = |millis: u64, key: &[u8]| passes(&zones, &limits, key, START + millis);
    // The first costs nothing, ten more fill the bucket.
    assert_eq!((0..20).filter(|_| at(0, b"a")).count(), 11);
    assert_eq!((0..20).filter(|_| at(0, b"b")).count(), 11, "another client has its own");
    assert!(!at(499, b"a"), "half a second is one request");
    assert!(at(500, b"a"));
    assert!(!at(500, b"a"));
    assert_eq!((0..20).filter(|_| at(2500, b"a")).count(), 4);
    assert_eq!((0..20).filter(|_| at(60_000, b"a")).count(), 11, "the bucket holds no credit");
}

#[test]
fn a_rate_per_minute_is_rounded_down_to_thousandths_a_second() {
    assert_eq!(RequestRate::new(1, 60, 5), RequestRate { rate: 16, burst: 5000 });
    assert_eq!(RequestRate::new(100, 60, 500), RequestRate { rate: 1666, burst: 500_000 });
    assert_eq!(RequestRate::new(u32::MAX, 1, u64::MAX).burst, 1_000_000_000_000_000);
    let zones = Arc::<Zones>::default();
    let limits = limits(None, Some(RequestRate::new(1, 60, 1)), 0);
    let at = |millis: u64| passes(&zones, &limits, b"a", START + millis);
    assert_eq!([at(0), at(0), at(0)], [true, true, false]);
    assert_eq!([at(62_499), at(62_500)], [false, true]);
}

#[test]
fn of_two_rates_both_take_a_request_in_or_none_does() {
    let zones = Arc::<Zones>::default();
    let rate = |requests, seconds, burst| Some(RequestRate::new(requests, seconds, burst));
    let both = limits(rate(1, 1, 3), rate(1, 60, 1), 0);
    let at = |millis: u64| passes(&zones, &both, b"a", START + millis);
    assert_eq!([at(0), at(0), at(0), at(0), at(0)], [true, true, false, false, false]);
    // What the second refused did not fill the first.
    let first = limits(both.per_second, None, 0);
    let count = (0..9).filter(|_| passes(&zones, &first, b"a", START)).count();
    assert_eq!(count, 2);
}

#[test]
fn requests_under_way_are_counted_until_they_end() {
    let zones = Arc::<Zones>::default();
    let limits = limits(None, None, 2);
    let take = |key: &[u8]| zones.admit(&limits, key, START);
    let one = take(b"a").expect("the first").expect("a slot");
    let two = take(b"a").expect("the second").expect("a slot");
    assert_eq!(take(b"a").err(), Some(Rejected::Connections));
    let other = take(b"b").expect("another client").expect("a slot");
    drop(one);
    let three = take(b"a").expect("one has ended").expect("a slot");
    assert_eq!(take(b"a").err(), Some(Rejected::Connections));
    assert_eq!(zones.counts(), [0, 0, 2]);
    drop((two, three, other));
    assert_eq!(zones.counts(), [0, 0, 0]);
}

#[test]
fn a_request_that_rates_turn_away_is_not_under_way() {
    let zones = Arc::<Zones>::default();
    let limits = limits(Some(RequestRate::new(1, 1, 1)), None, 9);
    let slots: Vec<_> = (0..5).map(|_| zones.admit(&limits, b"a", START)).collect();
    assert_eq!(slots.iter().filter(|slot| slot.is_ok()).count(), 2);
    assert_eq!(slots[4].as_ref().err(), Some(&Rejected::Requests));
    drop(slots);
    assert_eq!(zones.counts(), [1, 0, 0]);
}

#[test]
fn clients_beyond_the_memory_push_the_oldest_out() {
    let zones = Arc::<Zones>::default();
    let limits = per_second(1, 1);
    for client in 0..100_000_u32 {
        assert!(passes(&zones, &limits, &client.to_be_bytes(), START));
    }
    assert_eq!(zones.counts(), [40_960, 0, 0]);
    let again = |client: u32| passes(&zones, &limits, &client.to_be_bytes(), START);
    assert_eq!([again(99_999), again(99_999)], [true, false], "the newest is known");
    assert_eq!([again(0), again(0), again(0)], [true, true, false], "the oldest was forgotten");
}

#[test]
fn each_new_client_lets_two_idle_ones_go() {
    let zones = Arc::new(Zones::with_size(5 << 20));
    let limits = per_second(1, 1);
    let mut now = START;
    for client in 0..5000_u32 {
        assert!(passes(&zones, &limits, &client.to_be_bytes(), now));
    }
    now += 59_999;
    assert!(passes(&zones, &limits, b"later", now));
    assert_eq!(zones.counts()[0], 5001);
    now += 1;
    for client in 5000..5100_u32 {
        assert!(passes(&zones, &limits, &client.to_be_bytes(), now));
    }
    assert_eq!(zones.counts()[0], 5001 - 100);
}

#[test]
fn a_key_that_finds_no_room_is_turned_away() {
    let zones = Arc::new(Zones::with_size(16 * 1024));
    let rates = per_second(1, 1);
    assert!(passes(&zones, &rates, &[7; 900], START));
    assert_eq!(zones.admit(&rates, &[7; 5000], START).err(), Some(Rejected::Requests));
    let most = limits(None, None, 1);
    let keys = (0..2000_u32).map(u32::to_be_bytes);
    let slots: Vec<_> = keys.map(|key| zones.admit(&most, &key, START)).collect();
    let held = slots.iter().filter(|slot| slot.is_ok()).count();
    assert!((200..=256).contains(&held), "{held}: 256 in 16 shares, each full");
    assert!(slots.iter().any(|slot| slot.as_ref().err() == Some(&Rejected::Connections)));
    drop(slots);
    assert_eq!(zones.counts()[2], 0);
}

#[test]
fn workers_share_what_they_count() {
    const WORKERS: usize = 8;
    for _ in 0..20 {
        let zones = Arc::<Zones>::default();
        let limits = Arc::new(limits(Some(RequestRate::new(100, 1, 500)), None, 300));
        let (passed, barrier) = (Arc::new(AtomicU32::new(0)), Arc::new(Barrier::new(WORKERS)));
        let work = |_| {
            let (zones, limits) = (Arc::clone(&zones), Arc::clone(&limits));
            let (passed, barrier) = (Arc::clone(&passed), Arc::clone(&barrier));
            thread::spawn(move || {
                barrier.wait();
                let slots: Vec<_> =
                    (0..200).filter_map(|_| zones.admit(&limits, b"a", START).ok()).collect();
                passed.fetch_add(slots.len() as u32, Ordering::Relaxed);
                barrier.wait();
            })
        };
        let threads: Vec<_> = (0..WORKERS).map(work).collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(passed.load(Ordering::Relaxed), 300, "501 by rate, 300 of them at one time");
        assert_eq!(zones.counts(), [1, 0, 0]);
    }
}

/// NGINX's rules, the plain way: a list of clients in signed numbers, none ever forgotten.
#[derive(Default)]
struct Plain(HashMap<(u8, u8), (i128, i128)>);

impl Plain {
    fn next(&self, zone: u8, client: u8, rate: RequestRate, now: i128) -> Option<(i128, i128)> {
        let Some((excess, last)) = self.0.get(&(zone, client)) else { return Some((0, now)) };
        let elapsed = (now - last).max(0);
        let next = (excess - i128::from(rate.rate) * elapsed / 1000 + 1000).max(0);
        (next <= i128::from(rate.burst)).then_some((next, now.max(*last)))
    }

    fn passes(&mut self, limits: &Limits, client: u8, now: u64) -> bool {
        let mut next = Vec::new();
        for (zone, rate) in [(0, limits.per_second), (1, limits.per_minute)] {
            let Some(rate) = rate else { continue };
            match self.next(zone, client, rate, now.into()) {
                Some(state) => next.push(((zone, client), state)),
                None => return false,
            }
        }
        self.0.extend(next);
        true
    }
}

fn rate(seconds: u32) -> impl Strategy<Value = Option<RequestRate>> {
    let rate = (1_u32..2000, 1_u64..20)
        .prop_map(move |(most, times)| RequestRate::new(most, seconds, u64::from(most) * times));
    option::of(rate)
}

proptest! {
    #[test]
    fn rates_are_those_of_the_plain_model(
        second in rate(1),
        minute in rate(60),
        requests in vec((0_u8..4, prop_oneof![0_u64..5, 0_u64..300, 0_u64..100_000]), 1..400),
    ) {
        let limits = limits(second, minute, 0);
        let (zones, mut plain) = (Arc::<Zones>::default(), Plain::default());
        let mut now = START;
        for (client, pause) in requests {
            now += pause;
            // A worker whose clock was read earlier.
            let own = now - pause % 3;
            let passed = passes(&zones, &limits, &[client], own);
            prop_assert_eq!(passed, plain.passes(&limits, client, own));
        }
    }

    #[test]
    fn nobody_has_more_than_burst_and_rate(
        most in 1_u32..50,
        times in 1_u64..6,
        pauses in vec(0_u64..200, 1..500),
    ) {
        let limits = per_second(most, times);
        let zones = Arc::<Zones>::default();
        let (mut now, mut passed) = (START, 0);
        for pause in pauses {
            now += pause;
            passed += u64::from(passes(&zones, &limits, b"a", now));
        }
        let rate = u64::from(most);
        prop_assert!(passed <= 1 + rate * times + (now - START) * rate / 1000 + 1);
    }
}

mod registry {
    use super::*;
    use crate::{
        model::{Host, HostName, Model, Policies},
        proxy::limits::Access,
    };

    fn model(names: &[&str]) -> Model {
        let text: String = names
            .iter()
            .map(|name| {
                format!(
                    "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}, \
                     annotations: {{nginx.ingress.kubernetes.io/limit-rps: '1'}}}}\n\
                     spec: {{rules: [{{host: {name}.example.com, http: {{paths: [{{path: /, \
                     pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}}}]}}\n"
                )
            })
            .collect();
        let (stores, _) = crate::source::parse::tests::stores(&text);
        let options =
            crate::translate::Options { watch_ingress_without_class: true, ..Default::default() };
        let translation =
            crate::translate::Translator::new(options).translate(&stores, &Default::default());
        (*translation.model).clone()
    }

    fn policies(host: &Host) -> (&ObjectRef, &Arc<Policies>) {
        let route = host.routes.iter().find(|route| route.policies.is_some()).expect("a limit");
        (&route.ingress, route.policies.as_ref().expect("a limit"))
    }

    fn zones(access: &Access, model: &Model, name: &str) -> Arc<Zones> {
        let name = HostName::Exact(format!("{name}.example.com").into());
        let host = model.hosts.iter().find(|host| host.name == name).expect("the host");
        let (ingress, policies) = policies(host);
        access.zones(ingress, policies)
    }

    #[test]
    fn what_is_counted_outlives_snapshots_and_not_its_ingress() {
        let registry = Registry::new();
        let (one, two) = (Access::new(Arc::clone(&registry)), Access::new(Arc::clone(&registry)));
        let before = model(&["a", "b"]);
        let of_a = zones(&one, &before, "a");
        assert!(Arc::ptr_eq(&of_a, &zones(&two, &before, "a")), "all workers have the same");
        assert!(!Arc::ptr_eq(&of_a, &zones(&one, &before, "b")), "each Ingress has its own");
        let after = model(&["a", "c"]);
        registry.prune(&after);
        one.forget();
        assert!(Arc::ptr_eq(&of_a, &zones(&one, &after, "a")));
        assert_eq!(registry.count(), 1);
        registry.prune(&model(&[]));
        assert_eq!(registry.count(), 0);
    }
}
