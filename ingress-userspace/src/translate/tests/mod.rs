mod access;
mod aliases;
mod annotation_keys;
mod answers;
mod backends;
mod balancing;
mod canary;
mod classes;
mod client_auth;
mod config_keys;
mod cors;
mod external_auth;
mod fastcgi;
mod firewall;
mod hosts;
mod keys;
mod limits;
mod login;
mod memory;
mod mirror;
mod parts;
mod proxying;
mod scale;
mod scopes;
mod settings;
mod snippets;
mod streams;
mod tls;
mod upstream_tls;

use super::{Options, Reference, Translation, Translator, references};
use crate::{
    model::{Host, HostName, Model, Route, Severity, Target},
    route::{Found, RouteTable},
    source::parse::tests::stores,
    stores::{Changes, Store, Stores},
};

/// A class that is ours and three Services, each with one endpoint.
const BASE: &str = "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: penstock}
spec: {controller: penstock.dev/ingress-controller}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{name: http, port: 80, targetPort: 8080}, {name: admin, port: 81, targetPort: adm}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: admin, port: 9000}]
endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: web-pod}}]
---
apiVersion: v1
kind: Service
metadata: {name: api}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: api-1, labels: {kubernetes.io/service-name: api}}
addressType: IPv4
ports: [{port: 8000}]
endpoints: [{addresses: [10.0.1.1]}]
---
apiVersion: v1
kind: Service
metadata: {name: fallback}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: fallback-1, labels: {kubernetes.io/service-name: fallback}}
addressType: IPv4
ports: [{port: 8000}]
endpoints: [{addresses: [10.0.2.1]}]
---
";

/// An Ingress of our class: its annotations without prefix, what else its spec holds, and its rules
/// as `host path kind service`; `-` stands for no host.
pub(super) fn ingress(
    name: &str,
    annotations: &[(&str, &str)],
    spec: &str,
    rules: &[&str],
) -> String {
    let mut text = format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  annotations:\n"
    );
    for (key, value) in annotations {
        text.push_str(&format!("    nginx.ingress.kubernetes.io/{key}: {value:?}\n"));
    }
    text.push_str("    example.com/unrelated: x\nspec:\n  ingressClassName: penstock\n");
    for line in spec.lines() {
        text.push_str(&format!("  {line}\n"));
    }
    if !rules.is_empty() {
        text.push_str("  rules:\n");
    }
    for rule in rules {
        let [host, path, kind, service] = rule.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{rule} has not four parts")
        };
        let host = if host == "-" { "" } else { host };
        text.push_str(&format!(
            "  - host: {host:?}\n    http: {{paths: [{{path: {path:?}, pathType: {kind}, \
             backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}]}}\n"
        ));
    }
    text
}

fn translate_with(options: Options, text: &str) -> Translation {
    let (stores, diagnostics) = stores(&format!("{BASE}{text}"));
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let translation = Translator::new(options.clone()).translate(&stores, &Default::default());
    // A source may hold only what `references` asks for.
    let named = named(&options, &stores);
    let again = Translator::new(options).translate(&named, &Default::default());
    assert_eq!(again.diagnostics, translation.diagnostics, "without what nothing names");
    assert_eq!(format!("{:?}", again.model), format!("{:?}", translation.model));
    translation
}

/// The stores as a source has them that fetches what is named, and what that names.
fn named(options: &Options, all: &Stores) -> Stores {
    let mut some =
        Stores { secrets: Store::default(), config_maps: Store::default(), ..all.clone() };
    loop {
        let mut changes = Changes::default();
        for id in references(&some, options).iter().map(Reference::object) {
            if let Some(object) = all.object(&id) {
                changes.applied(&id, &object);
            }
        }
        let before = some.clone();
        some.apply(changes);
        if some.same(&before) {
            return some;
        }
    }
}

pub(super) fn translate(text: &str) -> Translation {
    translate_with(Options::default(), text)
}

/// All diagnostics, one a line.
pub(super) fn said(translation: &Translation) -> String {
    let line = |diagnostic: &crate::model::Diagnostic| match diagnostic.severity {
        Severity::Warning => format!("warning {diagnostic}\n"),
        Severity::Error => format!("error {diagnostic}\n"),
    };
    translation.diagnostics.iter().map(line).collect()
}

#[track_caller]
pub(super) fn says(translation: &Translation, text: &str) {
    assert!(said(translation).contains(text), "not said: {text}\nbut:\n{}", said(translation));
}

#[track_caller]
fn says_nothing(translation: &Translation) {
    assert_eq!(said(translation), "");
}

fn host<'m>(model: &'m Model, name: &str) -> &'m Host {
    let is_it = |host: &&std::sync::Arc<Host>| match &host.name {
        HostName::Exact(exact) => **exact == *name,
        HostName::Wildcard(suffix) => name.strip_prefix("*.") == Some(suffix),
        HostName::CatchAll => name == "-",
    };
    model.hosts.iter().find(is_it).unwrap_or_else(|| panic!("no host {name}"))
}

/// Where a request leads: `web`, `404`, `503 key`, `301 location`, `slash`.
fn get(translation: &Translation, url: &str) -> String {
    let model = &translation.model;
    let (table, _) = RouteTable::new(model);
    let (host, path) = url.split_at(url.find('/').unwrap_or(url.len()));
    match table.host(host).find(path) {
        Found::Route(found) => leads(model, &found.route),
        Found::AddSlash(_) => "slash".to_owned(),
        Found::None => panic!("{url}: every host has a `/`"),
    }
}

fn leads(model: &Model, route: &Route) -> String {
    match &route.target {
        Target::Backend(id) => {
            let backend = &model.backends[id.0 as usize];
            match backend.endpoints.is_empty() {
                true => format!("no endpoints of {}", backend.key.service),
                false => backend.key.service.to_string(),
            }
        }
        Target::NotFound => "404".to_owned(),
        Target::OtherHost(name) => format!("host {name}"),
        Target::Redirect(redirect) => format!("{} {}", redirect.status, redirect.location),
        Target::Denied(denial) => format!("503 {}", denial.key),
    }
}
