//! `server-alias` (reference section 1.7).

use std::sync::Arc;

use super::Parser;
use crate::{model::HostName, translate::rule::host_name};

/// Another name for the hosts of an Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) enum AliasRequest {
    Exact(Arc<str>),
    /// `*.name`; `.name` is `name` and this.
    Beneath(Arc<str>),
    /// `name.*`.
    Before(Arc<str>),
    /// What follows `~`; not compiled yet.
    Matching(Arc<str>),
}

impl AliasRequest {
    /// As it could be written.
    pub(in crate::translate) fn text(&self) -> String {
        match self {
            Self::Exact(name) => name.to_string(),
            Self::Beneath(suffix) => format!("*.{suffix}"),
            Self::Before(prefix) => format!("{prefix}.*"),
            Self::Matching(text) => format!("~{text}"),
        }
    }
}

/// The names of the comma list. One that is none is left out: what is meant for it goes where
/// unknown hosts go.
pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Arc<[AliasRequest]> {
    const KEY: &str = "server-alias";
    let mut aliases = Vec::new();
    let Some(list) = parser.values.get(KEY).map(str::to_owned) else { return Arc::default() };
    for name in split(&list) {
        match read(name) {
            Ok(names) => aliases.extend(names),
            Err(why) => {
                let message = format!("{why}; the other names are served");
                parser.report.error(parser.values.field(KEY), message);
            }
        }
    }
    aliases.into()
}

/// The names of a list that are such.
pub(in crate::translate) fn names(list: &str) -> impl Iterator<Item = AliasRequest> {
    split(list).filter_map(|name| read(name).ok()).flatten()
}

fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', '\n']).map(str::trim).filter(|name| !name.is_empty())
}

fn read(name: &str) -> Result<Vec<AliasRequest>, String> {
    let exact = |name: &str| match host_name(name)? {
        HostName::Exact(name) => Ok(name),
        HostName::Wildcard(_) | HostName::CatchAll => Err(format!(
            "`{name}` is no name with one `*` at its start or end, nor `~` and a regular expression"
        )),
    };
    if let Some(pattern) = name.strip_prefix('~') {
        return Ok(vec![AliasRequest::Matching(pattern.into())]);
    }
    if let Some(suffix) = name.strip_prefix("*.") {
        return Ok(vec![AliasRequest::Beneath(exact(suffix)?)]);
    }
    if let Some(suffix) = name.strip_prefix('.') {
        let suffix = exact(suffix)?;
        return Ok(vec![AliasRequest::Exact(Arc::clone(&suffix)), AliasRequest::Beneath(suffix)]);
    }
    if let Some(prefix) = name.strip_suffix(".*") {
        return Ok(vec![AliasRequest::Before(exact(prefix)?)]);
    }
    Ok(vec![AliasRequest::Exact(exact(name)?)])
}
