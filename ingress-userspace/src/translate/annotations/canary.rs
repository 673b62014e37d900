//! `canary`, `canary-*`, `affinity-canary-behavior` (reference sections 1.9 and 7).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Balances, Lookup, Parser, balancing,
    value::{Invalid, Values, boolean},
};
use crate::translate::{config::Config, report::Report, users::UserLists};

/// When the canary is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct CanaryRequest {
    pub(in crate::translate) header: Option<HeaderRequest>,
    pub(in crate::translate) cookie: Option<Arc<str>>,
    pub(in crate::translate) weight: u32,
    pub(in crate::translate) total: u32,
    /// `affinity-canary-behavior` is not `legacy`.
    pub(in crate::translate) sticky: bool,
    /// Its own `load-balance`, `upstream-hash-by` and `service-upstream`.
    pub(in crate::translate) balances: Balances,
}

/// `canary-by-header` and its companions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct HeaderRequest {
    /// Lower case.
    pub(in crate::translate) name: Arc<str>,
    pub(in crate::translate) rule: HeaderRule,
}

/// What the header must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) enum HeaderRule {
    Word,
    Value(Arc<str>),
    /// Not compiled yet.
    Pattern(Arc<str>),
}

/// What else of an Ingress counts where it is a canary.
const COUNTING: &[&str] = &[
    "load-balance",
    "upstream-hash-by",
    "upstream-hash-by-subset",
    "upstream-hash-by-subset-size",
    "service-upstream",
];

/// The key says something about canaries, and nothing where there is none.
pub(super) fn is_of_canaries(key: &str) -> bool {
    key.starts_with("canary-") || key == "affinity-canary-behavior"
}

/// What an Ingress asks for that is a canary; `None`: it is none. `Some(None)`: it cannot be
/// understood in full and takes no traffic, for a rule that is left out could send the canary
/// requests that were to be kept from it.
pub(in crate::translate) fn read(
    prefix: &str,
    all: Option<&BTreeMap<String, String>>,
    config: &Config,
    lookup: Lookup<'_>,
    users: &mut UserLists,
    report: &mut Report<'_>,
) -> Option<Option<CanaryRequest>> {
    let values = Values::new(prefix, all);
    // Only what is surely no canary is served as an ordinary Ingress.
    if matches!(boolean(values.get("canary")?), Ok(false)) {
        return None;
    }
    let denied = "the canary takes no traffic";
    let mut parser = Parser { values, config, lookup, users, report, denial: None, denied };
    parser.refusing("canary", boolean);
    judge(&mut parser);
    let request = parse(&mut parser);
    Some(parser.denial.is_none().then_some(request))
}

fn judge(parser: &mut Parser<'_, '_>) {
    let keys: Vec<_> = parser.values.iter().map(|(key, value)| (key, value.to_owned())).collect();
    for (key, value) in keys {
        let is_known = parser.judge_any(key, &value).is_some();
        let counts = key == "canary" || is_of_canaries(key) || COUNTING.contains(&key);
        if is_known && !counts {
            parser.warn(key, "has no effect on a canary: what the main Ingress says counts");
        }
    }
}

fn parse(parser: &mut Parser<'_, '_>) -> CanaryRequest {
    let total = parser.refusing("canary-weight-total", number);
    if total.is_some_and(|total| total < 100) {
        parser.warn("canary-weight-total", "is below 100, and counts as 100");
    }
    CanaryRequest {
        header: header(parser),
        cookie: parser.refusing("canary-by-cookie", cookie_name).flatten(),
        weight: parser.refusing("canary-weight", number).unwrap_or(0),
        total: total.unwrap_or(100).max(100),
        sticky: parser
            .dropping("affinity-canary-behavior", |value| match value {
                "sticky" => Ok(true),
                "legacy" => Ok(false),
                _ => Err(Invalid("`sticky` or `legacy`")),
            })
            .unwrap_or(true),
        balances: balancing::without_sessions(parser, &BTreeSet::new()),
    }
}

fn header(parser: &mut Parser<'_, '_>) -> Option<HeaderRequest> {
    let name = parser.refusing("canary-by-header", header_name).flatten();
    let text = |value: &str| Ok(Some(Arc::from(value)).filter(|text: &Arc<str>| !text.is_empty()));
    let value: Option<Arc<str>> = parser.refusing("canary-by-header-value", text).flatten();
    let pattern: Option<Arc<str>> = parser.refusing("canary-by-header-pattern", text).flatten();
    let Some(name) = name else {
        for (key, is_there) in [
            ("canary-by-header-value", value.is_some()),
            ("canary-by-header-pattern", pattern.is_some()),
        ] {
            if is_there {
                parser.warn(key, "has no effect without canary-by-header");
            }
        }
        return None;
    };
    let rule = match (value, pattern) {
        (Some(value), pattern) => {
            if pattern.is_some() {
                parser.warn(
                    "canary-by-header-pattern",
                    "has no effect beside canary-by-header-value",
                );
            }
            HeaderRule::Value(value)
        }
        (None, Some(pattern)) => HeaderRule::Pattern(pattern),
        (None, None) => HeaderRule::Word,
    };
    Some(HeaderRequest { name, rule })
}

fn number(value: &str) -> Result<u32, Invalid> {
    value.parse().map_err(|_no_number| Invalid("a whole number, 0 or more"))
}

/// An empty one is none, as charts have it.
fn header_name(value: &str) -> Result<Option<Arc<str>>, Invalid> {
    // nginx's variables have `_` for `-`, so either finds the header.
    let name = value.to_ascii_lowercase().replace('_', "-");
    token(&name, "a header's name")
}

fn cookie_name(value: &str) -> Result<Option<Arc<str>>, Invalid> {
    token(value, "a cookie's name")
}

/// RFC 9110, section 5.6.2; RFC 6265, section 4.1.1.
fn token(value: &str, what: &'static str) -> Result<Option<Arc<str>>, Invalid> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match value {
        "" => Ok(None),
        _ if value.bytes().all(is_token) => Ok(Some(value.into())),
        _ => Err(Invalid(what)),
    }
}
