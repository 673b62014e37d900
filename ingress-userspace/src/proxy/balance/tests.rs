use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    num::NonZeroU16,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;

use super::{Asker, Choice, Pick, Tried, View, date, session};
use crate::{
    model::{
        Affinity, AffinityMode, Backend, BackendId, BackendKey, Balancing, Endpoint, HashBy,
        HttpsRedirect, Model, ObjectRef, PathKind, Piece, Policy, PortRef, Route, SameSite,
        SessionCookie, Target, Text, Variable,
    },
    snapshot::Snapshot,
};

const ID: BackendId = BackendId(0);

/// A request of this path, and perhaps with a cookie, at a time of the test's choice.
#[derive(Default)]
struct Request {
    path: String,
    cookie: Option<String>,
    now: Cell<u64>,
}

impl Asker for Request {
    fn variable(&self, variable: &Variable, take: &mut dyn FnMut(&[u8])) {
        assert_eq!(*variable, Variable::RequestUri);
        take(self.path.as_bytes());
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        assert_eq!(name, "INGRESSCOOKIE");
        self.cookie.as_deref().map(str::as_bytes)
    }

    fn now(&self) -> u64 {
        self.now.get()
    }
}

fn path(path: impl ToString) -> Request {
    Request { path: path.to_string(), ..Request::default() }
}

fn address(last: u8) -> SocketAddr {
    ([10, 0, 0, last], 80).into()
}

fn snapshot(name: &str, weights: &[(u8, u16)], balancing: Balancing) -> Arc<Snapshot> {
    let key =
        BackendKey { namespace: "web".into(), service: name.into(), port: PortRef::Number(80) };
    let endpoint =
        |(last, weight): &(u8, u16)| Endpoint { weight: *weight, ..Endpoint::at(address(*last)) };
    let endpoints = weights.iter().map(endpoint).collect();
    let backend = Backend { key, endpoints, is_name: false, balancing: Arc::new(balancing) };
    let model = Model { backends: vec![Arc::new(backend)], ..Model::default() };
    Arc::new(Snapshot { model: Arc::new(model), ..Snapshot::default() })
}

fn view(endpoints: &[u8], balancing: Balancing) -> Rc<View> {
    let weights: Vec<_> = endpoints.iter().map(|last| (*last, 1)).collect();
    weighted(&weights, balancing)
}

fn weighted(weights: &[(u8, u16)], balancing: Balancing) -> Rc<View> {
    View::new(snapshot("shop", weights, balancing), &mut fastrand::Rng::with_seed(7))
}

fn policy(policy: Policy) -> Balancing {
    Balancing { policy, ..Balancing::default() }
}

fn hash_by(subset: Option<u16>) -> Balancing {
    let pieces = [Piece::Text("x".into()), Piece::Variable(Variable::RequestUri)].into();
    policy(Policy::Hash(HashBy { text: Text { pieces }, subset: subset.and_then(NonZeroU16::new) }))
}

fn sticky(mode: AffinityMode, change_on_failure: bool) -> Balancing {
    let cookie = SessionCookie { change_on_failure, ..SessionCookie::default() };
    Balancing { affinity: Some(Affinity { mode, cookie }), ..Balancing::default() }
}

/// With the sessions of the backend itself.
fn pick_of(view: &View, id: BackendId, request: &Request, tried: &mut Tried) -> Option<Pick> {
    view.pick(own(view, id), request, tried)
}

fn own(view: &View, id: BackendId) -> Choice<'_> {
    let affinity = view.backend(id).and_then(|backend| backend.balancing.affinity.as_ref());
    Choice { id, affinity }
}

fn pick(view: &View, request: &Request) -> Pick {
    pick_of(view, ID, request, &mut Tried::default()).expect("it has endpoints")
}

/// The last bytes of the addresses that these many requests go to.
fn sequence(view: &View, requests: usize) -> Vec<u8> {
    (0..requests).map(|_| last(pick(view, &Request::default()).address)).collect()
}

fn last(address: SocketAddr) -> u8 {
    match address {
        SocketAddr::V4(address) => address.ip().octets()[3],
        SocketAddr::V6(_) => 0,
    }
}

fn counts(sequence: &[u8]) -> BTreeMap<u8, usize> {
    let mut counts = BTreeMap::new();
    for last in sequence {
        *counts.entry(*last).or_default() += 1;
    }
    counts
}

