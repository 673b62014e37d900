//! `rewrite-target` and `use-regex` (reference sections 3.3 and 3.4).

use std::sync::Arc;

use super::{Parser, value::Invalid};

/// What the annotations of this family ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Rewriting {
    pub(in crate::translate) target: Option<Arc<str>>,
    pub(in crate::translate) use_regex: bool,
}

pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Rewriting {
    let use_regex = parser.boolean("use-regex", false);
    let target: Option<Arc<str>> = parser.dropping("rewrite-target", |value| {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:$".contains(&b);
        let allowed = !value.is_empty() && value.bytes().all(is_allowed);
        allowed
            .then(|| Arc::from(value))
            .ok_or(Invalid("letters, digits, `-._~/:` and `$1` to `$9`"))
    });
    // What NGINX would make of these is not what a path that stays as it is would do.
    if let Some(target) = &target {
        if target.starts_with("http://") || target.starts_with("https://") {
            let why = "a rewrite to a URL is not supported; use temporal-redirect";
            parser.deny("rewrite-target", why);
        } else if has_variable(target) {
            let why = "variables are not supported, `$` must be followed by a digit from 1 to 9";
            parser.deny("rewrite-target", why);
        }
    }
    Rewriting { target, use_regex }
}

fn has_variable(target: &str) -> bool {
    let mut after = target.split('$').skip(1);
    after.any(|rest| !rest.starts_with(|next: char| matches!(next, '1'..='9')))
}
