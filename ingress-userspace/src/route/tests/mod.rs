mod hosts;
mod oracle;
mod ordinary;
mod regex_mode;
mod scale;

use std::sync::Arc;

use super::{Found, HostTable, RouteTable};
use crate::model::{
    Denial, Host, HostName, HttpsRedirect, Model, ObjectRef, PathKind, Rewrite, Route, Target,
};

pub(super) const EXACT: PathKind = PathKind::Exact;
pub(super) const PREFIX: PathKind = PathKind::Prefix;

/// A route of an Ingress that is named after its path.
pub(super) fn route(kind: PathKind, path: &str) -> Route {
    Route {
        ingress: ObjectRef::new("Ingress", "default", format!("{kind:?} {path}")),
        field: "spec.rules[0].http.paths[0]".to_owned(),
        kind,
        path: path.into(),
        use_regex: false,
        rewrite: None,
        https_redirect: HttpsRedirect::Never,
        preserve_trailing_slash: false,
        redirect_form: Default::default(),
        sets_session: false,
        proxying: Arc::default(),
        policies: None,
        target: Target::NotFound,
    }
}

pub(super) fn regex(path: &str) -> Route {
    Route { use_regex: true, ..route(PREFIX, path) }
}

pub(super) fn rewriting(path: &str, target: &str) -> Route {
    Route { rewrite: Some(Rewrite { template: target.into() }), ..regex(path) }
}

pub(super) fn host(name: HostName, routes: Vec<Route>) -> Host {
    Host {
        name,
        aliases: Box::default(),
        certificate: None,
        tls: false,
        handshake: None,
        regex: routes.iter().any(|route| route.use_regex),
        snippet: None,
        app_root: None,
        routes: routes.into_iter().map(Arc::new).collect(),
    }
}

pub(super) fn table(hosts: Vec<Host>) -> RouteTable {
    let hosts = hosts.into_iter().map(Arc::new).collect();
    RouteTable::new(&Model { hosts, ..Model::default() }).0
}

/// The table of a catch-all host with these routes.
pub(super) fn paths(routes: Vec<Route>) -> HostTable {
    table(vec![host(HostName::CatchAll, routes)]).host("example.com").clone()
}

/// What was found, in words: `Prefix /foo`, `slash Prefix /foo/`, `nothing`.
pub(super) fn found(host: &HostTable, path: &str) -> String {
    match host.find(path) {
        Found::Route(found) if matches!(found.route.target, Target::Denied(Denial { .. })) => {
            format!("denied {}", found.route.ingress.name)
        }
        Found::Route(found) => found.route.ingress.name.to_string(),
        Found::AddSlash(found) => format!("slash {}", found.route.ingress.name),
        Found::None => "nothing".to_owned(),
    }
}
