//! Of a change only that much is translated again as it can touch: what comes of it must be what comes
//! of translating everything.

use std::{collections::BTreeSet, sync::LazyLock};

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use regex::{Captures, Regex};

use super::{BASE, ingress};
use crate::{
    model::{Model, ObjectRef},
    source::parse::tests::stores,
    stores::{Changes, Object, Stores},
    translate::{Options, References, Translation, Translator, references},
};

const HOSTS: &[&str] = &[
    "a.com",
    "b.com",
    "www.a.com",
    "www.b.com",
    "x.d.com",
    "y.d.com",
    "*.d.com",
    "*.com",
    "-",
    "bad_host",
];
const SERVICES: &[&str] = &["web", "api", "fallback", "nowhere", "named"];
const SECRETS: &[&str] = &["one", "two", "users", "ca"];
/// Each with the values that it is given.
const ANNOTATIONS: &[(&str, &[&str])] = &[
    ("server-alias", &["b.com", "*.d.com", "c.*", "~^c[0-9]", "x.d.com, www.a.com", ".d.com, ("]),
    ("from-to-www-redirect", &["true", "false"]),
    ("canary", &["true", "true", "false", "x"]),
    ("canary-weight", &["10", "20"]),
    ("canary-by-header", &["x-try"]),
    ("canary-by-header-pattern", &["^a", "("]),
    ("affinity", &["cookie"]),
    ("affinity-mode", &["persistent", "balanced"]),
    ("session-cookie-name", &["one", "two"]),
    ("load-balance", &["ewma", "round_robin", "x"]),
    ("upstream-hash-by", &["$request_uri", "$host"]),
    ("service-upstream", &["true"]),
    ("auth-type", &["basic"]),
    ("auth-secret", &["users", "missing", "other/users"]),
    ("auth-tls-secret", &["default/ca", "default/one", "default/missing"]),
    ("proxy-ssl-secret", &["default/ca", "default/one"]),
    ("backend-protocol", &["HTTPS"]),
    ("custom-headers", &["default/headers", "default/missing"]),
    ("default-backend", &["web", "named", "missing"]),
    ("custom-http-errors", &["404"]),
    ("auth-url", &["http://web.default.svc/x", "http://auth.example.com/", "http://$host/"]),
    ("ssl-passthrough", &["true"]),
    ("mirror-target", &["http://mirror.example.com$request_uri", "http://192.0.2.1"]),
    ("use-regex", &["true"]),
    ("rewrite-target", &["/$1"]),
    ("app-root", &["/x"]),
    ("ssl-redirect", &["false"]),
    ("server-snippet", &["location /p { return 200; }", "location = /q { return 204; }", "x"]),
    ("configuration-snippet", &["add_header x y;"]),
    ("nonsense", &["x"]),
];
const SETTINGS: &[&str] = &[
    "{}",
    "{load-balance: ewma}",
    "{allow-snippet-annotations: 'true', annotations-risk-level: Critical}",
    "{allow-snippet-annotations: 'true', server-snippet: 'location /p { return 200; }'}",
    "{custom-http-errors: '404', allow-cross-namespace-resources: 'true'}",
    "{global-auth-url: 'http://web.default.svc/'}",
    "{proxy-ssl-location-only: 'true', add-headers: default/headers}",
];

