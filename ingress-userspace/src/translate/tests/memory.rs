//! What did not change is the same allocation, so that later stages need not look at it.

use std::sync::Arc;

use super::{BASE, get, host, ingress, parts::described};
use crate::{
    model::{Host, Model},
    source::parse::tests::stores,
    stores::Stores,
    translate::{Options, Translator},
};

fn hosts() -> String {
    ingress("x", &[("use-regex", "true")], "", &["a.com /x Prefix web"])
        + &ingress("y", &[], "", &["b.com /y Prefix api"])
}

fn shared(one: &Model, two: &Model, name: &str) -> bool {
    std::ptr::eq::<Host>(host(one, name), host(two, name))
}

#[test]
fn a_changed_endpoint_changes_its_backend_alone() {
    let before = stores(&format!("{BASE}{}", hosts())).0;
    let slices = stores(&format!("{BASE}{}", hosts()).replace("10.0.0.1", "10.0.0.2")).0;
    let after = Stores { endpoint_slices: slices.endpoint_slices, ..before.clone() };
    let mut translator = Translator::new(Options::default());
    let one = translator.translate(&before, &Default::default()).model;
    let two = translator.translate(&after, &Default::default()).model;
    assert!(shared(&one, &two, "a.com") && shared(&one, &two, "b.com"));
    let same: Vec<_> =
        one.backends.iter().zip(&two.backends).map(|(a, b)| Arc::ptr_eq(a, b)).collect();
    assert_eq!(same.iter().filter(|same| !**same).count(), 1);
    let web = two.backends.iter().find(|backend| &*backend.key.service == "web").unwrap();
    assert_eq!(web.endpoints[0].address.to_string(), "10.0.0.2:8080");
}

#[test]
fn a_changed_endpoint_changes_the_services_below_http_too() {
    let ports = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: ports}\n\
        data: {'5432': 'default/web:80', '25': 'default/api:80'}\n";
    let passed = ingress("z", &[("ssl-passthrough", "true")], "", &["z.com / Prefix web"]);
    let text = format!("{BASE}{passed}{ports}");
    let before = stores(&text).0;
    let slices = stores(&text.replace("10.0.0.1", "10.0.0.2")).0;
    let after = Stores { endpoint_slices: slices.endpoint_slices, ..before.clone() };
    let options = Options {
        tcp_services: Some(("default".to_owned(), "ports".to_owned())),
        ssl_passthrough: true,
        ..Options::default()
    };
    let mut translator = Translator::new(options);
    let one = translator.translate(&before, &Default::default()).model;
    let two = translator.translate(&after, &Default::default()).model;
    assert!(Arc::ptr_eq(&one.streams.passthrough, &two.streams.passthrough));
    let tcp =
        |model: &Model, port| model.streams.tcp(port).expect("it is served").endpoints.clone();
    assert_eq!(tcp(&one, 5432), [([10, 0, 0, 1], 8080).into()]);
    assert_eq!(tcp(&two, 5432), [([10, 0, 0, 2], 8080).into()]);
    assert_eq!(tcp(&one, 25), tcp(&two, 25));
    let passed = &two.backends[two.streams.passthrough["z.com"].backend.0 as usize];
    assert_eq!(passed.endpoints[0].address.to_string(), "10.0.0.2:8080");
    // And without any it is closed.
    let gone = Stores { endpoint_slices: Default::default(), ..before };
    let three = translator.translate(&gone, &Default::default());
    assert!(three.model.streams.tcp.is_empty());
    assert!(three.diagnostics.iter().any(|one| one.field == "data.5432"), "{three:?}");
}

#[test]
fn a_changed_ingress_changes_its_hosts_alone() {
    let before = stores(&format!("{BASE}{}", hosts())).0;
    let after = stores(&format!("{BASE}{}", hosts().replace("/y", "/z"))).0;
    let mut translator = Translator::new(Options::default());
    let one = translator.translate(&before, &Default::default()).model;
    let two = translator.translate(&after, &Default::default());
    assert!(shared(&one, &two.model, "a.com"));
    assert!(!shared(&one, &two.model, "b.com"));
    assert_eq!(get(&two, "b.com/z"), "api");
}

#[test]
fn a_service_that_appears_or_goes_is_noticed() {
    let without = stores(&format!("{BASE}{}", hosts()).replace("name: api}", "name: gone}")).0;
    let with = stores(&format!("{BASE}{}", hosts())).0;
    let mut translator = Translator::new(Options::default());
    for _ in 0..2 {
        assert_eq!(
            get(&translator.translate(&without, &Default::default()), "b.com/y"),
            "no endpoints of api"
        );
        assert_eq!(get(&translator.translate(&with, &Default::default()), "b.com/y"), "api");
    }
}

#[test]
fn a_translator_that_remembers_says_what_a_new_one_would() {
    let texts = [
        hosts(),
        hosts() + &ingress("z", &[("auth-url", "x")], "", &["c.com / Prefix nowhere"]),
        String::new(),
        ingress("q", &[], "", &["a.com / Prefix web"]),
        hosts(),
    ];
    let mut translator = Translator::new(Options::default());
    for text in &texts {
        let stores = stores(&format!("{BASE}{text}")).0;
        let remembered = translator.translate(&stores, &Default::default());
        let fresh = Translator::new(Options::default()).translate(&stores, &Default::default());
        assert_eq!(remembered.diagnostics, fresh.diagnostics);
        // But for the numbers that backends and certificates go by, which stay what they were.
        assert_eq!(described(&remembered), described(&fresh));
    }
}

#[test]
fn the_status_of_an_ingress_is_no_change_of_what_is_served() {
    let before = stores(&format!("{BASE}{}", hosts())).0;
    let written =
        hosts().replacen("spec:", "status: {loadBalancer: {ingress: [{ip: 10.9.9.9}]}}\nspec:", 1);
    let status = stores(&format!("{BASE}{written}")).0;
    assert!(status.ingresses.iter().any(|(_, ingress)| ingress.status.is_some()));
    let after = Stores { ingresses: status.ingresses, ..before.clone() };
    let mut translator = Translator::new(Options::default());
    let one = translator.translate(&before, &Default::default()).model;
    let two = translator.translate(&after, &Default::default()).model;
    assert!(Arc::ptr_eq(&one.hosts, &two.hosts));
    let moved = stores(&format!("{BASE}{}", hosts().replace("/y", "/z"))).0;
    let after = Stores { ingresses: moved.ingresses, ..after };
    let three = translator.translate(&after, &Default::default()).model;
    assert!(!Arc::ptr_eq(&two.hosts, &three.hosts));
}