#[test]
fn every_endpoint_has_its_turn() {
    let view = view(&[1, 2, 3], Balancing::default());
    let sequence = sequence(&view, 30);
    assert_eq!(counts(&sequence).into_values().collect::<Vec<_>>(), [10, 10, 10]);
    assert!(sequence.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn workers_do_not_march_in_step() {
    let snapshot = snapshot("shop", &[(1, 1), (2, 1), (3, 1), (4, 1)], Balancing::default());
    let mut random = fastrand::Rng::with_seed(1);
    let first = |random: &mut fastrand::Rng| {
        pick(&View::new(Arc::clone(&snapshot), random), &Request::default()).index
    };
    let firsts: Vec<_> = (0..64).map(|_| first(&mut random)).collect();
    assert!((0..4).all(|index| firsts.contains(&index)), "{firsts:?}");
}

#[test]
fn a_backend_without_endpoints_has_no_next() {
    let none = view(&[], Balancing::default());
    assert_eq!(pick_of(&none, ID, &Request::default(), &mut Tried::default()), None);
    let one = view(&[1], Balancing::default());
    assert_eq!(pick_of(&one, BackendId(9), &Request::default(), &mut Tried::default()), None);
}

#[test]
fn weights_are_met_smoothly() {
    // The sequence that NGINX documents for weights 5, 1, 1: a a b a c a a.
    let view = weighted(&[(1, 5), (2, 1), (3, 1)], Balancing::default());
    let sequence = sequence(&view, 70);
    for window in sequence.windows(7) {
        assert_eq!(counts(window), BTreeMap::from([(1, 5), (2, 1), (3, 1)]));
    }
    let text: String = sequence.iter().map(|last| char::from(b'0' + last)).collect();
    assert!(text.contains("1121311112131111"), "{text}");
}

#[test]
fn no_weight_is_no_request_unless_all_have_none() {
    let some = weighted(&[(1, 0), (2, 3)], Balancing::default());
    assert_eq!(sequence(&some, 5), [2; 5]);
    let ewma = weighted(&[(1, 0), (2, 3)], policy(Policy::Ewma));
    assert_eq!(sequence(&ewma, 5), [2; 5]);
    let all = weighted(&[(1, 0), (2, 0)], Balancing::default());
    assert_eq!(counts(&sequence(&all, 10)), BTreeMap::from([(1, 5), (2, 5)]));
}

#[test]
fn attempts_go_to_endpoints_that_were_not_tried() {
    for balancing in [Balancing::default(), policy(Policy::Ewma), hash_by(None), hash_by(Some(4))] {
        let view = view(&[1, 2, 3, 4], balancing);
        for request in 0..50 {
            let mut tried = Tried::default();
            let request = path(request);
            let mut four: Vec<_> =
                (0..4).map(|_| pick_of(&view, ID, &request, &mut tried).unwrap().index).collect();
            four.sort_unstable();
            assert_eq!(four, [0, 1, 2, 3]);
            assert!(pick_of(&view, ID, &request, &mut tried).is_some(), "then any again");
        }
    }
}

#[test]
fn an_endpoint_that_refuses_is_passed_over_for_a_growing_while() {
    let view = view(&[1, 2, 3], Balancing::default());
    let request = Request::default();
    let to_first = |now: u64| {
        request.now.set(now);
        (0..9).filter(|_| pick(&view, &request).index == 0).count()
    };
    assert_eq!(to_first(0), 3);
    let mut now = 0;
    view.refused(ID, 0, now);
    for pause in [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
        view.refused(ID, 0, now + 1);
        assert_eq!(to_first(now + 1), 0, "one refusal counts, however many requests see it");
        assert_eq!(to_first(now + pause - 1), 0);
        now += pause;
        assert_eq!(to_first(now), 1, "one request finds out, after {pause} ms");
        view.refused(ID, 0, now);
    }
    now += 30_000;
    assert_eq!(to_first(now), 1);
    view.connected(ID, 0);
    assert_eq!(to_first(now), 3, "it is back");
    view.refused(ID, 0, now);
    assert_eq!(to_first(now + 999), 0);
    assert_eq!(to_first(now + 1000), 1, "and begins anew");
}

#[test]
fn when_all_refuse_all_are_used() {
    for balancing in [Balancing::default(), policy(Policy::Ewma), hash_by(None)] {
        let view = view(&[1, 2], balancing);
        view.refused(ID, 0, 0);
        view.refused(ID, 1, 0);
        let mut seen: Vec<_> = (0..50).map(|path_| pick(&view, &path(path_)).index).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 1]);
    }
}

