//! `enable-cors`, `cors-*` (reference section 1.6). Whatever is invalid is dropped, and its default
//! applies.

use std::sync::Arc;

use super::{Parser, value::Invalid};
use crate::model::{Cors, Origin, Origins};

const METHODS: &str = "GET, PUT, POST, DELETE, PATCH, OPTIONS";
const HEADERS: &str = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,\
                       Content-Type,Range,Authorization";
/// Seconds: 20 days.
const MAX_AGE: &str = "1728000";

pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Option<Cors> {
    let enabled = parser.boolean("enable-cors", false);
    // All are looked at, so that all that is wrong is told.
    let cors = Cors {
        origins: origins(parser),
        methods: parser.dropping("cors-allow-methods", methods).unwrap_or_else(|| METHODS.into()),
        headers: parser.dropping("cors-allow-headers", headers).unwrap_or_else(|| HEADERS.into()),
        exposed: parser.dropping("cors-expose-headers", exposed),
        credentials: parser.boolean("cors-allow-credentials", true),
        max_age: parser.dropping("cors-max-age", max_age).unwrap_or_else(|| MAX_AGE.into()),
    };
    enabled.then_some(cors)
}

/// A `*` wins over the other members; those that are malformed are left out. Where none is left,
/// nobody is allowed: the author meant to name somebody.
fn origins(parser: &mut Parser<'_, '_>) -> Origins {
    const KEY: &str = "cors-allow-origin";
    let Some(members) = parser.dropping(KEY, members) else { return Origins::Any };
    if members.iter().any(|member| member == "*") {
        return Origins::Any;
    }
    let mut listed = Vec::new();
    for member in members {
        match origin(&member) {
            Some(origin) => listed.push(origin),
            None => {
                let message = format!(
                    "`{member}` is not `scheme://host`, `scheme://host:port`, `scheme://*.host`, \
                     `null` or `*`; it is left out"
                );
                parser.report.error(parser.values.field(KEY), message);
            }
        }
    }
    if listed.is_empty() {
        let message = "names no origin that is understood; no origin is allowed";
        parser.report.error(parser.values.field(KEY), message);
    }
    Origins::Listed(listed.into())
}

/// The members of a list of what may be origins.
fn members(value: &str) -> Result<Vec<String>, Invalid> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/*,[] ".contains(&byte);
    let members: Vec<_> = value
        .split(',')
        .map(|member| member.trim().to_owned())
        .filter(|member| !member.is_empty())
        .collect();
    if members.is_empty() || !value.bytes().all(is_allowed) {
        return Err(Invalid("a comma list of origins like `https://example.com`"));
    }
    Ok(members)
}

fn origin(member: &str) -> Option<Origin> {
    if member == "null" {
        return Some(Origin::Exact("null".into()));
    }
    let (scheme, rest) = member.split_once("://")?;
    if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    let rest = rest.to_ascii_lowercase();
    // An IPv6 address has colons of its own.
    let (host, port) = match rest.rfind(']') {
        Some(end) => rest.split_at(end + 1),
        None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
    };
    let is_port = |digits: &str| {
        digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
    };
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return None;
    }
    match host.strip_prefix("*.") {
        Some(host) if is_name(host) => Some(Origin::Wildcard {
            scheme: format!("{scheme}://").into(),
            suffix: format!(".{host}{port}").into(),
        }),
        Some(_) => None,
        None if is_name(host) || is_address(host) => {
            Some(Origin::Exact(format!("{scheme}://{rest}").into()))
        }
        None => None,
    }
}

fn is_name(host: &str) -> bool {
    host.split('.').all(|label| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    })
}

fn is_address(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

fn methods(value: &str) -> Result<Arc<str>, Invalid> {
    let is_method = |item: &str| item.bytes().all(|byte| byte.is_ascii_alphabetic());
    list(value, is_method).ok_or(Invalid("a comma list of methods like `GET, POST`"))
}

fn headers(value: &str) -> Result<Arc<str>, Invalid> {
    list(value, is_header).ok_or(Invalid("a comma list of header names"))
}

fn exposed(value: &str) -> Result<Arc<str>, Invalid> {
    let is_exposed = |item: &str| item == "*" || is_header(item);
    list(value, is_exposed).ok_or(Invalid("a comma list of header names, or `*`"))
}

fn is_header(item: &str) -> bool {
    item.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The list as it was written, if each of its items is one.
fn list(value: &str, is_item: impl Fn(&str) -> bool) -> Option<Arc<str>> {
    let valid = value.split(',').map(str::trim).all(|item| !item.is_empty() && is_item(item));
    (valid && !value.contains(char::is_control)).then(|| value.into())
}

fn max_age(value: &str) -> Result<Arc<str>, Invalid> {
    let seconds = value.parse::<i64>();
    seconds
        .map(|seconds| seconds.to_string().into())
        .map_err(|_no_number| Invalid("a whole number"))
}
