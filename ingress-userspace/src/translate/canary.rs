//! Which backends get a canary (reference section 7). Canaries wait until all Ingresses are known:
//! whether they or their main Ingresses are older does not matter.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{api::networking::v1::Ingress, apimachinery::pkg::apis::meta::v1::Time};

use super::{
    annotations::{Balances, CanaryRequest, HeaderRequest, HeaderRule},
    backends::Backends,
    host::HostParts,
    report::Report,
    rule::{Fault, backend_key, host_name, path_of},
};
use crate::{
    expression::{Case, Expressions},
    model::{
        BackendKey, Canary, CanaryHeader, CanaryHeaderRule, Diagnostic, HostName, ObjectRef,
        PathKind, Route, Target,
    },
    stores::Key,
};

/// The canaries that were added, oldest first.
#[derive(Debug, Default)]
pub(super) struct Canaries {
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    ingress: ObjectRef,
    created: Option<Time>,
    asked: CanaryRequest,
    balances: Arc<Balances>,
    places: Vec<Place>,
}

/// A path of a canary.
#[derive(Debug)]
struct Place {
    field: String,
    host: HostName,
    kind: PathKind,
    path: Arc<str>,
    key: BackendKey,
}

impl Canaries {
    /// Adds a canary; the next one must be younger. `None`: one that takes no traffic.
    pub(super) fn add(
        &mut self,
        key: &Key,
        ingress: &Ingress,
        asked: Option<CanaryRequest>,
        report: &mut Report<'_>,
    ) {
        let Some(asked) = asked else { return };
        let places = places(key, ingress, report);
        let created = ingress.metadata.creation_timestamp.clone();
        let (ingress, balances) = (report.object.clone(), Arc::new(asked.balances.clone()));
        self.waiting.push(Waiting { ingress, created, asked, balances, places });
    }

    /// Gives every backend its canary: the oldest whose host, path and kind of path are those of a
    /// route to it. `pattern_field` is where people find `canary-by-header-pattern`.
    pub(super) fn attach(
        self,
        hosts: &BTreeMap<HostName, HostParts>,
        pattern_field: &str,
        backends: &mut Backends,
        expressions: &mut Expressions,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        for Waiting { ingress, created, asked, balances, places } in self.waiting {
            let mut report = Report::on(ingress.clone(), diagnostics);
            let header = match asked.header.as_ref().map(|header| compiled(header, expressions)) {
                None => None,
                Some(Ok(header)) => Some(header),
                Some(Err(error)) => {
                    let message =
                        format!("is no regular expression: {error}; the canary takes no traffic");
                    report.error(pattern_field, message);
                    continue;
                }
            };
            for Place { field, host, kind, path, key } in places {
                let route = hosts.get(&host).and_then(|host| host.route(kind, &path));
                // Without `spec.defaultBackend` the path `/` that every host has is nobody's.
                let main = route.filter(|route| is_named(route)).map(|route| match &route.target {
                    Target::Backend(id) => Ok(*id),
                    _ => Err(&route.ingress),
                });
                let why = match main {
                    None => format!("no ordinary Ingress has {kind:?} `{path}` of this host"),
                    Some(Err(ingress)) => format!("the path leads to no Service in {ingress}"),
                    Some(Ok(id)) if backends.key(id) == Some(&key) => {
                        "the main Ingress leads to the same Service".to_owned()
                    }
                    Some(Ok(id)) => match backends.canary(id) {
                        None => {
                            let canary = |backend| Canary {
                                ingress: ingress.clone(),
                                backend,
                                header: header.clone(),
                                cookie: asked.cookie.clone(),
                                weight: asked.weight,
                                total: asked.total,
                                sticky: asked.sticky,
                            };
                            let field = format!("{field}.backend.service");
                            let asks = (created.clone(), Arc::clone(&balances));
                            backends.set_canary(id, key, &ingress, &field, asks, canary);
                            continue;
                        }
                        // Several paths of one canary may lead from one Service to one other.
                        Some((own, known)) if *own == ingress && *known == key => continue,
                        Some((older, _)) => {
                            format!("the main Service has its canary from {older} already")
                        }
                    },
                };
                report.error(field, format!("{why}; this path takes no traffic"));
            }
        }
    }
}

/// Some Ingress names what the route leads to.
fn is_named(route: &Route) -> bool {
    route.field.contains(".paths[") || route.field == "spec.defaultBackend"
}

fn compiled(
    header: &HeaderRequest,
    expressions: &mut Expressions,
) -> Result<CanaryHeader, Arc<str>> {
    let rule = match &header.rule {
        HeaderRule::Word => CanaryHeaderRule::Word,
        HeaderRule::Value(value) => CanaryHeaderRule::Value(Arc::clone(value)),
        HeaderRule::Pattern(text) => CanaryHeaderRule::Pattern(expressions.get(text, Case::Told)?),
    };
    Ok(CanaryHeader { name: Arc::clone(&header.name), rule })
}

/// The paths of a canary. A default backend stands for `/` of the catch-all host.
fn places(key: &Key, ingress: &Ingress, report: &mut Report<'_>) -> Vec<Place> {
    let mut places = Vec::new();
    let Some(spec) = &ingress.spec else { return places };
    let service = |field: &str, backend, report: &mut Report<'_>| match backend_key(
        &key.namespace,
        field,
        backend,
    ) {
        Ok(key) => Some(key),
        Err(Fault::Resource) => {
            report.error(
                format!("{field}.resource"),
                "resources are not served; this path takes no traffic",
            );
            None
        }
        Err(Fault::Broken(field, why)) => {
            report.error(field, format!("{why}; this path takes no traffic"));
            None
        }
    };
    let rules = spec.rules.as_deref().unwrap_or_default();
    if let (Some(backend), []) = (&spec.default_backend, rules)
        && let Some(key) = service("spec.defaultBackend", backend, report)
    {
        places.push(Place {
            field: "spec.defaultBackend".to_owned(),
            host: HostName::CatchAll,
            kind: PathKind::Prefix,
            path: "/".into(),
            key,
        });
    }
    for (index, rule) in rules.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        let host = match host_name(rule.host.as_deref().unwrap_or_default()) {
            Ok(host) => host,
            Err(why) => {
                report.error(format!("{field}.host"), format!("{why}; the rule is ignored"));
                continue;
            }
        };
        for (index, path) in rule.http.iter().flat_map(|http| &http.paths).enumerate() {
            let field = format!("{field}.http.paths[{index}]");
            if let Some((kind, text)) = path_of(path, &field, report)
                && let Some(key) = service(&format!("{field}.backend"), &path.backend, report)
            {
                places.push(Place { field, host: host.clone(), kind, path: text.into(), key });
            }
        }
    }
    places
}