#[test]
fn what_was_learnt_survives_a_change() {
    let first = view(&[1, 2, 3], Balancing::default());
    first.refused(ID, 0, 0);
    let second = first.next(snapshot("shop", &[(1, 1), (3, 1), (4, 1)], Balancing::default()));
    assert!(!sequence(&second, 12).contains(&1));
    second.connected(ID, 0);
    assert_eq!(counts(&sequence(&second, 12)), BTreeMap::from([(1, 4), (3, 4), (4, 4)]));
    // A refusal that a request of the earlier view meets counts too.
    first.refused(ID, 2, 0);
    assert!(!sequence(&second, 12).contains(&3));
}

#[test]
fn the_turn_survives_a_change() {
    let before = view(&[1, 2, 3], Balancing::default());
    let due = match sequence(&before, 1)[0] {
        3 => 1,
        last => last + 1,
    };
    let after =
        before.next(snapshot("shop", &[(1, 1), (2, 1), (3, 1), (9, 1)], Balancing::default()));
    assert_eq!(sequence(&after, 1), [due]);
}

#[test]
fn a_backend_that_moves_in_the_list_keeps_what_is_known() {
    let before = view(&[1, 2], Balancing::default());
    before.refused(ID, 0, 0);
    let shop = snapshot("shop", &[(1, 1), (2, 1)], Balancing::default());
    let other = snapshot("other", &[(5, 1)], Balancing::default());
    let backends = [&other, &shop].map(|one| Arc::clone(&one.model.backends[0]));
    let model = Model { backends: backends.to_vec(), ..Model::default() };
    let after = before.next(Arc::new(Snapshot { model: Arc::new(model), ..Snapshot::default() }));
    for _ in 0..4 {
        let pick =
            pick_of(&after, BackendId(1), &Request::default(), &mut Tried::default()).unwrap();
        assert_eq!(last(pick.address), 2);
        assert_eq!(last(super::tests::pick(&after, &Request::default()).address), 5);
    }
}

#[test]
fn ewma_prefers_the_faster_one_and_forgets() {
    let view = view(&[1, 2], policy(Policy::Ewma));
    let request = Request::default();
    view.observe(ID, 0, Duration::from_millis(200), true, 0);
    view.observe(ID, 1, Duration::from_millis(10), true, 0);
    assert_eq!(sequence(&view, 20), [2; 20]);
    // A failure that comes fast makes nobody faster.
    view.observe(ID, 0, Duration::from_millis(1), false, 0);
    assert_eq!(sequence(&view, 20), [2; 20]);
    // Nothing is heard of the first for half a minute, while the second goes on.
    request.now.set(40_000);
    view.observe(ID, 1, Duration::from_millis(10), true, 40_000);
    assert_eq!(last(pick(&view, &request).address), 1, "200 ms have faded below 10");
}

#[test]
fn ewma_takes_a_peak_at_once_and_a_valley_slowly() {
    let view = view(&[1, 2], policy(Policy::Ewma));
    for (index, took) in [(0, 10), (1, 50), (0, 100), (0, 10)] {
        view.observe(ID, index, Duration::from_millis(took), true, 0);
    }
    assert_eq!(sequence(&view, 20), [2; 20]);
}

#[test]
fn a_new_endpoint_begins_at_the_average() {
    let before = view(&[1, 2], policy(Policy::Ewma));
    before.observe(ID, 0, Duration::from_millis(10), true, 0);
    before.observe(ID, 1, Duration::from_millis(30), true, 0);
    let after = before.next(snapshot("shop", &[(1, 1), (2, 1), (3, 1)], policy(Policy::Ewma)));
    let counts = counts(&sequence(&after, 900));
    // Two of three pairs have the first; one of three the third without the first.
    assert!((540..660).contains(&counts[&1]), "{counts:?}");
    assert!((240..360).contains(&counts[&3]), "{counts:?}");
    assert_eq!(counts.get(&2), None);
}