fn one_of<'c, T: ?Sized>(random: &mut fastrand::Rng, choices: &'c [&'c T]) -> &'c T {
    choices[random.usize(..choices.len())]
}

/// The objects of a text, whose names are known.
fn object(text: &str, kind: &'static str, name: &str) -> (ObjectRef, Object) {
    let (stores, faults) = stores(text);
    assert!(faults.is_empty(), "{faults:?}\n{text}");
    let namespace = if kind == "IngressClass" { "" } else { "default" };
    let id = ObjectRef::new(kind, namespace, name);
    let object = stores.object(&id).unwrap_or_else(|| panic!("no {id} in\n{text}"));
    (id, object)
}

fn an_ingress(random: &mut fastrand::Rng) -> (ObjectRef, Object) {
    let name = format!("i{}", random.u8(..7));
    let annotations: Vec<_> = (0..[0, 0, 1, 1, 2, 4, 8][random.usize(..7)])
        .map(|_| {
            let (key, values) = ANNOTATIONS[random.usize(..ANNOTATIONS.len())];
            (key, one_of(random, values))
        })
        .collect::<std::collections::BTreeMap<_, _>>()
        .into_iter()
        .collect();
    let rules: Vec<_> = (0..[0, 1, 1, 1, 2, 3][random.usize(..6)])
        .map(|_| {
            let (host, path) = (one_of(random, HOSTS), one_of(random, &["/", "/p", "/p/", "/q"]));
            let kind = one_of(random, &["Prefix", "Prefix", "Exact"]);
            format!("{host} {path} {kind} {}", one_of(random, SERVICES))
        })
        .collect();
    let rules: Vec<_> = rules.iter().map(|rule| &**rule).collect();
    let mut spec = String::new();
    if random.u8(..3) == 0 {
        let secret = one_of(random, &["one", "two", "missing"]);
        let host = one_of(random, &["a.com", "'*.d.com'", "x.d.com"]);
        spec.push_str(&format!("tls: [{{secretName: {secret}, hosts: [{host}]}}]\n"));
    }
    if random.u8(..5) == 0 {
        let service = one_of(random, SERVICES);
        spec.push_str(&format!(
            "defaultBackend: {{service: {{name: {service}, port: {{number: 80}}}}}}\n"
        ));
    }
    let mut text = ingress(&name, &annotations, &spec, &rules);
    if random.u8(..4) > 0 {
        let created =
            format!("metadata:\n  creationTimestamp: 2026-01-0{}T00:00:00Z\n", random.u8(1..4));
        text = text.replacen("metadata:\n", &created, 1);
    }
    if random.u8(..8) == 0 {
        text = text.replacen("ingressClassName: penstock", "ingressClassName: other", 1);
    }
    object(&text, "Ingress", &name)
}

fn a_secret(random: &mut fastrand::Rng) -> (ObjectRef, Object) {
    static PAIRS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
        let pair = |names: [&str; 2]| {
            let key = KeyPair::generate().expect("randomness");
            let params = CertificateParams::new(names.map(str::to_owned)).expect("plain names");
            (params.self_signed(&key).expect("it signs").pem(), key.serialize_pem())
        };
        vec![pair(["a.com", "www.a.com"]), pair(["*.d.com", "b.com"]), pair(["x.d.com", "y.d.com"])]
    });
    let name = one_of(random, SECRETS);
    let (certificate, key) = &PAIRS[random.usize(..PAIRS.len())];
    let data = match name {
        "users" => {
            format!("{{auth: {:?}}}", one_of(random, &["bob:{PLAIN}one", "eve:{PLAIN}two", "x"]))
        }
        "ca" => format!("{{ca.crt: {:?}}}", one_of(random, &[certificate.as_str(), "x"])),
        _ => format!("{{tls.crt: {certificate:?}, tls.key: {key:?}}}"),
    };
    let text =
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {data}\n");
    object(&text, "Secret", name)
}

