//! `ssl-redirect`, `force-ssl-redirect`, `preserve-trailing-slash`, `permanent-redirect`,
//! `temporal-redirect`, `app-root`, `use-port-in-redirects`, `relative-redirects`,
//! `from-to-www-redirect` (reference section 1.2).

use std::sync::Arc;

use super::{
    Parser,
    value::{Invalid, boolean},
};
use crate::model::{Redirect, RedirectForm, RedirectPort};

/// What the annotations of this family ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Redirects {
    pub(in crate::translate) ssl: bool,
    pub(in crate::translate) force_ssl: bool,
    pub(in crate::translate) preserve_trailing_slash: bool,
    pub(in crate::translate) form: RedirectForm,
    /// `from-to-www-redirect`.
    pub(in crate::translate) from_to_www: bool,
    pub(in crate::translate) elsewhere: Option<Redirect>,
    pub(in crate::translate) app_root: Option<Arc<str>>,
}

pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Redirects {
    let defaults = parser.config;
    Redirects {
        ssl: parser.boolean("ssl-redirect", defaults.ssl_redirect),
        force_ssl: parser.boolean("force-ssl-redirect", defaults.force_ssl_redirect),
        preserve_trailing_slash: parser
            .boolean("preserve-trailing-slash", defaults.preserve_trailing_slash),
        form: form(parser),
        from_to_www: parser.refusing("from-to-www-redirect", boolean).unwrap_or(false),
        elsewhere: temporal(parser).or_else(|| permanent(parser)),
        app_root: app_root(parser),
    }
}

fn form(parser: &mut Parser<'_, '_>) -> RedirectForm {
    let default = parser.config.use_port_in_redirects;
    RedirectForm {
        port: match parser.boolean("use-port-in-redirects", default) {
            true => RedirectPort::Listening,
            false => RedirectPort::Omitted,
        },
        relative: parser
            .refusing("relative-redirects", boolean)
            .unwrap_or(parser.config.relative_redirects),
    }
}

/// Wins over `permanent-redirect`.
fn temporal(parser: &mut Parser<'_, '_>) -> Option<Redirect> {
    let status = code(parser, "temporal-redirect-code", 302, 307);
    let location = parser.refusing("temporal-redirect", |value| {
        if !is_location(value) {
            return Err(Invalid("a URL of letters, digits and `-._~/:,?&=`"));
        }
        match value.split_once("://") {
            Some(("http" | "https", rest)) if !rest.is_empty() => Ok(Arc::from(value)),
            _ => Err(Invalid("a URL that begins with `http://` or `https://`")),
        }
    })?;
    Some(Redirect { status, location })
}

fn permanent(parser: &mut Parser<'_, '_>) -> Option<Redirect> {
    let status = code(parser, "permanent-redirect-code", 301, 308);
    let location = parser.refusing("permanent-redirect", |value| {
        let absolute = value.starts_with('/') || value.contains("://");
        let allowed = absolute && is_location(value);
        let expected = "a URL or path of letters, digits and `-._~/:,?&=`";
        allowed.then(|| Arc::from(value)).ok_or(Invalid(expected))
    })?;
    Some(Redirect { status, location })
}

/// A status between 300 and `last`; others become the default.
fn code(parser: &mut Parser<'_, '_>, key: &str, default: u16, last: u16) -> u16 {
    let status = parser.refusing(key, |value| {
        value.parse::<i64>().map_err(|_not_a_number| Invalid("a whole number"))
    });
    let Some(status) = status else { return default };
    match u16::try_from(status) {
        Ok(status) if (300..=last).contains(&status) => status,
        _ => {
            let field = parser.values.field(key);
            let message =
                format!("{status} is not between 300 and {last}; {default} is used instead");
            parser.report.warning(field, message);
            default
        }
    }
}

fn app_root(parser: &mut Parser<'_, '_>) -> Option<Arc<str>> {
    parser.dropping("app-root", |value| {
        let allowed = value.starts_with('/') && !value.starts_with("//") && is_location(value);
        allowed.then(|| Arc::from(value)).ok_or(Invalid("a path that begins with one `/`"))
    })
}

fn is_location(value: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:,?&=".contains(&byte);
    !value.is_empty() && value.bytes().all(is_allowed)
}
