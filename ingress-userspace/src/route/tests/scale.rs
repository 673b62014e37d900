use std::time::{Duration, Instant};

use super::{EXACT, PREFIX, found, host, paths, route, table};
use crate::{
    model::{HostName, Model},
    route::{Found, RouteTable, normalize},
};

/// The time of the fastest of many runs, which other load on the machine disturbs least.
fn fastest(mut run: impl FnMut()) -> Duration {
    let one = || {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    std::iter::repeat_with(one).take(40).min().expect("forty are not none")
}

fn model(ingresses: usize) -> Model {
    let host_of = |index: usize| {
        let routes = ["/", "/lobby", "/room/", "/chat/new", "/ranking"].map(|p| route(PREFIX, p));
        host(HostName::Exact(format!("host-{index}.example.com").into()), routes.into())
    };
    let hosts = (0..ingresses).map(|index| host_of(index).into()).collect();
    Model { hosts, ..Model::default() }
}

/// A figure to look at, for people; `cargo test -p ingress-userspace --release scale -- --ignored
/// --nocapture`.
#[test]
#[ignore = "a measurement: prints, asserts nothing about time"]
fn finding_among_50_000_paths_beside_finding_among_five() {
    let few = RouteTable::new(&model(1)).0;
    let many = RouteTable::new(&model(10_000)).0;
    let find = |table: &RouteTable, name: &str| {
        for _ in 0..1000 {
            let path = normalize("/chat/new/message").expect("the path is good");
            let found = std::hint::black_box(table.host(name)).find(&path);
            assert!(matches!(found, Found::Route(_)));
        }
    };
    let few = fastest(|| find(&few, "host-0.example.com"));
    let many = fastest(|| find(&many, "host-7777.example.com"));
    println!(
        "one Ingress: {} ns, 10 000 Ingresses: {} ns, ratio {:.2}",
        few.as_nanos() / 1000,
        many.as_nanos() / 1000,
        many.as_secs_f64() / few.as_secs_f64(),
    );
}

/// What a client can make expensive stays linear: ten times the path may take far less than the
/// hundred times that a quadratic search would.
#[test]
fn long_and_odd_paths_take_time_in_proportion() {
    let routes = (1..200).map(|depth| route(PREFIX, &"/a".repeat(depth))).collect();
    let host = paths(routes);
    for odd in ["/", "/a", "/a/../a", "/.", "%2F", "/%2e%2e/a/b", "a/"] {
        let path = |bytes: usize| format!("/{}", odd.repeat(bytes / odd.len()));
        let time = |path: String| {
            fastest(|| {
                if let Ok(path) = normalize(&path) {
                    std::hint::black_box(host.find(&path));
                }
            })
        };
        let (short, long) = (time(path(8 << 10)), time(path(80 << 10)));
        assert!(long < 40 * short + Duration::from_millis(2), "{odd}: {short:?}, {long:?}");
    }
}

#[test]
fn a_deep_tree_is_searched_to_its_end() {
    let deep = "/a".repeat(4000);
    let host = paths(vec![route(PREFIX, &deep), route(EXACT, "/a"), route(PREFIX, "/")]);
    assert_eq!(found(&host, &format!("{deep}/b")), format!("Prefix {deep}"));
    assert_eq!(found(&host, &deep[2..]), "Prefix /");
}

#[test]
fn each_of_many_hosts_has_its_own_routes() {
    let hosts = (0..1000)
        .map(|index| {
            let path = format!("/{index}");
            host(HostName::Exact(format!("h{index}").into()), vec![route(EXACT, &path)])
        })
        .collect();
    let table = table(hosts);
    for index in 0..1000 {
        let host = table.host(&format!("h{index}"));
        assert_eq!(found(host, &format!("/{index}")), format!("Exact /{index}"));
        assert_eq!(found(host, &format!("/{}", index + 1)), "nothing");
    }
}

/// A figure for `expression::BACKTRACK_LIMIT`.
#[test]
#[ignore = "a measurement: prints, asserts nothing about time"]
fn giving_up_on_a_path() {
    let host = paths(vec![super::regex("/((?=a)a|a(?!c))+$")]);
    let path = format!("/{}b", "a".repeat(8000));
    let time = fastest(|| drop(std::hint::black_box(found(&host, &path))));
    println!("gave up after {} us: {}", time.as_micros(), found(&host, &path));
    let host = paths(vec![super::regex("/(?!api)(.*)")]);
    let time = fastest(|| drop(std::hint::black_box(found(&host, &path))));
    println!("a look-ahead took {} us: {}", time.as_micros(), found(&host, &path));
}