/// An object that is new, or other than before.
fn an_object(random: &mut fastrand::Rng) -> (ObjectRef, Object) {
    match random.u8(..24) {
        0..=12 => an_ingress(random),
        13..=15 => a_secret(random),
        16 => {
            let data = one_of(random, SETTINGS);
            let text = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {data}\n"
            );
            object(&text, "ConfigMap", "settings")
        }
        17 => {
            let value = one_of(random, &["one", "two", "\\u0001"]);
            let text = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: headers}}\ndata: {{x-a: \"{value}\"}}\n"
            );
            object(&text, "ConfigMap", "headers")
        }
        18 | 19 => {
            let name = one_of(random, &["web", "api", "fallback", "named"]);
            let spec = one_of(
                random,
                &[
                    "{clusterIP: 10.9.9.9, ports: [{name: http, port: 80}]}",
                    "{ports: [{port: 81}, {port: 80}]}",
                    "{type: ExternalName, externalName: out.example.com}",
                    "{ports: []}",
                ],
            );
            let text = format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {spec}\n"
            );
            object(&text, "Service", name)
        }
        20..=22 => {
            let (name, number) = (one_of(random, SERVICES), random.u8(1..4));
            let text = format!(
                "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                 metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}\n\
                 addressType: IPv4\nports: [{{name: http, port: 8080}}, {{port: 8081}}]\n\
                 endpoints: [{{addresses: [10.0.0.{number}]}}]\n"
            );
            object(&text, "EndpointSlice", &format!("{name}-1"))
        }
        _ => {
            let controller =
                one_of(random, &["penstock.dev/ingress-controller", "example.com/other"]);
            let name = one_of(random, &["penstock", "other"]);
            let text = format!(
                "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {{name: {name}}}\n\
                 spec: {{controller: {controller}}}\n"
            );
            object(&text, "IngressClass", name)
        }
    }
}

/// One or a few objects change.
fn step(stores: &mut Stores, random: &mut fastrand::Rng) -> Vec<String> {
    let mut changes = Changes::default();
    let mut told = Vec::new();
    for _ in 0..[1, 1, 1, 2, 4][random.usize(..5)] {
        let (id, object) = an_object(random);
        match random.u8(..4) {
            0 => changes.deleted(&id, &object),
            _ => changes.applied(&id, &object),
        }
        told.push(id.to_string());
    }
    stores.apply(changes);
    told
}

/// The model as text in which nothing depends on the numbers that things go by.
pub(super) fn described(translation: &Translation) -> (String, BTreeSet<String>, BTreeSet<String>) {
    static ID: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(BackendId|CertificateId)\((\d+)\)").expect("it is one"));
    let Model { hosts, backends, certificates, .. } = &*translation.model;
    let named = |text: String| {
        let name = |found: &Captures<'_>| {
            let at: usize = found[2].parse().expect("digits");
            match &found[1] {
                "BackendId" => backends[at].key.to_string(),
                _ => certificates[at].secret.to_string(),
            }
        };
        ID.replace_all(&text, name).into_owned()
    };
    let Model { default_certificate, members, settings, ticket_keys, streams, names, .. } =
        &*translation.model;
    let rest = format!(
        "{hosts:?}{default_certificate:?}{members:?}{settings:?}{ticket_keys:?}{:?}{:?}{names:?}",
        streams.tcp, streams.udp
    );
    let passed = streams.passthrough.iter().map(|passed| format!("{passed:?}"));
    let used = backends.iter().filter(|backend| !backend.key.is_nobody());
    let mut backends: BTreeSet<_> = used.map(|backend| named(format!("{backend:?}"))).collect();
    backends.extend(passed.map(&named));
    let used = certificates.iter().filter(|certificate| !certificate.is_nobody());
    let of = |one: &std::sync::Arc<crate::model::Certificate>| format!("{one:?}{:?}", one.chain);
    (named(rest), backends, used.map(of).collect())
}

fn options() -> Options {
    let named = |name: &str| Some(("default".to_owned(), name.to_owned()));
    Options {
        configmap: named("settings"),
        default_backend_service: named("fallback"),
        default_ssl_certificate: named("two"),
        ssl_passthrough: true,
        ..Options::default()
    }
}

/// What is compiled of a host stays where the host is the same allocation; the ids in it then have to
/// be those of the same backends. Returns how many are the same.
fn same_hosts_name_the_same(before: &Model, after: &Model, what: &str) -> usize {
    static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"BackendId\((\d+)\)").expect("one"));
    let shared = after
        .hosts
        .iter()
        .filter(|host| before.hosts.iter().any(|known| std::sync::Arc::ptr_eq(known, host)));
    shared
        .map(|host| {
            for found in ID.captures_iter(&format!("{host:?}")) {
                let at: usize = found[1].parse().expect("digits");
                let (one, two) = (&before.backends[at].key, &after.backends[at].key);
                assert_eq!(one, two, "{what}: {:?}", host.name);
            }
        })
        .count()
}

