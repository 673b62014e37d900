use std::time::Instant;

use super::{BASE, ingress};
use crate::{
    route::RouteTable,
    source::parse::tests::stores,
    stores::Stores,
    translate::{Options, Translator},
};

/// Figures to look at, for people; `cargo test -p ingress-userspace --release scale -- --ignored
/// --nocapture`.
#[test]
#[ignore = "a measurement: prints, asserts nothing about time"]
fn translating_10_000_ingresses_of_five_paths() {
    let text = |changed: &str| {
        let one = |index: usize| {
            let host = format!("host-{index}.example.com");
            let service = if index == 7777 { changed } else { "web" };
            let rules = ["/", "/lobby", "/room", "/chat", "/ranking"]
                .map(|path| format!("{host} {path} Prefix {service}"));
            ingress(&format!("i{index}"), &[], "", &rules.each_ref().map(|rule| &**rule))
        };
        BASE.to_owned() + &(0..10_000).map(one).collect::<String>()
    };
    let timed = |what: &str, start: Instant| println!("{what}: {} ms", start.elapsed().as_millis());
    let start = Instant::now();
    let before = stores(&text("web")).0;
    timed("parsing", start);
    let changed = stores(&text("api")).0;
    let slices = Stores { endpoint_slices: changed.endpoint_slices.clone(), ..before.clone() };
    let mut translator = Translator::new(Options::default());
    let start = Instant::now();
    let model = translator.translate(&before, &Default::default()).model;
    timed("first translation", start);
    let start = Instant::now();
    let (table, _) = RouteTable::new(&model);
    timed("first table", start);
    let start = Instant::now();
    let model = translator.translate(&slices, &Default::default()).model;
    timed("translation after an EndpointSlice changed", start);
    let start = Instant::now();
    let (table, _) = table.next(&model);
    timed("table after an EndpointSlice changed", start);
    let start = Instant::now();
    let model = translator.translate(&changed, &Default::default()).model;
    timed("translation after an Ingress changed", start);
    let start = Instant::now();
    drop(table.next(&model));
    timed("table after an Ingress changed", start);
}