#[test]
fn a_hash_spreads_evenly_and_stays() {
    let endpoints: Vec<u8> = (1..=10).collect();
    let view = view(&endpoints, hash_by(None));
    let sequence: Vec<_> = (0..10_000).map(|at| last(pick(&view, &path(at)).address)).collect();
    for (endpoint, count) in counts(&sequence) {
        assert!((850..1150).contains(&count), "{endpoint}: {count}");
    }
    let again: Vec<_> = (0..10_000).map(|at| last(pick(&view, &path(at)).address)).collect();
    assert_eq!(sequence, again);
}

#[test]
fn a_hash_is_in_proportion_to_the_weights() {
    let view = weighted(&[(1, 1), (2, 3)], hash_by(None));
    let sequence: Vec<_> = (0..8000).map(|at| last(pick(&view, &path(at)).address)).collect();
    let counts = counts(&sequence);
    assert!((1800..2200).contains(&counts[&1]), "{counts:?}");
}

#[test]
fn all_workers_and_replicas_hash_alike() {
    // Known answers: a change of the hash moves every session of every user.
    let view = view(&[1, 2, 3, 4, 5], hash_by(None));
    let found: Vec<_> =
        ["/", "/a", "/b", "/c", "/d", "/e"].map(|at| last(pick(&view, &path(at)).address)).into();
    let other = View::new(Arc::clone(&view.snapshot), &mut fastrand::Rng::with_seed(99));
    let others: Vec<_> =
        ["/", "/a", "/b", "/c", "/d", "/e"].map(|at| last(pick(&other, &path(at)).address)).into();
    assert_eq!(found, others);
    // By a program in Python that follows `hash.rs`: what the texts `x/`, `x/a`… are drawn to.
    assert_eq!(found, [3, 3, 3, 4, 2, 5]);
}

#[test]
fn a_subset_is_a_group_in_the_order_of_the_list() {
    let view = view(&[1, 2, 3, 4, 5], hash_by(Some(2)));
    let mut groups: HashMap<Vec<u8>, usize> = HashMap::new();
    for text in 0..300 {
        let mut members: Vec<_> = (0..40).map(|_| last(pick(&view, &path(text)).address)).collect();
        members.sort_unstable();
        members.dedup();
        *groups.entry(members).or_default() += 1;
    }
    let mut sorted: Vec<_> = groups.keys().cloned().collect();
    sorted.sort();
    assert_eq!(sorted, [vec![1, 2], vec![1, 5], vec![3, 4]], "the last is filled from the start");
    assert!(groups.values().all(|count| (60..140).contains(count)), "{groups:?}");
}

fn with_cookie(value: &str) -> Request {
    Request { cookie: Some(value.to_owned()), ..Request::default() }
}

#[test]
fn a_session_stays_with_its_endpoint() {
    for mode in [AffinityMode::Balanced, AffinityMode::Persistent] {
        let view = view(&[1, 2, 3], sticky(mode, false));
        let mut seen = Vec::new();
        for _ in 0..30 {
            let first = pick(&view, &Request::default());
            let key = format!("{:?}", first.session.expect("a session begins"));
            let request = with_cookie(&format!("{key}|whatever"));
            for _ in 0..3 {
                let next = pick(&view, &request);
                assert_eq!((next.address, next.session), (first.address, None));
            }
            seen.push(first.index);
        }
        assert!((0..3).all(|index| seen.contains(&index)), "new sessions go everywhere");
    }
}

#[test]
fn a_persistent_key_is_that_of_ingress_nginx() {
    // md5("web-shop-80" + "10.0.0.2:80"), by Python's hashlib.
    let key = "084070b66a74da7f4603b87917fd857a";
    let view = view(&[1, 2, 3], sticky(AffinityMode::Persistent, false));
    let pick_ = pick(&view, &with_cookie(&format!("{key}|44cba271c9fc215f1fb84b7ff9a62d25")));
    assert_eq!((last(pick_.address), pick_.session), (2, None));
    let v6 = session::digest_of_endpoint("web-shop-80", "[2001:db8::1]:80".parse().unwrap());
    assert_eq!(&v6, b"84e3934e55c4692e6e84b7f4e80b5917");
}

