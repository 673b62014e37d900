//! `load-balance`, `upstream-hash-by*`, `affinity*`, `session-cookie-*`, `service-upstream`
//! (reference sections 1.9 and 6).

use std::{collections::BTreeSet, num::NonZeroU16, sync::Arc};

use super::{
    Parser,
    value::{Invalid, boolean},
};
use crate::{
    model::{AffinityMode, HashBy, Policy, SameSite, SessionCookie},
    translate::{report::UNLIKE, text},
};

/// What the annotations of this family ask for. Their scope is the backend, which several Ingresses
/// may name: see `translate::backends`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Balances {
    /// `upstream-hash-by`, else `load-balance`, else the ConfigMap's.
    pub(in crate::translate) policy: Policy,
    /// `service-upstream`.
    pub(in crate::translate) service_upstream: bool,
    /// `affinity-mode`, which counts also without `affinity`.
    pub(in crate::translate) mode: Option<AffinityMode>,
    /// `affinity: cookie`, and its cookie.
    pub(in crate::translate) cookie: Option<SessionCookie>,
}

pub(super) fn parse(parser: &mut Parser<'_, '_>, made: &BTreeSet<String>) -> Balances {
    let mode = parser.dropping("affinity-mode", |value| match value {
        "balanced" => Ok(AffinityMode::Balanced),
        "persistent" => Ok(AffinityMode::Persistent),
        _ => Err(Invalid("`balanced` or `persistent`")),
    });
    let affinity = parser.dropping("affinity", |value| match value {
        "cookie" => Ok(()),
        _ => Err(Invalid("`cookie`")),
    });
    Balances { mode, cookie: affinity.map(|()| cookie(parser)), ..without_sessions(parser, made) }
}

/// The part that counts on canaries too.
pub(super) fn without_sessions(parser: &mut Parser<'_, '_>, made: &BTreeSet<String>) -> Balances {
    let load_balance = parser.refusing("load-balance", load_balance);
    let default = &parser.config.load_balance;
    let policy = load_balance.unwrap_or_else(|| default.clone());
    let policy = hash_by(parser, made).map_or(policy, Policy::Hash);
    let default = parser.config.service_upstream;
    let service_upstream = parser.boolean("service-upstream", default);
    Balances { policy, service_upstream, mode: None, cookie: None }
}

/// The policy of this name.
pub(in crate::translate) fn load_balance(value: &str) -> Result<Policy, Invalid> {
    match value {
        "round_robin" => Ok(Policy::RoundRobin),
        "ewma" => Ok(Policy::Ewma),
        _ => Err(Invalid("`round_robin` or `ewma`")),
    }
}

/// `made`: the variables of the `configuration-snippet` (the documentation of Socket.IO has people name one).
fn hash_by(parser: &mut Parser<'_, '_>, made: &BTreeSet<String>) -> Option<HashBy> {
    const KEY: &str = "upstream-hash-by";
    let by_subset = parser.refusing("upstream-hash-by-subset", boolean).unwrap_or(false);
    let size = parser.refusing("upstream-hash-by-subset-size", |value| {
        value.parse::<NonZeroU16>().map_err(|_no_size| Invalid("a number from 1 to 65535"))
    });
    let text = parser.refusing(KEY, |value| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_${}-".contains(&byte);
        let expected = Invalid("letters, digits, `_`, `-` and variables like `$request_uri`");
        value.bytes().all(is_allowed).then(|| value.to_owned()).ok_or(expected)
    })?;
    if text.is_empty() {
        return None;
    }
    match text::parse_with(&text, made) {
        Ok(text) => {
            Some(HashBy { text, subset: by_subset.then(|| size.or(NonZeroU16::new(3))).flatten() })
        }
        Err(why) => {
            // With the variable taken for empty, as NGINX would, one endpoint got everything.
            let message = format!("{why}; requests are balanced without it, {UNLIKE}");
            parser.report.error(parser.values.field(KEY), message);
            None
        }
    }
}

fn cookie(parser: &mut Parser<'_, '_>) -> SessionCookie {
    let seconds = |value: &str| {
        value.parse::<i64>().map_err(|_no_number| Invalid("a whole number of seconds"))
    };
    let default = SessionCookie::default();
    SessionCookie {
        name: parser.dropping("session-cookie-name", name).unwrap_or(default.name),
        expires: parser.dropping("session-cookie-expires", seconds),
        max_age: parser.dropping("session-cookie-max-age", seconds),
        path: parser.dropping("session-cookie-path", |value| attribute(value, "a path")),
        domain: parser.dropping("session-cookie-domain", |value| attribute(value, "a domain")),
        same_site: parser.dropping("session-cookie-samesite", |value| match value {
            "None" => Ok(SameSite::None),
            "Lax" => Ok(SameSite::Lax),
            "Strict" => Ok(SameSite::Strict),
            _ => Err(Invalid("`None`, `Lax` or `Strict`")),
        }),
        conditional_same_site_none: parser
            .boolean("session-cookie-conditional-samesite-none", false),
        secure: parser.boolean("session-cookie-secure", false),
        change_on_failure: parser.boolean("session-cookie-change-on-failure", false),
    }
}

/// A cookie's name is a token (RFC 6265, section 4.1.1).
fn name(value: &str) -> Result<Arc<str>, Invalid> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_name = !value.is_empty() && value.bytes().all(is_token);
    is_name.then(|| value.into()).ok_or(Invalid("a cookie's name: letters, digits, `-`, `_`, `.`"))
}

/// What cannot end the attribute or the header that it stands in (RFC 6265, section 4.1.1).
fn attribute(value: &str, what: &'static str) -> Result<Arc<str>, Invalid> {
    let is_harmless = |byte: u8| byte.is_ascii_graphic() && byte != b';' && byte != b',';
    let is_one = !value.is_empty() && value.bytes().all(is_harmless);
    is_one.then(|| value.into()).ok_or(Invalid(what))
}
