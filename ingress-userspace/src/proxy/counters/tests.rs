use std::{sync::Arc, time::Duration};

use http::Method;

use super::{
    book::{Counted, Shared},
    layout::Histogram,
    record::{METHODS, NONE, Record, Variant, known},
    *,
};
use crate::{
    config::Metrics,
    model::{
        Backend, BackendId, BackendKey, Balancing, Host, HostName, HttpsRedirect, Model, ObjectRef,
        PathKind, PortRef, Route, Target,
    },
    route::{Found, RouteTable},
};

pub(super) fn route(ingress: &str, path: &str) -> Arc<Route> {
    Arc::new(Route {
        ingress: ObjectRef::new("Ingress", "web", ingress),
        field: String::new(),
        kind: PathKind::Prefix,
        path: path.into(),
        use_regex: false,
        rewrite: None,
        https_redirect: HttpsRedirect::Never,
        preserve_trailing_slash: false,
        redirect_form: Default::default(),
        sets_session: false,
        proxying: Arc::default(),
        policies: None,
        target: Target::Backend(BackendId(0)),
    })
}

pub(super) fn host(name: HostName, routes: Vec<Arc<Route>>) -> Arc<Host> {
    Arc::new(Host {
        name,
        aliases: Box::default(),
        certificate: None,
        tls: false,
        handshake: None,
        regex: false,
        snippet: None,
        app_root: None,
        routes,
    })
}

fn exact(name: &str) -> HostName {
    HostName::Exact(name.into())
}

fn backend(service: &str) -> Arc<Backend> {
    Arc::new(Backend {
        key: BackendKey {
            namespace: "web".into(),
            service: service.into(),
            port: PortRef::Number(80),
        },
        endpoints: Vec::new(),
        is_name: false,
        balancing: Arc::new(Balancing::default()),
    })
}

pub(super) fn model(hosts: Vec<Arc<Host>>) -> Model {
    Model { hosts: hosts.into(), backends: vec![backend("shop")], ..Model::default() }
}

/// A book, the table that is published in it, and the numbers of a path.
struct Site {
    shared: Shared,
    table: RouteTable,
}

impl Site {
    fn new(metrics: &Metrics, hosts: Vec<Arc<Host>>) -> Self {
        let mut site = Self { shared: Shared::new(metrics), table: RouteTable::default() };
        site.publish(hosts);
        site
    }

    fn publish(&mut self, hosts: Vec<Arc<Host>>) {
        let model = model(hosts);
        self.table = self.table.next(&model).0;
        self.shared.publish(&model, &self.table);
    }

    fn number(&self, host: &str, path: &str) -> u64 {
        match self.table.host(host).find(path) {
            Found::Route(found) => found.number,
            other => panic!("{other:?}"),
        }
    }

    fn add(&self, number: u64, method: &Method, status: u16, canary: Option<&Arc<Backend>>) {
        self.shared.add(&mut vec![record(number, method, status, canary)]);
    }

    /// `method status host ingress path canary` and how often.
    fn counted(&self) -> Vec<(String, u64)> {
        let counted = self.shared.counted();
        let mut all: Vec<_> = counted.series.iter().map(|own| line(&counted, own)).collect();
        all.sort();
        all
    }
}

fn line(counted: &Counted, series: &Series) -> (String, u64) {
    let own = &series.labels;
    let words = [
        series.method(),
        &series.status(),
        own.host.as_deref().unwrap_or("-"),
        &own.ingress,
        &own.path,
        &own.service,
        series.canary.as_deref().unwrap_or("-"),
    ];
    (words.join(" "), counted.requests(series))
}

fn record(number: u64, method: &Method, status: u16, canary: Option<&Arc<Backend>>) -> Record {
    Record {
        number,
        canary: canary.cloned(),
        request: 6_000,
        response: 5_000,
        header: 4_999,
        connect: u32::MAX,
        received: 100,
        sent: 1_001,
        variant: Variant { status, method: known(method) },
    }
}

fn hosts() -> Vec<Arc<Host>> {
    vec![
        host(exact("a"), vec![route("one", "/"), route("two", "/x")]),
        host(HostName::Wildcard("w".into()), vec![route("wild", "/")]),
        host(HostName::CatchAll, vec![route("all", "/")]),
    ]
}

fn total(histogram: &Histogram, bucket: f64) -> u64 {
    let below = histogram.buckets.iter().filter(|(bound, _)| *bound <= bucket);
    below.map(|(_, count)| count).sum()
}