#[test]
fn a_persistent_session_moves_when_its_endpoint_is_gone() {
    let view = view(&[1, 3], sticky(AffinityMode::Persistent, false));
    let gone = with_cookie("084070b66a74da7f4603b87917fd857a|x");
    let moved = pick(&view, &gone);
    assert!(moved.session.is_some());
}

#[test]
fn a_balanced_session_always_resolves_and_is_not_issued_again() {
    let view = view(&[1, 3], sticky(AffinityMode::Balanced, false));
    assert_eq!(pick(&view, &with_cookie("anything")).session, None);
    assert!(pick(&view, &with_cookie("|x")).session.is_some(), "an empty key is none");
}

#[test]
fn a_session_fails_with_its_endpoint_unless_it_may_change() {
    for mode in [AffinityMode::Balanced, AffinityMode::Persistent] {
        for change in [false, true] {
            let view = view(&[1, 2, 3], sticky(mode, change));
            let key = format!("{:?}", pick(&view, &Request::default()).session.unwrap());
            let request = with_cookie(&key);
            let mut tried = Tried::default();
            let first = pick_of(&view, ID, &request, &mut tried).unwrap();
            let second = pick_of(&view, ID, &request, &mut tried).unwrap();
            assert_eq!(first.session, None);
            assert_eq!(second.index != first.index, change, "{mode:?}");
            assert_eq!(second.session.is_some(), change, "{mode:?}");
        }
    }
}

fn route(sets_session: bool) -> Route {
    Route {
        ingress: ObjectRef::new("Ingress", "web", "shop"),
        field: String::new(),
        kind: PathKind::Prefix,
        path: "/lobby(/|$)(.*)".into(),
        use_regex: false,
        rewrite: None,
        https_redirect: HttpsRedirect::Never,
        preserve_trailing_slash: false,
        redirect_form: Default::default(),
        proxying: Arc::default(),
        policies: None,
        sets_session,
        target: Target::NotFound,
    }
}

#[test]
fn the_cookie_is_that_of_ingress_nginx() {
    let view = view(&[2], sticky(AffinityMode::Persistent, false));
    let key = pick(&view, &Request::default()).session.unwrap();
    // Both by Python's hashlib: md5(b + endpoint) and md5(md5(b) + b), b being `web-shop-80`.
    let value = "INGRESSCOOKIE=084070b66a74da7f4603b87917fd857a|44cba271c9fc215f1fb84b7ff9a62d25";
    let text = |https| view.session_cookie(own(&view, ID), &key, &route(true), https, None, 0);
    assert_eq!(text(false), Some(format!("{value}; Path=/lobby(/|$)(.*); HttpOnly")));
    assert_eq!(text(true), Some(format!("{value}; Path=/lobby(/|$)(.*); Secure; HttpOnly")));
    assert_eq!(view.session_cookie(own(&view, ID), &key, &route(false), false, None, 0), None);
}

#[test]
fn the_attributes_of_the_cookie_are_in_order() {
    let cookie = SessionCookie {
        name: "route".into(),
        expires: Some(60),
        max_age: Some(60),
        path: Some("/shop".into()),
        domain: Some("example.com".into()),
        same_site: Some(SameSite::None),
        conditional_same_site_none: true,
        secure: true,
        change_on_failure: false,
    };
    let of_cookie = Affinity { mode: AffinityMode::Persistent, cookie: cookie.clone() };
    let view = view(&[2], Balancing { affinity: Some(of_cookie), ..Balancing::default() });
    let key = session::Key::of_endpoint("web-shop-80", address(2));
    let of = |agent: &str| {
        view.session_cookie(
            own(&view, ID),
            &key,
            &route(true),
            false,
            Some(agent.as_bytes()),
            1_700_000_000,
        )
        .unwrap()
    };
    let all = of("Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0.0.0 Safari/537.36");
    assert_eq!(
        all,
        "route=084070b66a74da7f4603b87917fd857a|44cba271c9fc215f1fb84b7ff9a62d25; \
         Expires=Tue, 14-Nov-23 22:14:20 GMT; Max-Age=60; Domain=example.com; Path=/shop; \
         Secure; HttpOnly; SameSite=None"
    );
    for (agent, has) in [
        ("Chrome/51.0.2704.103 Safari/537.36", false),
        ("Chrome/69.0.1", false),
        ("Chrome/70.0.1", true),
        ("Chrome/400.0", true),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 12_4 like Mac OS X)", false),
        ("Mozilla/5.0 (iPad; CPU OS 12_4 like Mac OS X)", false),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 13_1 like Mac OS X)", true),
        ("(Macintosh; Intel Mac OS X 10_14_6) Version/12.1 Safari/605", false),
        ("(Macintosh; Intel Mac OS X 10_15_6) Version/13.1 Safari/605", true),
    ] {
        assert_eq!(of(agent).ends_with("; SameSite=None"), has, "{agent}");
    }
}

