//! What Ingresses of one host do to each other, which surprises people: with ingress-nginx, and
//! therefore here.

use std::collections::BTreeSet;

use super::{Checked, Kind, Remark, Verdict};
use crate::{
    model::{Host, HostName, HttpsRedirect, Model, ObjectRef, Route},
    stores::Stores,
};

pub(super) fn add(ingresses: &mut [Checked], model: &Model, stores: &Stores) {
    for host in model.hosts.iter() {
        let owners: BTreeSet<_> = host.routes.iter().map(|route| &route.ingress).collect();
        if owners.len() < 2 {
            continue;
        }
        let name = name(&host.name);
        regex(ingresses, host, &name);
        tls(ingresses, host, &name, stores);
        client_certificates(ingresses, host, &name, stores);
    }
}

/// One Ingress puts all paths of the host into regex mode (reference section 3.3).
fn regex(ingresses: &mut [Checked], host: &Host, name: &str) {
    let asks = |route: &&std::sync::Arc<Route>| route.use_regex || route.rewrite.is_some();
    let Some(first) = host.routes.iter().find(asks) else { return };
    let plain = host.routes.iter().filter(|route| !asks(route));
    for route in plain.filter(|route| route.path != "/".into() && route.ingress != first.ingress) {
        let message = format!(
            "`{}` of {name} is a case-insensitive regular expression without end, because {} has \
             `use-regex` or `rewrite-target`",
            route.path, first.ingress
        );
        remark(ingresses, &route.ingress, route.field.clone(), message);
    }
}

/// One Ingress with TLS for the host has plain HTTP to all of its paths redirected (section 4.4).
fn tls(ingresses: &mut [Checked], host: &Host, name: &str, stores: &Stores) {
    if !host.tls {
        return;
    }
    let lists = |object: &ObjectRef| {
        let ingress = stores.ingresses.get(&object.namespace, &object.name);
        let spec = ingress.and_then(|ingress| ingress.spec.as_ref());
        spec.is_some_and(|spec| spec.tls.as_ref().is_some_and(|entries| !entries.is_empty()))
    };
    let Some(cause) = host.routes.iter().find(|route| lists(&route.ingress)) else { return };
    let mut done = BTreeSet::new();
    for route in &host.routes {
        let redirected = route.https_redirect == HttpsRedirect::IfTls;
        if redirected && !lists(&route.ingress) && done.insert(&route.ingress) {
            let message = format!(
                "plain HTTP to {name} is redirected to HTTPS, because {} has TLS for that host",
                cause.ingress
            );
            remark(ingresses, &route.ingress, "spec.tls".to_owned(), message);
        }
    }
}

/// One Ingress has all of the host ask for client certificates (section 1.4).
fn client_certificates(ingresses: &mut [Checked], host: &Host, name: &str, stores: &Stores) {
    if host.handshake.as_ref().is_none_or(|own| own.client_auth.is_none()) {
        return;
    }
    let asks = |object: &ObjectRef| {
        let ingress = stores.ingresses.get(&object.namespace, &object.name);
        let annotations = ingress.and_then(|ingress| ingress.metadata.annotations.as_ref());
        annotations.is_some_and(|own| own.keys().any(|key| key.ends_with("/auth-tls-secret")))
    };
    let Some(cause) = host.routes.iter().find(|route| asks(&route.ingress)) else { return };
    let others: BTreeSet<_> =
        host.routes.iter().map(|route| &route.ingress).filter(|own| !asks(own)).collect();
    for object in others {
        let message = format!(
            "{name} asks for client certificates, because {} has `auth-tls-secret`",
            cause.ingress
        );
        remark(ingresses, object, String::new(), message);
    }
}

fn remark(ingresses: &mut [Checked], object: &ObjectRef, field: String, message: String) {
    let checked = ingresses.iter_mut().find(|checked| checked.object == *object);
    if let Some(checked) = checked.filter(|checked| checked.verdict != Verdict::OtherClass) {
        checked.remarks.push(Remark { kind: Kind::HostWide, field, message });
    }
}

pub(super) fn name(host: &HostName) -> String {
    match host {
        HostName::Exact(name) => name.to_string(),
        HostName::Wildcard(suffix) => format!("*.{suffix}"),
        HostName::CatchAll => "the catch-all host".to_owned(),
    }
}