#[test]
fn a_request_falls_into_the_buckets_of_what_it_took() {
    let site = Site::new(&Metrics::default(), hosts());
    site.add(site.number("a", "/x"), &Method::GET, 200, None);
    let counted = site.shared.counted();
    let [series] = &*counted.series else { panic!("one series") };
    let time = |index| counted.time(series, index).expect("it is gathered");
    // A bound belongs to its bucket.
    assert_eq!((total(&time(0), 0.005), total(&time(0), 0.01)), (0, 1));
    assert_eq!((total(&time(1), 0.005), time(1).count), (1, 1));
    assert_eq!((time(2).sum, total(&time(2), 0.005)), (0.004_999, 1));
    assert_eq!((time(3).count, time(3).sum), (0, 0.0));
    let size = |index| counted.size(series, index).expect("it is gathered");
    assert_eq!((total(&size(0), 90.0), total(&size(0), 100.0), size(0).sum), (0, 1, 100.0));
    assert_eq!((total(&size(1), 100.0), size(1).count, size(1).sum), (0, 1, 1001.0));
    assert_eq!((total(&size(2), 1e3), total(&size(2), 1e4)), (0, 1));
}

#[test]
fn hosts_that_nobody_defines_are_counted_where_that_is_asked_for() {
    let ask = |metrics: Metrics| {
        let site = Site::new(&metrics, hosts());
        for (name, path) in [("a", "/"), ("b.w", "/"), ("c.w", "/"), ("unknown", "/")] {
            site.add(site.number(name, path), &Method::GET, 200, None);
        }
        site.add(0, &Method::GET, 400, None);
        site.counted()
    };
    let one = ("GET 200 a one / shop -".to_owned(), 1);
    assert_eq!(ask(Metrics::default()), std::slice::from_ref(&one));
    assert_eq!(
        ask(Metrics { per_undefined_host: true, ..Metrics::default() }),
        [
            ("GET 200 *.w wild / shop -".to_owned(), 2),
            ("GET 200 _ all / shop -".to_owned(), 1),
            one,
            ("GET 400 _    -".to_owned(), 1),
        ]
    );
    assert_eq!(
        ask(Metrics { per_host: false, ..Metrics::default() }),
        [
            ("GET 200 - all / shop -".to_owned(), 1),
            ("GET 200 - one / shop -".to_owned(), 1),
            ("GET 200 - wild / shop -".to_owned(), 2),
            ("GET 400 -    -".to_owned(), 1),
        ]
    );
}

#[test]
fn statuses_can_be_classes() {
    let site = Site::new(&Metrics { status_classes: true, ..Metrics::default() }, hosts());
    for status in [200, 204, 404] {
        site.add(site.number("a", "/"), &Method::GET, status, None);
    }
    let two = [("GET 2xx a one / shop -", 2), ("GET 4xx a one / shop -", 1)];
    assert_eq!(site.counted(), two.map(|(text, count)| (text.to_owned(), count)));
}

#[test]
fn classes_stay_what_they_are_where_there_are_too_many_series() {
    let site = Site::new(&Metrics { status_classes: true, ..Metrics::default() }, hosts());
    let number = site.number("a", "/");
    let methods = METHODS.iter().map(|name| Method::from_bytes(name.as_bytes()).expect("a token"));
    let mut sent = 0;
    for method in methods {
        for status in (100..1000).step_by(100) {
            site.add(number, &method, status, None);
            sent += 1;
        }
    }
    let counted = site.counted();
    assert!((64..64 + 9).contains(&counted.len()), "{}", counted.len());
    assert_eq!(counted.iter().map(|(_, count)| count).sum::<u64>(), sent);
    for (line, _) in &counted {
        assert!(!line.contains(" 0xx "), "{line}");
    }
}

#[test]
fn the_series_of_a_deleted_ingress_vanish_and_their_memory_is_used_again() {
    let mut site = Site::new(&Metrics::default(), hosts());
    let (one, two) = (site.number("a", "/"), site.number("a", "/x"));
    for _ in 0..3 {
        site.add(one, &Method::GET, 200, None);
        site.add(two, &Method::GET, 200, None);
    }
    let before = site.shared.counted().memory();
    site.publish(vec![host(exact("a"), vec![route("one", "/")])]);
    let left = |count| vec![("GET 200 a one / shop -".to_owned(), count)];
    assert_eq!(site.counted(), left(3));
    // A request that began before the change, to what is there still and to what is not.
    site.add(one, &Method::GET, 200, None);
    site.add(two, &Method::GET, 200, None);
    assert_eq!(site.counted(), left(4));
    site.publish(hosts());
    site.add(site.number("a", "/x"), &Method::GET, 200, None);
    let counted = site.counted();
    assert_eq!(counted[1], ("GET 200 a two /x shop -".to_owned(), 1));
    assert_eq!(site.shared.counted().memory(), before);
}