#[test]
fn dates_are_those_of_nginx() {
    for (seconds, expected) in [
        (-5, "Thu, 01-Jan-70 00:00:00 GMT"),
        (951_782_400, "Tue, 29-Feb-00 00:00:00 GMT"),
        (1_793_267_045, "Thu, 29-Oct-26 09:44:05 GMT"),
        (2_145_916_799, "Thu, 31-Dec-37 23:59:59 GMT"),
        (2_145_916_800, "Fri, 01-Jan-2038 00:00:00 GMT"),
        (4_107_542_400, "Mon, 01-Mar-2100 00:00:00 GMT"),
        (i64::MAX, "Fri, 31-Dec-9999 23:59:59 GMT"),
    ] {
        let mut text = String::new();
        date::write(&mut text, seconds);
        assert_eq!(text, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// When one endpoint comes, the texts that move move to it, and no more than its share does.
    #[test]
    fn a_new_endpoint_moves_its_share_and_nothing_else(
        endpoints in proptest::collection::btree_set(1_u8..=250, 1..40),
        new in 251_u8..=255,
    ) {
        let before: Vec<u8> = endpoints.iter().copied().collect();
        let mut after = before.clone();
        after.push(new);
        let (one, two) = (view(&before, hash_by(None)), view(&after, hash_by(None)));
        let mut moved = 0_usize;
        for text in 0..1000 {
            let request = path(text);
            let (from, to) = (pick(&one, &request).address, pick(&two, &request).address);
            if from != to {
                prop_assert_eq!(last(to), new);
                moved += 1;
            }
        }
        let share = 1000.0 / after.len() as f64;
        // Five standard deviations.
        prop_assert!((moved as f64 - share).abs() < 5.0 * share.sqrt() + 1.0, "{} of {}", moved, share);
    }

    /// In any stretch of turns each endpoint has had its share, give or take the number of others.
    #[test]
    fn shares_are_met_in_every_stretch(
        weights in proptest::collection::vec(0_u16..20, 2..8),
        rounds in 1_usize..200,
    ) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let endpoints: Vec<_> = (1..).zip(weights.iter().copied()).collect();
        let view = weighted(&endpoints, Balancing::default());
        let counts = counts(&sequence(&view, rounds));
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        for (last, weight) in &endpoints {
            let expected = rounds as f64 * f64::from(*weight) / total;
            let count = counts.get(last).copied().unwrap_or(0) as f64;
            prop_assert!((count - expected).abs() <= weights.len() as f64, "{} for {}", count, expected);
        }
    }

    /// Whatever happens to endpoints, a request gets one, and a good one if there is any.
    #[test]
    fn a_request_gets_a_good_endpoint_if_there_is_one(
        events in proptest::collection::vec((0_u32..5, any::<bool>(), 0_u64..3000), 0..60),
        which in 0_usize..5,
    ) {
        let balancing = [
            Balancing::default(),
            policy(Policy::Ewma),
            hash_by(None),
            hash_by(Some(2)),
            sticky(AffinityMode::Balanced, true),
        ];
        let view = view(&[1, 2, 3, 4, 5], balancing[which].clone());
        let request = path("/");
        let mut now = 0;
        let mut out = [0_u64; 5];
        for (index, refuses, pass) in events {
            now += pass;
            request.now.set(now);
            match refuses {
                // At least so long it is passed over.
                true => {
                    view.refused(ID, index, now);
                    out[index as usize] = out[index as usize].max(now + 1);
                }
                false => {
                    view.connected(ID, index);
                    out[index as usize] = 0;
                }
            }
            let got = pick(&view, &request).index;
            if out.contains(&0) && which != 4 {
                prop_assert!(out[got as usize] == 0 || now >= out[got as usize], "{}", got);
            }
        }
    }
}
