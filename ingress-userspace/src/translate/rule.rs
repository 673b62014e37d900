//! What a rule may say: host names and paths.

use std::net::IpAddr;

use crate::model::HostName;

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
