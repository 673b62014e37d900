//! What an Ingress says and its author may not mean: true with ingress-nginx as well, and worth
//! knowing before a migration.

use std::{collections::BTreeSet, time::SystemTime};

use k8s_openapi::api::{core::v1::Secret, networking::v1::Ingress};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Checked, Kind, Remark, Verdict, effects::name};
use crate::{
    model::{BackendId, Model, ObjectRef, Target},
    stores::Stores,
    translate::{Options, described},
};

/// How long before its end a certificate is told of: Let's Encrypt's are renewed thirty days before.
/// Seconds.
const SOON: i64 = 14 * 24 * 3600;

/// The prefixes of annotations of other controllers.
const OTHERS: [&str; 10] = [
    "nginx.org/",
    "nginx.com/",
    "haproxy.org/",
    "haproxy-ingress.github.io/",
    "traefik.ingress.kubernetes.io/",
    "traefik.io/",
    "konghq.com/",
    "appgw.ingress.kubernetes.io/",
    "alb.ingress.kubernetes.io/",
    "projectcontour.io/",
];

/// The prefix of ingress-nginx before version 0.9.
const OLD: &str = "ingress.kubernetes.io/";

/// Keys of F5's controller, and ours that do the same.
const RENAMED: [(&str, &str); 13] = [
    ("nginx.org/client-max-body-size", "proxy-body-size"),
    ("nginx.org/proxy-connect-timeout", "proxy-connect-timeout"),
    ("nginx.org/proxy-read-timeout", "proxy-read-timeout"),
    ("nginx.org/proxy-send-timeout", "proxy-send-timeout"),
    ("nginx.org/proxy-buffering", "proxy-buffering"),
    ("nginx.org/redirect-to-https", "force-ssl-redirect"),
    ("nginx.org/rewrites", "rewrite-target"),
    ("nginx.org/server-snippets", "server-snippet"),
    ("nginx.org/location-snippets", "configuration-snippet"),
    ("nginx.org/ssl-services", "backend-protocol"),
    ("nginx.org/grpc-services", "backend-protocol"),
    ("nginx.org/lb-method", "load-balance"),
    ("nginx.org/path-regex", "use-regex"),
];

pub(super) fn add(
    ingresses: &mut [Checked],
    model: &Model,
    stores: &Stores,
    options: &Options,
    now: SystemTime,
) {
    for checked in ingresses.iter_mut().filter(|own| own.verdict != Verdict::OtherClass) {
        let ObjectRef { namespace, name, .. } = &checked.object;
        let Some(ingress) = stores.ingresses.get(namespace, name) else { continue };
        prefixes(checked, ingress, options);
        rewrites(checked, ingress, options);
        certificates(checked, ingress, stores, now);
    }
    services(ingresses, model, stores, options);
}

fn caution(checked: &mut Checked, field: String, message: String) {
    checked.remarks.push(Remark { kind: Kind::Caution, field, message });
}

/// Keys that look as if they were read.
fn prefixes(checked: &mut Checked, ingress: &Ingress, options: &Options) {
    let ours = &*options.annotations_prefix;
    for full in ingress.metadata.annotations.iter().flatten().map(|(key, _)| key) {
        let is_other = OTHERS.iter().any(|prefix| full.starts_with(prefix));
        let usual = Options::default().annotations_prefix;
        let of_usual = full.strip_prefix(&*usual).and_then(|rest| rest.strip_prefix('/'));
        let (why, key) = if let Some(key) = full.strip_prefix(OLD) {
            ("has the prefix of ingress-nginx before 0.9", key)
        } else if is_other {
            ("is of another controller", full.split_once('/').map_or("", |(_, key)| key))
        } else if let Some(key) = of_usual.filter(|_| *usual != *ours) {
            ("has another prefix than --annotations-prefix", key)
        } else {
            continue;
        };
        let renamed = RENAMED.iter().find(|(theirs, _)| theirs == full).map(|(_, ours)| *ours);
        let instead = renamed.or_else(|| described(key).map(|known| known.key));
        let instead = instead.map_or(String::new(), |key| format!("; `{ours}/{key}` is read"));
        let field = format!("metadata.annotations[{full}]");
        caution(checked, field, format!("{why} and has no effect{instead}"));
    }
}

