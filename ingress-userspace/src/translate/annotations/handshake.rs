//! `auth-tls-*` (reference section 1.4), `ssl-ciphers` and `ssl-prefer-server-ciphers` (1.10): what
//! the Ingress asks of the handshakes of its hosts.

use std::sync::Arc;

use super::{Invalid, Parser};
use crate::{
    model::{Suite, VerifyClient},
    tls,
    translate::suite,
};

/// What the annotations of this family ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::translate) struct Handshake {
    pub(in crate::translate) suites: Option<Vec<Suite>>,
    pub(in crate::translate) prefer_own_suites: Option<bool>,
    /// `auth-tls-secret` is there.
    pub(in crate::translate) client: Option<Client>,
}

/// Which certificates clients must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Client {
    /// Namespace and name of `auth-tls-secret`; `None`: this or another value of the family is
    /// wrong, it was said, and nobody may get in.
    pub(in crate::translate) secret: Option<(String, String)>,
    pub(in crate::translate) verify: VerifyClient,
    pub(in crate::translate) depth: usize,
    pub(in crate::translate) error_page: Option<Arc<str>>,
    pub(in crate::translate) pass_certificate: bool,
    pub(in crate::translate) subject: Option<Arc<str>>,
}

/// Those that mean nothing without the Secret, as in ingress-nginx.
const DEPENDENT: [&str; 5] = [
    "auth-tls-verify-client",
    "auth-tls-verify-depth",
    "auth-tls-error-page",
    "auth-tls-pass-certificate-to-upstream",
    "auth-tls-match-cn",
];

/// The closing half of messages about values that nothing but a closed door is safe with.
const CLOSED: &str =
    "all paths of the hosts of this Ingress are refused, those of other Ingresses too";

pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Handshake {
    Handshake {
        suites: suites(parser),
        prefer_own_suites: parser.dropping("ssl-prefer-server-ciphers", super::boolean),
        client: client(parser),
    }
}

fn suites(parser: &mut Parser<'_, '_>) -> Option<Vec<Suite>> {
    const KEY: &str = "ssl-ciphers";
    let list = suite::parse(parser.values.get(KEY)?);
    let field = parser.values.field(KEY);
    suite::report(list, field, "the ConfigMap's list applies", parser.report)
}

fn client(parser: &mut Parser<'_, '_>) -> Option<Client> {
    let Some(secret) = parser.values.get("auth-tls-secret").map(str::to_owned) else {
        for key in DEPENDENT {
            if parser.values.get(key).is_some() {
                parser.warn(key, "has no effect without auth-tls-secret, as in ingress-nginx");
            }
        }
        return None;
    };
    let mut sound = true;
    let secret = match secret.split_once('/') {
        Some((namespace, name)) if is_name(namespace) && is_name(name) => {
            Some((namespace.to_owned(), name.to_owned()))
        }
        _ => {
            parser.close("auth-tls-secret", "is not `namespace/name`", &mut sound);
            None
        }
    };
    let verify = parser.dropping("auth-tls-verify-client", |value| match value {
        "on" => Ok(VerifyClient::Required),
        "optional" => Ok(VerifyClient::Optional),
        "optional_no_ca" => Ok(VerifyClient::OptionalUntrusted),
        "off" => Ok(VerifyClient::Off),
        _ => Err(Invalid("`on`, `off`, `optional` or `optional_no_ca`")),
    });
    let depth = parser.dropping("auth-tls-verify-depth", |value| {
        let depth = value.parse::<usize>().ok().filter(|depth| (1..=16).contains(depth));
        depth.ok_or(Invalid("a number between 1 and 16"))
    });
    let error_page = error_page(parser, &mut sound);
    let pass = parser.values.get("auth-tls-pass-certificate-to-upstream").map(super::boolean);
    let pass_certificate = match pass {
        Some(Ok(pass)) => pass,
        Some(Err(Invalid(expected))) => {
            let key = "auth-tls-pass-certificate-to-upstream";
            parser.close(key, &format!("is not {expected}"), &mut sound);
            false
        }
        None => false,
    };
    let subject = subject(parser, &mut sound);
    Some(Client {
        secret: secret.filter(|_| sound),
        verify: verify.unwrap_or_default(),
        depth: depth.unwrap_or(1),
        error_page,
        pass_certificate,
        subject,
    })
}

fn error_page(parser: &mut Parser<'_, '_>, sound: &mut bool) -> Option<Arc<str>> {
    const KEY: &str = "auth-tls-error-page";
    let page = parser.values.get(KEY)?.to_owned();
    if page.starts_with('@') {
        let message = "names a location of raw configuration, which there is none of; the answer \
                       is 400";
        parser.report.error(parser.values.field(KEY), message);
        return None;
    }
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    let absolute = page.starts_with('/')
        || ["http://", "https://"]
            .iter()
            .any(|scheme| page.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    if !absolute || !page.bytes().all(is_allowed) {
        parser.close(KEY, "is not a URL", sound);
        return None;
    }
    Some(page.into())
}

fn subject(parser: &mut Parser<'_, '_>, sound: &mut bool) -> Option<Arc<str>> {
    const KEY: &str = "auth-tls-match-cn";
    let pattern = parser.values.get(KEY)?.to_owned();
    if pattern.strip_prefix("CN=").is_none_or(str::is_empty) {
        parser.close(KEY, "is not `CN=` and a regular expression", sound);
        return None;
    }
    if tls::subject_pattern(&pattern).is_none() {
        parser.close(KEY, "is no regular expression", sound);
        return None;
    }
    Some(pattern.into())
}

/// A name of Kubernetes, roughly: enough not to take one thing for another.
fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    !name.is_empty() && name.bytes().all(is_allowed)
}

impl Parser<'_, '_> {
    /// The value cannot be obeyed, and to serve the host without would let people in.
    fn close(&mut self, key: &str, why: &str, sound: &mut bool) {
        self.report.error(self.values.field(key), format!("{why}; {CLOSED}"));
        *sound = false;
    }
}
