//! `routes`: one for each path of each rule, in the order of hosts.

use serde_json::{Value, json};

use super::{
    Refusal,
    objects::{backend_of, canary, object, service},
    query::{Page, Query},
};
use crate::{
    admin::{
        Board,
        state::{host_name, path_kind},
    },
    model::{Host, HttpsRedirect, Model, Policies, Route, Target},
};

/// `host`: only those of the host that answers for this name.
pub(super) fn render(board: &Board, query: &Query) -> Result<Value, Refusal> {
    query.only(&["q", "page", "per", "host"])?;
    let mut page = query.page()?;
    let snapshot = board.reader.current();
    let model = &snapshot.model;
    match query.one("host")? {
        Some(name) => add(&mut page, model, snapshot.routes.host(name).model()),
        None => model.hosts.iter().for_each(|host| add(&mut page, model, host)),
    }
    Ok(page.finish(snapshot.generation))
}

fn add(page: &mut Page, model: &Model, host: &Host) {
    let name = host_name(&host.name);
    // Answered before all others.
    for route in host.app_root.iter().chain(&host.routes) {
        let asked = match &route.target {
            Target::Backend(id) => backend_of(model, *id).map(|own| &*own.key.service),
            _ => None,
        };
        let about = [
            &*name,
            &*route.path,
            &*route.ingress.namespace,
            &*route.ingress.name,
            asked.unwrap_or_default(),
        ];
        if page.words().is_empty() || page.words().are_in(&about) {
            page.add(|| item(model, host, &name, route));
        }
    }
}

fn item(model: &Model, host: &Host, name: &str, route: &Route) -> Value {
    json!({
        "host": name,
        "aliases": host.aliases.len(),
        "tls": host.tls,
        "path": &*route.path,
        "kind": path_kind(route.kind),
        "regex": host.regex,
        "ingress": object(&route.ingress),
        "field": route.field,
        "rewrite": route.rewrite.as_ref().map(|rewrite| &*rewrite.template),
        "https_redirect": match route.https_redirect {
            HttpsRedirect::Never => "never",
            HttpsRedirect::IfTls => "if-tls",
            HttpsRedirect::Always => "always",
        },
        "policies": route.policies.as_deref().map(policies).unwrap_or_default(),
        "target": target(model, &route.target),
    })
}

/// What its requests go through beyond forwarding.
fn policies(own: &Policies) -> Vec<&'static str> {
    let named = [
        ("limits", own.limits.is_some()),
        ("sources", own.sources.is_some()),
        ("login", own.login.is_some()),
        ("external-auth", own.external.is_some()),
        ("satisfy-any", own.satisfy_any),
        ("firewall", own.firewall.is_some()),
        ("cors", own.cors.is_some()),
        ("headers", own.headers.is_some()),
        ("error-pages", own.errors.is_some()),
        ("snippet", own.snippet.is_some()),
        ("mirror", own.mirror.is_some()),
    ];
    named.into_iter().filter_map(|(name, is)| is.then_some(name)).collect()
}

/// Where it leads: `kind` says which other fields there are.
fn target(model: &Model, target: &Target) -> Value {
    match target {
        Target::Backend(id) => match backend_of(model, *id) {
            Some(backend) => json!({
                "kind": "service",
                "service": service(&backend.key),
                "endpoints": backend.endpoints.len(),
                "canary": backend.balancing.canary.as_ref().map(|own| canary(model, own)),
            }),
            None => json!({ "kind": "not-found" }),
        },
        Target::NotFound => json!({ "kind": "not-found" }),
        Target::Denied(denial) => json!({ "kind": "denied", "key": &*denial.key }),
        Target::OtherHost(name) => json!({ "kind": "host", "host": &**name }),
        Target::Redirect(redirect) => json!({
            "kind": "redirect",
            "status": redirect.status,
            "location": &*redirect.location,
        }),
    }
}