/// `rewrite-target` that keeps nothing of the path (reference section 3.4).
fn rewrites(checked: &mut Checked, ingress: &Ingress, options: &Options) {
    let key = format!("{}/rewrite-target", options.annotations_prefix);
    let target = ingress.metadata.annotations.as_ref().and_then(|all| all.get(&key));
    let Some(target) = target.map(|target| target.trim()) else { return };
    if target.is_empty() || target.contains('$') {
        return;
    }
    let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
    let paths = rules.flat_map(|rule| rule.http.iter().flat_map(|http| &http.paths));
    let below = |path: &str| !path.ends_with('$');
    let longest = paths
        .filter(|path| path.path_type != "Exact")
        .filter_map(|path| path.path.as_deref())
        .filter(|path| below(path))
        .max_by_key(|path| path.len());
    let Some(path) = longest else { return };
    let begin = path.trim_end_matches('/');
    let message = format!(
        "all that is below `{path}` is asked of the Service as `{target}`: nothing of the client's \
         path is kept; the path `{begin}(/|$)(.*)` with the target `{}$2` keeps it",
        if target.ends_with('/') { target.to_owned() } else { format!("{target}/") }
    );
    caution(checked, format!("metadata.annotations[{key}]"), message);
}

/// Certificates that have ended or soon will, and Secrets of another type.
fn certificates(checked: &mut Checked, ingress: &Ingress, stores: &Stores, now: SystemTime) {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let entries = ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten());
    for (index, entry) in entries.enumerate() {
        let Some(name) = entry.secret_name.as_deref() else { continue };
        let namespace = &checked.object.namespace;
        let Some(secret) = stores.secrets.get(namespace, name) else { continue };
        let what = format!("Secret {namespace}/{name}");
        let field = format!("spec.tls[{index}].secretName");
        if let Some(kind) = secret.type_.as_deref()
            && kind != "kubernetes.io/tls"
        {
            let message = format!(
                "{what} is of type `{kind}`, not `kubernetes.io/tls`: nobody has checked that it \
                 has a certificate and its key"
            );
            caution(checked, field.clone(), message);
        }
        if let Some((end, date)) = end(secret) {
            let message = match end - now {
                ..0 => format!("the certificate of {what} has ended on {date}"),
                0..SOON => format!("the certificate of {what} ends on {date}"),
                _ => continue,
            };
            caution(checked, field, message);
        }
    }
}

/// When the first certificate of a Secret ends: in seconds since 1970, and for people.
fn end(secret: &Secret) -> Option<(i64, String)> {
    let pem = secret.data.as_ref()?.get("tls.crt")?;
    let der = CertificateDer::pem_slice_iter(&pem.0).next()?.ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let end = certificate.validity().not_after;
    let seconds = u64::try_from(end.timestamp()).unwrap_or(0);
    let date = SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds))?;
    Some((end.timestamp(), httpdate::fmt_http_date(date)))
}

/// Sessions and canaries are of a Service: they follow it to all its hosts (reference sections 6
/// and 7).
fn services(ingresses: &mut [Checked], model: &Model, stores: &Stores, options: &Options) {
    let has = |object: &ObjectRef, key: &str| {
        let ingress = stores.ingresses.get(&object.namespace, &object.name);
        let all = ingress.and_then(|ingress| ingress.metadata.annotations.as_ref());
        all.is_some_and(|all| all.contains_key(&format!("{}/{key}", options.annotations_prefix)))
    };
    let hosts_of = |object: &ObjectRef| -> BTreeSet<String> {
        let ingress = stores.ingresses.get(&object.namespace, &object.name);
        let spec = ingress.and_then(|ingress| ingress.spec.as_ref());
        let rules = spec.iter().flat_map(|spec| spec.rules.iter().flatten());
        rules.map(|rule| rule.host.clone().unwrap_or_default()).collect()
    };
    let mut told = BTreeSet::new();
    for host in model.hosts.iter() {
        let host_name = name(&host.name);
        for route in &host.routes {
            let Target::Backend(BackendId(id)) = route.target else { continue };
            let backend = usize::try_from(id).ok().and_then(|at| model.backends.get(at));
            let Some(backend) = backend else { continue };
            let service = &backend.key.service;
            if backend.balancing.affinity.is_some() && !has(&route.ingress, "affinity") {
                let message = format!(
                    "requests to {host_name} for Service {service} keep their sessions too, because \
                     another Ingress asks for `affinity` of that Service"
                );
                if told.insert((route.ingress.clone(), message.clone())) {
                    remark(ingresses, &route.ingress, &route.field, message);
                }
            }
            if let Some(canary) = &backend.balancing.canary
                && !hosts_of(&canary.ingress).contains(&host_name)
            {
                let message = format!(
                    "requests to {host_name} for Service {service} go to the canary {} too, which \
                     does not name that host: a canary follows the Service",
                    canary.ingress
                );
                if told.insert((route.ingress.clone(), message.clone())) {
                    remark(ingresses, &route.ingress, &route.field, message);
                }
            }
        }
    }
}

fn remark(ingresses: &mut [Checked], object: &ObjectRef, field: &str, message: String) {
    let checked = ingresses.iter_mut().find(|checked| checked.object == *object);
    if let Some(checked) = checked.filter(|checked| checked.verdict != Verdict::OtherClass) {
        checked.remarks.push(Remark { kind: Kind::HostWide, field: field.to_owned(), message });
    }
}
