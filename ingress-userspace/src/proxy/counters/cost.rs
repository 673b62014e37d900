//! What it costs to count a request, and what memory its series take: `cargo test --profile count -p
//! ingress-userspace --lib what_counting_costs -- --ignored --nocapture`.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use http::Method;

use super::{Registry, Subject, Timing, tests};
use crate::{
    config::Metrics,
    model::{HostName, Model},
    proxy::sides::Traffic,
    route::{Found, RouteTable},
};

const HOSTS: usize = 10_000;
const PATHS: usize = 5;
const REQUESTS: usize = 200_000;

/// Of the fastest of some runs, which what else the machine does disturbs least. Nanoseconds.
fn each(mut run: impl FnMut(usize)) -> f64 {
    let once = || {
        let begun = Instant::now();
        (0..REQUESTS).for_each(&mut run);
        begun.elapsed()
    };
    let fastest = std::iter::repeat_with(once).take(9).min().unwrap_or(Duration::MAX);
    let requests = REQUESTS as f64;
    fastest.as_secs_f64() * 1e9 / requests
}

#[test]
#[ignore = "a measurement: prints, asserts nothing about time"]
fn what_counting_costs() {
    let hosts = (0..HOSTS).map(|host| {
        let routes = (0..PATHS).map(|path| tests::route("shop", &format!("/p{path}"))).collect();
        tests::host(HostName::Exact(format!("h{host}.example.com").into()), routes)
    });
    let model = Model { hosts: hosts.collect(), ..tests::model(Vec::new()) };
    let (table, _) = RouteTable::new(&model);
    let mut numbers = Vec::new();
    for host in 0..HOSTS {
        for path in 0..PATHS {
            let found = table.host(&format!("h{host}.example.com")).find(&format!("/p{path}"));
            if let Found::Route(found) = found {
                numbers.push(found.number);
            }
        }
    }
    fastrand::Rng::with_seed(8).shuffle(&mut numbers);
    let clock = each(|_| _ = black_box(Instant::now()));
    println!("one reading of the clock: {clock:.0} ns");
    for (what, metrics) in [
        ("with --enable-metrics=false", Metrics { enabled: false, ..Metrics::default() }),
        ("as by default", Metrics::default()),
    ] {
        let registry = Registry::new(1, &metrics);
        registry.publish(&model, &table);
        let counters = registry.counters(0);
        let traffic =
            Traffic { head_received: 120, head_sent: 180, body_sent: 2_000, ..Traffic::default() };
        let timing = Timing::default();
        let count = |number: u64| {
            counters.begin(&timing, &Method::GET);
            timing.ask();
            timing.connected(true);
            timing.answered();
            timing.belongs_to(number);
            counters.request(Subject::default(), 200, &timing, traffic);
        };
        let one = each(|_| count(numbers[0]));
        let all = each(|request| count(numbers[request % numbers.len()]));
        println!(
            "{what}: {one:.0} ns a request of one route, {all:.0} ns at random of {}",
            numbers.len()
        );
        counters.flush();
        let counted = registry.requests();
        let (series, memory) = (counted.series.len(), counted.memory());
        if let Some(each) = memory.checked_div(series) {
            println!("{series} series of all histograms: {memory} bytes, {each} each");
        }
    }
}