#[test]
fn what_changes_for_ever_does_not_fill_the_memory() {
    let mut site = Site::new(&Metrics::default(), Vec::new());
    let mut memory = 0;
    for round in 0..50 {
        let name = format!("h{round}");
        site.publish(vec![host(exact(&name), vec![route(&name, "/")])]);
        for status in 200..240 {
            site.add(site.number(&name, "/"), &Method::GET, status, None);
        }
        if round == 10 {
            memory = site.shared.counted().memory();
        }
    }
    assert_eq!(site.counted().len(), 40);
    assert_eq!(site.shared.counted().memory(), memory);
}

#[test]
fn what_clients_and_endpoints_make_up_makes_a_bounded_number_of_series() {
    let site = Site::new(&Metrics::default(), hosts());
    let number = site.number("a", "/");
    let mut sent = 0;
    for status in 100..=999 {
        for method in ["GET", "POST", "BREW", "MAKE-UP"] {
            let method = Method::from_bytes(method.as_bytes()).expect("a token");
            site.add(number, &method, status, None);
            sent += 1;
        }
    }
    let counted = site.counted();
    assert!(counted.len() <= 64 + 9, "{}", counted.len());
    assert_eq!(counted.iter().map(|(_, count)| count).sum::<u64>(), sent);
    assert!(counted.iter().any(|(line, _)| line.starts_with("OTHER 9xx ")));
    assert!(!counted.iter().any(|(line, _)| line.contains("BREW")));
}

#[test]
fn all_routes_together_have_a_bounded_number_of_series() {
    let metrics = Metrics::default();
    let mut site = Site::new(&metrics, Vec::new());
    site.shared = Shared::with(&metrics, 100);
    let routes = (0..20).map(|own| route("one", &format!("/{own}"))).collect();
    site.publish(vec![host(exact("a"), routes)]);
    for own in 0..20 {
        for status in 200..250 {
            site.add(site.number("a", &format!("/{own}")), &Method::GET, status, None);
        }
    }
    let counted = site.counted();
    // The first two have theirs; each of the others has one.
    assert_eq!(counted.len(), 100 + 18);
    assert_eq!(counted.iter().map(|(_, count)| count).sum::<u64>(), 20 * 50);
    assert_eq!(counted.iter().filter(|(line, _)| line.starts_with("OTHER 2xx ")).count(), 18);
}

#[test]
fn workers_do_not_wait_for_the_book() {
    let site = Site::new(&Metrics::default(), hosts());
    let number = site.number("a", "/");
    let batch = || (0..BATCH).map(|_| record(number, &Method::GET, 200, None)).collect();
    let in_use = site.shared.hold();
    for _ in 0..600 {
        let mut batch: Vec<_> = batch();
        site.shared.add(&mut batch);
        assert!(batch.is_empty());
    }
    drop(in_use);
    // 512 batches wait.
    assert_eq!(site.shared.lost(), 88 * BATCH as u64);
    // Whoever is next adds up a part of them, and a page all.
    site.shared.add(&mut batch());
    assert_eq!(site.shared.waits(), 512 - 8);
    assert_eq!(site.counted(), [("GET 200 a one / shop -".to_owned(), 513 * BATCH as u64)]);
    assert_eq!((site.shared.waits(), site.shared.lost()), (0, 88 * BATCH as u64));
}

#[test]
fn a_canary_has_series_of_its_own_for_as_long_as_it_is_one() {
    let mut site = Site::new(&Metrics::default(), hosts());
    let number = site.number("a", "/");
    site.add(number, &Method::GET, 200, Some(&backend("new")));
    site.add(number, &Method::GET, 200, None);
    let with = |canary: &str, count| (format!("GET 200 a one / shop {canary}"), count);
    assert_eq!(site.counted(), [with("-", 1), with("web-new-80", 1)]);
    let mut changed = hosts();
    changed.push(host(exact("z"), vec![route("z", "/")]));
    site.publish(changed);
    assert_eq!(site.counted(), [with("-", 1)]);
}

#[test]
fn a_service_in_the_place_of_another_has_its_own_name() {
    let hosts = vec![host(exact("a"), vec![route("one", "/")])];
    let mut site = Site::new(&Metrics::default(), hosts.clone());
    let number = site.number("a", "/");
    site.add(number, &Method::GET, 200, None);
    let mut model = model(hosts);
    model.backends = vec![backend("other")];
    site.table = site.table.next(&model).0;
    site.shared.publish(&model, &site.table);
    assert_eq!(site.number("a", "/"), number, "nothing else is new");
    for _ in 0..2 {
        site.add(number, &Method::GET, 200, None);
    }
    assert_eq!(site.counted(), [("GET 200 a one / other -".to_owned(), 2)]);
}

