//! `block-user-agents` and `block-referers` (reference section 9.1): step 6, whatever the host.

use crate::{
    model::{Blocked, HeaderPattern},
    proxy::{
        message::{Fields, Known},
        respond::Failure,
    },
};

/// 403 for a request whose headers are meant by one of the patterns. One that is absent is empty,
/// as to NGINX.
pub(super) fn check(blocked: &Blocked, fields: &Fields) -> Result<(), Failure> {
    let is_meant = |known: Known, patterns: &[HeaderPattern]| {
        let mut values = fields.get_all(known).map(String::from_utf8_lossy).peekable();
        match values.peek() {
            None => patterns.iter().any(|pattern| pattern.matches("")),
            Some(_) => values.any(|value| patterns.iter().any(|own| own.matches(&value))),
        }
    };
    if is_meant(Known::UserAgent, &blocked.user_agents)
        || is_meant(Known::Referer, &blocked.referers)
    {
        return Err(Failure::Forbidden);
    }
    Ok(())
}
