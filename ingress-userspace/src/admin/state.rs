//! `/state`: all that is served, as JSON for people and scripts.

use serde_json::{Value, json};

use super::Board;
use crate::l4;
use crate::model::{
    Alias, AliasName, Backend, Canary, CanaryHeaderRule, Diagnostic, Host, HostName, HttpsRedirect,
    Model, PathKind, Severity, Target,
};

/// All that is served, without keys and certificates.
pub(super) fn render(board: &Board) -> Value {
    let snapshot = board.reader.current();
    let model = &snapshot.model;
    let addresses = |list: &[std::net::SocketAddr]| -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    };
    json!({
        "generation": snapshot.generation,
        "ready": board.readiness.missing().is_none(),
        "missing": board.readiness.missing(),
        "listeners": {
            "http": addresses(&board.addresses.http),
            "https": addresses(&board.addresses.https),
            "admin": addresses(&board.addresses.admin),
        },
        "log-level": board.levels.as_ref().map(crate::log::Levels::current),
        "hosts": model.hosts.iter().map(|one| host(model, one)).collect::<Vec<_>>(),
        "backends": model.backends.iter().filter(|one| !one.key.is_nobody())
            .map(|one| backend(model, one)).collect::<Vec<_>>(),
        "members": model.members.iter().map(|member| json!({
            "name": &*member.name,
            "address": member.address.to_string(),
            "ready": member.ready,
        })).collect::<Vec<_>>(),
        "steering": board.steering.status().map(|status| steering(board, &status)),
        "settings": {
            "http-redirect-code": model.settings.redirect_code as u16,
            "use-forwarded-headers": model.settings.use_forwarded_headers,
            "compute-full-forwarded-for": model.settings.compute_full_forwarded_for,
            "hsts": model.settings.hsts,
        },
        "diagnostics": board.diagnostics().iter().map(diagnostic).collect::<Vec<_>>(),
    })
}

pub(super) fn host_name(name: &HostName) -> String {
    match name {
        HostName::Exact(name) => name.to_string(),
        HostName::Wildcard(suffix) => format!("*.{suffix}"),
        HostName::CatchAll => "_".to_owned(),
    }
}

fn alias(alias: &Alias) -> Value {
    let name = match &alias.name {
        AliasName::Exact(name) => name.to_string(),
        AliasName::Beneath(suffix) => format!("*.{suffix}"),
        AliasName::Before(prefix) => format!("{prefix}.*"),
        AliasName::Matching(pattern) => format!("~{}", pattern.text()),
    };
    json!({ "name": name, "tls": alias.tls })
}

fn host(model: &Model, host: &Host) -> Value {
    let certificate = host.certificate.and_then(|id| {
        let certificate = model.certificates.get(usize::try_from(id.0).ok()?)?;
        Some(certificate.secret.to_string())
    });
    json!({
        "name": host_name(&host.name),
        "aliases": host.aliases.iter().map(alias).collect::<Vec<_>>(),
        "tls": host.tls,
        "certificate": certificate,
        "regex": host.regex,
        "routes": host.routes.iter().map(|route| json!({
            "path": &*route.path,
            "kind": path_kind(route.kind),
            "ingress": route.ingress.to_string(),
            "field": route.field,
            "rewrite": route.rewrite.as_ref().map(|rewrite| &*rewrite.template),
            "https-redirect": match route.https_redirect {
                HttpsRedirect::Never => "never",
                HttpsRedirect::IfTls => "if-tls",
                HttpsRedirect::Always => "always",
            },
            "target": target(model, &route.target),
        })).collect::<Vec<_>>(),
    })
}

pub(super) fn path_kind(kind: PathKind) -> &'static str {
    match kind {
        PathKind::Exact => "Exact",
        PathKind::Prefix => "Prefix",
    }
}

fn target(model: &Model, target: &Target) -> Value {
    match target {
        Target::Backend(id) => {
            let backend = usize::try_from(id.0).ok().and_then(|at| model.backends.get(at));
            json!({ "backend": backend.map(|backend| backend.key.to_string()) })
        }
        Target::NotFound => json!("not-found"),
        Target::Denied(denial) => json!({ "denied": &*denial.key }),
        Target::OtherHost(name) => json!({ "host": &**name }),
        Target::Redirect(redirect) => {
            json!({ "redirect": &*redirect.location, "status": redirect.status })
        }
    }
}

pub(super) fn backend(model: &Model, backend: &Backend) -> Value {
    json!({
        "name": backend.key.to_string(),
        "endpoints": backend.endpoints.iter().map(|endpoint| json!({
            "address": endpoint.address.to_string(),
            "pod": endpoint.pod.as_deref(),
        })).collect::<Vec<_>>(),
        "canary": backend.balancing.canary.as_ref().map(|own| canary(model, own)),
    })
}

fn canary(model: &Model, canary: &Canary) -> Value {
    let backend = usize::try_from(canary.backend.0).ok().and_then(|at| model.backends.get(at));
    json!({
        "ingress": canary.ingress.to_string(),
        "backend": backend.map(|backend| backend.key.to_string()),
        "endpoints": backend.map(|backend| backend.endpoints.len()),
        "header": canary.header.as_ref().map(|header| json!({
            "name": &*header.name,
            "value": match &header.rule {
                CanaryHeaderRule::Value(value) => Some(&**value),
                _ => None,
            },
            "pattern": match &header.rule {
                CanaryHeaderRule::Pattern(pattern) => Some(pattern.text()),
                _ => None,
            },
        })),
        "cookie": canary.cookie.as_deref(),
        "weight": canary.weight,
        "weight-total": canary.total,
        "sticky": canary.sticky,
    })
}

fn steering(board: &Board, status: &l4::Status) -> Value {
    json!({
        "interfaces": status
            .interfaces
            .iter()
            .map(|(name, mode)| (name.clone(), json!(mode.name())))
            .collect::<serde_json::Map<_, _>>(),
        "nodes": status.nodes.iter().map(|(name, node)| json!({
            "name": name,
            "id": node.id.0,
            "address": node.address.to_string(),
            "state": format!("{:?}", node.state).to_lowercase(),
            "reachable": node.reachable,
            "weight": node.weight,
            "full-size": node.full_size,
            "rows": status.rows.get(name),
        })).collect::<Vec<_>>(),
        "announcers": status
            .announcers
            .iter()
            .map(|(address, name)| (address.to_string(), json!(name)))
            .collect::<serde_json::Map<_, _>>(),
        "error": status.error,
        "events": board.steering.events().iter().map(l4::Event::to_json).collect::<Vec<_>>(),
    })
}

fn diagnostic(diagnostic: &Diagnostic) -> Value {
    json!({
        "severity": match diagnostic.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        },
        "object": diagnostic.object.to_string(),
        "field": diagnostic.field,
        "message": diagnostic.message,
    })
}