#[test]
fn nothing_is_lost_while_the_book_is_read() {
    let site = Arc::new(Site::new(&Metrics::default(), hosts()));
    let number = site.number("a", "/");
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let site = Arc::clone(&site);
            std::thread::spawn(move || {
                // As many as may wait.
                for _ in 0..170 {
                    site.shared.add(&mut vec![record(number, &Method::GET, 200, None); 64]);
                }
            })
        })
        .collect();
    while writers.iter().any(|writer| !writer.is_finished()) {
        drop(site.shared.counted());
    }
    writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
    assert_eq!(site.counted()[0].1, 3 * 170 * 64);
}

#[test]
fn what_is_excluded_is_not_gathered() {
    let excluded = ["connect_duration_seconds".to_owned(), "request_size".to_owned()];
    let metrics = Metrics { excluded: excluded.into(), ..Metrics::default() };
    let all = Site::new(&Metrics::default(), hosts());
    let some = Site::new(&metrics, hosts());
    for site in [&all, &some] {
        site.add(site.number("a", "/"), &Method::GET, 200, None);
    }
    let counted = some.shared.counted();
    let series = &counted.series[0];
    assert!(counted.time(series, 3).is_none() && counted.size(series, 0).is_none());
    assert_eq!(counted.time(series, 0).map(|own| own.count), Some(1));
    assert_eq!(counted.size(series, 2).map(|own| own.sum), Some(1001.0));
    assert!(counted.memory() < all.shared.counted().memory());
}

#[test]
fn every_method_of_the_list_has_its_name() {
    let named = |name: &[u8]| {
        let method = known(&Method::from_bytes(name).expect("a token"));
        Variant { status: 200, method }.method()
    };
    METHODS.iter().skip(1).for_each(|name| assert_eq!(named(name.as_bytes()), *name));
    assert_eq!(named(b"get"), "OTHER");
}

#[test]
fn the_clock_stands_still_until_something_was_waited_for() {
    let timing = Timing::default();
    assert!(timing.durations().is_none());
    timing.ask();
    assert!(timing.durations().is_none());
    timing.begin(1);
    timing.ask();
    timing.connected(true);
    let first = timing.durations().expect("it began");
    assert_eq!((first.request, first.connect, first.header), (0, Some(0), None));
    assert_eq!(first.response, Some(0));
    timing.answered();
    let second = timing.durations().expect("it began");
    assert_eq!(second.header, second.response);
    assert_eq!(u128::from(second.request), Duration::from_micros(second.request).as_micros());
    // Another request on the same connection, that no endpoint is asked for.
    timing.begin(1);
    let third = timing.durations().expect("it began");
    assert_eq!((third.connect, third.header, third.response), (None, None, None));
    assert_ne!(third.request, NONE);
}

/// Ingress, class, requests and requests that were timed of what is new.
fn fresh(site: &Site, seen: &mut Seen) -> Vec<(String, usize, u64, u32)> {
    let mut recent: Vec<_> = site
        .shared
        .since(seen)
        .series
        .iter()
        .map(|own| {
            (own.labels.ingress.to_string(), own.class, own.requests, own.buckets.iter().sum())
        })
        .collect();
    recent.sort();
    recent
}

#[test]
fn a_reader_sees_each_request_once() {
    let mut site = Site::new(&Metrics::default(), hosts());
    let (one, two) = (site.number("a", "/"), site.number("a", "/x"));
    let mut seen = Seen::default();
    let mut other = Seen::default();
    site.add(one, &Method::GET, 200, None);
    site.add(one, &Method::GET, 503, None);
    let told = |name: &str, class, count| (name.to_owned(), class, count, count as u32);
    assert_eq!(fresh(&site, &mut seen), [told("one", 2, 1), told("one", 5, 1)]);
    assert_eq!(fresh(&site, &mut seen), []);
    site.add(one, &Method::GET, 200, None);
    site.add(two, &Method::GET, 299, None);
    assert_eq!(fresh(&site, &mut seen), [told("one", 2, 1), told("two", 2, 1)]);
    assert_eq!(fresh(&site, &mut other).iter().map(|own| own.2).sum::<u64>(), 4);
    // Its block is given to another series, which may have had more requests than it ever had.
    site.publish(vec![host(exact("a"), vec![route("one", "/")])]);
    site.publish(hosts());
    for _ in 0..3 {
        site.add(site.number("a", "/x"), &Method::GET, 404, None);
    }
    assert_eq!(fresh(&site, &mut seen), [told("two", 4, 3)]);
}

#[test]
fn what_is_in_no_series_is_told_by_class() {
    let site = Site::new(&Metrics::default(), hosts());
    let mut seen = Seen::default();
    for status in [404, 404, 200, 999] {
        site.add(0, &Method::GET, status, None);
    }
    assert_eq!(site.shared.since(&mut seen).other, [1, 0, 1, 0, 2, 0]);
    assert_eq!(site.shared.since(&mut seen).other, [0; 6]);
    assert_eq!(site.counted(), []);
}
