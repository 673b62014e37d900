//! What a rule may say: host names, paths and backends.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::networking::v1::{HTTPIngressPath, IngressBackend};

use super::report::Report;
use crate::model::{BackendKey, HostName, PathKind, PortRef};

/// The name of a rule's host.
pub(super) fn host_name(host: &str) -> Result<HostName, String> {
    let host = host.to_ascii_lowercase();
    if host.is_empty() {
        return Ok(HostName::CatchAll);
    }
    if host.parse::<IpAddr>().is_ok() {
        return Err(format!("`{host}` is an IP address; a DNS name is needed"));
    }
    let (wildcard, name) = host.strip_prefix("*.").map_or((false, &*host), |name| (true, name));
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(format!(
            "`{host}` is no DNS name (letters, digits and `-` between dots, after one `*.` at most)"
        ));
    }
    let name = name.into();
    Ok(if wildcard { HostName::Wildcard(name) } else { HostName::Exact(name) })
}

/// A path as the API server's validation of Ingresses would have it.
pub(super) fn check_path(path: &str, kind: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("does not begin with `/`");
    }
    if matches!(kind, "Exact" | "Prefix") {
        let lower = path.to_ascii_lowercase();
        let bad = ["//", "/./", "/../", "%2f"].iter().any(|part| lower.contains(part));
        if bad || path.ends_with("/.") || path.ends_with("/..") {
            return Err("contains `//`, `%2f` or a segment `.` or `..`");
        }
    }
    Ok(())
}

/// The kind and text of a path; `None` and a report if it cannot be served.
pub(super) fn path_of<'p>(
    path: &'p HTTPIngressPath,
    field: &str,
    report: &mut Report<'_>,
) -> Option<(PathKind, &'p str)> {
    let kind = match &*path.path_type {
        "Exact" => PathKind::Exact,
        "" | "Prefix" | "ImplementationSpecific" => PathKind::Prefix,
        other => {
            let message = format!(
                "`{other}` is not `Exact`, `Prefix` or `ImplementationSpecific`; \
                 this path is not served"
            );
            report.error(format!("{field}.pathType"), message);
            return None;
        }
    };
    let text = path.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    if let Err(why) = check_path(text, &path.path_type) {
        let message = format!("`{text}` {why}; this path is not served");
        report.error(format!("{field}.path"), message);
        return None;
    }
    Some((kind, text))
}

/// Why a backend leads to no Service.
pub(super) enum Fault {
    /// It names a resource.
    Resource,
    /// The field, and what is wrong with it.
    Broken(String, String),
}

/// The Service port that a backend names.
pub(super) fn backend_key(
    namespace: &Arc<str>,
    field: &str,
    backend: &IngressBackend,
) -> Result<BackendKey, Fault> {
    let broken = |field: String, why: &str| Err(Fault::Broken(field, why.to_owned()));
    let Some(service) = &backend.service else {
        return match &backend.resource {
            Some(_) => Err(Fault::Resource),
            None => broken(field.to_owned(), "names neither a Service nor a resource"),
        };
    };
    if service.name.is_empty() {
        return broken(format!("{field}.service.name"), "is empty");
    }
    let port = service.port.as_ref();
    let name = port.and_then(|port| port.name.as_deref()).filter(|name| !name.is_empty());
    let port = match (port.and_then(|port| port.number), name) {
        (None, Some(name)) => PortRef::Name(name.into()),
        (Some(number), None) => match u16::try_from(number) {
            Ok(number) if number != 0 => PortRef::Number(number),
            _ => {
                let why = format!("{number} is not between 1 and 65535");
                return broken(format!("{field}.service.port.number"), &why);
            }
        },
        (Some(_), Some(_)) => {
            return broken(format!("{field}.service.port"), "has both a name and a number");
        }
        (None, None) => {
            return broken(format!("{field}.service.port"), "has neither a name nor a number");
        }
    };
    let namespace = Arc::clone(namespace);
    Ok(BackendKey { namespace, service: service.name.as_str().into(), port })
}
