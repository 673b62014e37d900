use std::{sync::Arc, time::Instant};

use k8s_openapi::api::networking::v1::Ingress;

use super::{BASE, ingress};
use crate::{
    model::ObjectRef,
    route::RouteTable,
    source::parse::tests::stores,
    stores::{Changes, Object, Stores},
    translate::{Options, Translator},
};

/// Figures to look at, for people; `cargo test -p ingress-userspace --release scale -- --ignored
/// --nocapture`.
#[test]
#[ignore = "a measurement: prints, asserts nothing about time"]
fn translating_10_000_ingresses_of_five_paths() {
    let (template, _) = stores(
        &(BASE.to_owned()
            + &ingress(
                "i",
                &[],
                "",
                &["/", "/lobby", "/room", "/chat", "/ranking"]
                    .map(|path| format!("h.example.com {path} Prefix web"))
                    .each_ref()
                    .map(|rule| &**rule),
            )),
    );
    let id = |index: usize| ObjectRef::new("Ingress", "default", format!("i{index}"));
    let one = |index: usize, service: &str| {
        let mut one = Ingress::clone(template.ingresses.get("default", "i").expect("it is there"));
        one.metadata.name = Some(format!("i{index}"));
        for rule in one.spec.iter_mut().filter_map(|spec| spec.rules.as_mut()).flatten() {
            rule.host = Some(format!("host-{index}.example.com"));
            for path in rule.http.iter_mut().flat_map(|http| &mut http.paths) {
                path.backend.service.iter_mut().for_each(|own| own.name = service.to_owned());
            }
        }
        Object::Ingress(Arc::new(one))
    };
    let mut changes = Changes::default();
    (0..10_000).for_each(|index| changes.applied(&id(index), &one(index, "web")));
    let mut before = template.clone();
    before.apply(changes);
    let mut slices = before.clone();
    slices.endpoint_slices = stores(BASE).0.endpoint_slices;
    let mut changes = Changes::default();
    changes.applied(&id(7777), &one(7777, "api"));
    let mut changed = slices.clone();
    changed.apply(changes);
    let timed = |what: &str, start: Instant| println!("{what}: {} ms", start.elapsed().as_millis());
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
    let (table, _) = table.next(&model);
    timed("table after an Ingress changed", start);
    drop(table);
    let settings = Stores { ingress_classes: stores(BASE).0.ingress_classes, ..changed };
    let start = Instant::now();
    drop(translator.translate(&settings, &Default::default()));
    timed("translation after all changed", start);
}
