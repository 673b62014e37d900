//! `custom-http-errors`, `default-backend`, `disable-proxy-intercept-errors` (reference sections 1.7
//! and 5.7).

use std::sync::Arc;

use super::{Parser, value::Invalid};

/// What an Ingress asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct ErrorPagesRequest {
    /// Ascending.
    pub(in crate::translate) statuses: Arc<[u16]>,
    /// They are the Ingress' own.
    pub(in crate::translate) named: bool,
    /// A Service of the Ingress' namespace.
    pub(in crate::translate) default_backend: Option<Arc<str>>,
    pub(in crate::translate) own_only: bool,
}

pub(super) fn parse(parser: &mut Parser<'_, '_>) -> ErrorPagesRequest {
    let own = parser.refusing("custom-http-errors", statuses);
    // In ingress-nginx a location with an error page of its own, which `auth-signin` makes one,
    // inherits none (nginx core).
    let signs_in = parser.values.get("auth-signin").is_some_and(|value| !value.is_empty());
    let named = own.is_some();
    let statuses = match own {
        Some(own) => own,
        None if signs_in => Arc::default(),
        None => Arc::clone(&parser.config.error_statuses),
    };
    ErrorPagesRequest {
        statuses,
        named,
        default_backend: parser.refusing("default-backend", service),
        own_only: parser.boolean("disable-proxy-intercept-errors", parser.config.own_errors_only),
    }
}

/// A comma list of statuses, ascending.
pub(in crate::translate) fn statuses(value: &str) -> Result<Arc<[u16]>, Invalid> {
    const EXPECTED: Invalid = Invalid("a comma list of statuses from 400 to 599");
    let is_digits = |item: &&str| item.bytes().all(|byte| byte.is_ascii_digit());
    let status = |item: &str| {
        let status = Some(item.trim()).filter(is_digits)?.parse::<u16>().ok()?;
        (400..=599).contains(&status).then_some(status)
    };
    let statuses: Option<Vec<_>> = value.split(',').map(status).collect();
    let mut statuses = statuses.ok_or(EXPECTED)?;
    statuses.sort_unstable();
    statuses.dedup();
    Ok(statuses.into())
}

fn service(value: &str) -> Result<Arc<str>, Invalid> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let valid = !value.is_empty() && value.len() <= 63 && value.bytes().all(is_allowed);
    valid.then(|| value.into()).ok_or(Invalid("the name of a Service"))
}