/// Goes through these steps, comparing after each. Returns how often only a part was translated.
fn compare(seeds: &[u64]) -> usize {
    let mut stores = stores(BASE).0;
    let mut going_on = Translator::new(options());
    let mut named = References::default();
    let mut named_before = BTreeSet::new();
    let mut parts = 0;
    let mut before = None;
    for seed in seeds {
        let told = step(&mut stores, &mut fastrand::Rng::with_seed(*seed));
        let one = going_on.translate(&stores, &Default::default());
        let all = Translator::new(options()).translate(&stores, &Default::default());
        parts += usize::from(going_on.parts);
        let what = format!("after {told:?}");
        let is_news = named.go_on(&stores, &options());
        let all_named = references(&stores, &options());
        assert!(named.iter().eq(&all_named), "{what}: {named:?} {all_named:?}");
        assert!(is_news || all_named == named_before, "{what}");
        named_before = all_named;
        assert_eq!(one.diagnostics, all.diagnostics, "{what}");
        assert_eq!(one.names, all.names, "{what}");
        let ((rest, backends, certificates), other) = (described(&one), described(&all));
        let place = rest.bytes().zip(other.0.bytes()).position(|(one, all)| one != all);
        if let Some(place) = place {
            let (from, to) = (place.saturating_sub(400), place + 80);
            panic!("{what}:\n{:?}\n{:?}", rest.get(from..to), other.0.get(from..to));
        }
        assert_eq!(rest.len(), other.0.len(), "{what}");
        assert_eq!(backends, other.1, "{what}");
        assert_eq!(certificates, other.2, "{what}");
        if let Some(before) = before.replace(std::sync::Arc::clone(&one.model)) {
            same_hosts_name_the_same(&before, &one.model, &what);
        }
    }
    parts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_part_comes_to_what_everything_comes_to(seeds in prop::collection::vec(0..u64::MAX, 1..40)) {
        compare(&seeds);
    }
}

#[test]
fn most_changes_are_of_a_part() {
    let mut random = fastrand::Rng::with_seed(7);
    let seeds: Vec<_> = (0..200).map(|_| random.u64(..)).collect();
    let parts = compare(&seeds);
    assert!(parts > 80, "of 200 steps {parts} translated a part only");
}

#[test]
fn backends_keep_their_ids_when_everything_is_translated_again() {
    let young = ingress("young", &[], "", &["b.com / Prefix web"]);
    let settings = |data: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {data}\n"
        )
    };
    let (mut stores, faults) = stores(&format!("{BASE}{young}{}", settings("{}")));
    assert!(faults.is_empty(), "{faults:?}");
    let mut translator = Translator::new(options());
    let before = translator.translate(&stores, &Default::default());
    // In one step: the ConfigMap, and an older Ingress, whose backend is named before the other's.
    let old = ingress("old", &[], "", &["a.com / Prefix api"]);
    let created = "metadata:\n  creationTimestamp: 2026-01-01T00:00:00Z\n";
    let old = object(&old.replacen("metadata:\n", created, 1), "Ingress", "old");
    let settings = object(&settings("{proxy-buffering: 'on'}"), "ConfigMap", "settings");
    let mut changes = Changes::default();
    changes.applied(&old.0, &old.1);
    changes.applied(&settings.0, &settings.1);
    stores.apply(changes);
    let after = translator.translate(&stores, &Default::default());
    assert!(!translator.parts, "the ConfigMap is for all");
    let key = |translation: &Translation, name: &str| {
        let backends = &translation.model.backends;
        backends.iter().position(|backend| &*backend.key.service == name)
    };
    assert!(key(&after, "api").is_some());
    assert_eq!(key(&before, "web"), key(&after, "web"));
    let what = "ConfigMap and Ingress";
    let _stayed = same_hosts_name_the_same(&before.model, &after.model, what);
}
