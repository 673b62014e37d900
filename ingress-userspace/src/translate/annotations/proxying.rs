//! How requests are forwarded (reference section 1.7): read first from the ConfigMap, whose keys
//! give the defaults, then from the annotations of an Ingress, by the same rules.

use std::{num::NonZeroU32, sync::Arc};

use super::{Parser, fastcgi, value::Invalid};
use crate::{
    model::{
        Conditions, ConnectionField, HttpVersion, Protocol, Proxying, RedirectRewrite, Replacement,
        Retry, Text, Variable,
    },
    translate::{
        quantity::{limit, optional_seconds, seconds, size, whole},
        text,
    },
};

/// Where values come from: the ConfigMap or an Ingress.
pub(in crate::translate) trait Source {
    /// Puts the key's value into `place`. Of one that is invalid, it is reported what is allowed,
    /// and `place` stays (effect D).
    fn take<T>(&mut self, key: &str, place: &mut T, parse: fn(&str) -> Result<T, Invalid>);

    /// Likewise; of an Ingress, an invalid value denies its paths (effect R).
    fn insist<T>(&mut self, key: &str, place: &mut T, parse: fn(&str) -> Result<T, Invalid>);

    /// Reports that a value does not do what it says.
    fn complain(&mut self, key: &str, message: &str);
}

impl Source for Parser<'_, '_> {
    fn take<T>(&mut self, key: &str, place: &mut T, parse: fn(&str) -> Result<T, Invalid>) {
        if let Some(value) = self.dropping(key, parse) {
            *place = value;
        }
    }

    fn insist<T>(&mut self, key: &str, place: &mut T, parse: fn(&str) -> Result<T, Invalid>) {
        if let Some(value) = self.refusing(key, parse) {
            *place = value;
        }
    }

    fn complain(&mut self, key: &str, message: &str) {
        let field = self.values.field(key);
        self.report.error(field, message);
    }
}

/// What both the ConfigMap and annotations can say.
pub(in crate::translate) fn read(source: &mut impl Source, proxying: &mut Proxying) {
    source.take("proxy-connect-timeout", &mut proxying.connect_timeout, seconds);
    source.take("proxy-send-timeout", &mut proxying.send_timeout, seconds);
    source.take("proxy-read-timeout", &mut proxying.read_timeout, seconds);
    source.take("proxy-body-size", &mut proxying.max_body, limit);
    source.insist("client-body-buffer-size", &mut proxying.body_buffer, size);
    source.take("proxy-request-buffering", &mut proxying.buffer_request, switch);
    source.take("proxy-buffering", &mut proxying.buffer_response, switch);
    source.take("limit-rate", &mut proxying.pace.rate, kibibytes);
    source.take("limit-rate-after", &mut proxying.pace.after, kibibytes);
    source.take("proxy-http-version", &mut proxying.http_version, http_version);
    source.take("proxy-next-upstream", &mut proxying.retry.conditions, conditions);
    source.take("proxy-next-upstream-tries", &mut proxying.retry.tries, tries);
    source.take("proxy-next-upstream-timeout", &mut proxying.retry.timeout, optional_seconds);
    source.take("proxy-cookie-domain", &mut proxying.cookie_domain, replacement);
    source.take("proxy-cookie-path", &mut proxying.cookie_path, replacement);
    redirect(source, &mut proxying.redirect);
}

/// What the annotations of an Ingress ask for. `tls` is still missing.
pub(super) fn parse(parser: &mut Parser<'_, '_>, rewrites: bool) -> Arc<Proxying> {
    let defaults = &parser.config.proxying;
    let mut proxying = Proxying::clone(defaults);
    read(parser, &mut proxying);
    if parser.config.retry_non_idempotent {
        let conditions = &mut proxying.retry.conditions;
        *conditions = conditions.with(Conditions::NON_IDEMPOTENT);
    }
    // What is none of these may be meant to be TLS: clear text would be worse than no answer.
    parser.insist("backend-protocol", &mut proxying.protocol, |value| {
        match &*value.to_ascii_uppercase() {
            "HTTP" => Ok(Protocol::Http),
            "HTTPS" => Ok(Protocol::Https),
            "AUTO_HTTP" => Ok(Protocol::AutoHttp),
            "GRPC" => Ok(Protocol::Grpc),
            "GRPCS" => Ok(Protocol::Grpcs),
            "FCGI" => Ok(Protocol::Fcgi),
            _ => Err(Invalid("`HTTP`, `HTTPS`, `AUTO_HTTP`, `GRPC`, `GRPCS` or `FCGI`")),
        }
    });
    proxying.fastcgi = fastcgi::parse(parser, proxying.protocol);
    upstream_vhost(parser, &mut proxying);
    parser.insist("connection-proxy-header", &mut proxying.connection, |value| match value {
        "close" => Ok(Some(ConnectionField::Close)),
        "keep-alive" => Ok(Some(ConnectionField::KeepAlive)),
        _ => Err(Invalid("`close` or `keep-alive`")),
    });
    parser.insist("x-forwarded-prefix", &mut proxying.forwarded_prefix, |value| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
        let allowed = !value.is_empty() && value.bytes().all(is_allowed);
        allowed.then(|| Some(value.into())).ok_or(Invalid("letters, digits and `-._~/:`"))
    });
    if !rewrites && proxying.forwarded_prefix.take().is_some() {
        parser.warn("x-forwarded-prefix", "has no effect without rewrite-target");
    }
    if proxying == **defaults { Arc::clone(defaults) } else { Arc::new(proxying) }
}

/// `upstream-vhost`, of which Linkerd and Knative have people write
/// `$service_name.$namespace.svc.cluster.local`.
fn upstream_vhost(parser: &mut Parser<'_, '_>, proxying: &mut Proxying) {
    const KEY: &str = "upstream-vhost";
    let Some(value) = parser.values.get(KEY) else { return };
    match vhost(value) {
        Ok(text) => proxying.host = Some(text),
        Err(why) => parser.deny(KEY, &why),
    }
}

fn vhost(value: &str) -> Result<Text, String> {
    let expected = || {
        "is not a host name or address, perhaps with a port, with variables like `$host`".to_owned()
    };
    let mut shape = String::new();
    text::cut(value, |part| {
        match part {
            text::Part::Text(text) => shape.push_str(text),
            // Good as a label and as a port; what it comes to is looked at with each request.
            text::Part::Name(_) => shape.push('1'),
        }
        Ok(())
    })?;
    if !is_authority(&shape) {
        return Err(expected());
    }
    let text = text::parse(value)?;
    let has_octets = text.variables().any(|own| *own == Variable::BinaryRemoteAddr);
    if has_octets { Err(expected()) } else { Ok(text) }
}

pub(super) fn switch(value: &str) -> Result<bool, Invalid> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Invalid("`on` or `off`")),
    }
}

/// KiB without unit, as bytes; zero and below stand for none, as in ingress-nginx.
fn kibibytes(value: &str) -> Result<u64, Invalid> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let expected = Invalid("a whole number of KiB, without unit");
    let number = whole(digits).and_then(|number| number.checked_mul(1024)).ok_or(expected)?;
    Ok(if value.starts_with('-') { 0 } else { number })
}

fn http_version(value: &str) -> Result<HttpVersion, Invalid> {
    match value {
        "1.0" => Ok(HttpVersion::Http10),
        "1.1" => Ok(HttpVersion::Http11),
        _ => Err(Invalid("`1.0` or `1.1`")),
    }
}

/// `off` beats whatever stands beside it, as in nginx.
fn conditions(value: &str) -> Result<Conditions, Invalid> {
    let expected = Invalid(
        "`off` or some of `error timeout invalid_header http_500 http_502 http_503 http_504 \
         http_403 http_404 http_429 non_idempotent`",
    );
    let mut set = Conditions::OFF;
    let mut off = false;
    for word in value.split_whitespace() {
        set = set.with(match word {
            "error" => Conditions::ERROR,
            "timeout" => Conditions::TIMEOUT,
            "invalid_header" => Conditions::INVALID_HEADER,
            "http_500" => Conditions::HTTP_500,
            "http_502" => Conditions::HTTP_502,
            "http_503" => Conditions::HTTP_503,
            "http_504" => Conditions::HTTP_504,
            "http_403" => Conditions::HTTP_403,
            "http_404" => Conditions::HTTP_404,
            "http_429" => Conditions::HTTP_429,
            "non_idempotent" => Conditions::NON_IDEMPOTENT,
            "off" => {
                off = true;
                Conditions::OFF
            }
            _ => return Err(expected),
        });
    }
    match (off, set == Conditions::OFF) {
        (true, _) => Ok(Conditions::OFF),
        (false, true) => Err(expected),
        (false, false) => Ok(set),
    }
}

/// Attempts in total; 0 and what is above the most are the most.
fn tries(value: &str) -> Result<NonZeroU32, Invalid> {
    let number = whole(value)
        .ok_or(Invalid("a whole number of attempts, or 0 for as many as there may be"))?;
    let number = u32::try_from(number).ok().and_then(NonZeroU32::new);
    Ok(number.map_or(Retry::MOST, |number| number.min(Retry::MOST)))
}

/// `off`, or two texts.
fn replacement(value: &str) -> Result<Option<Replacement>, Invalid> {
    if value == "off" {
        return Ok(None);
    }
    let expected = Invalid("`off` or two texts without variables and regular expressions");
    let mut words = value.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(from), Some(to), None) if is_plain(from) && is_plain(to) => {
            Ok(Some(Replacement { from: from.into(), to: to.into() }))
        }
        _ => Err(expected),
    }
}

/// Two keys that only mean something together. Where only one is given beside a default of `off`,
/// nothing is rewritten, as in ingress-nginx.
fn redirect(source: &mut impl Source, redirect: &mut RedirectRewrite) {
    let (from_key, to_key) = ("proxy-redirect-from", "proxy-redirect-to");
    let (mut from, mut to): (Arc<str>, Arc<str>) = match redirect {
        RedirectRewrite::Off => ("off".into(), "off".into()),
        RedirectRewrite::Default => ("default".into(), "off".into()),
        RedirectRewrite::Replace(text) => (Arc::clone(&text.from), Arc::clone(&text.to)),
    };
    let text: fn(&str) -> Result<Arc<str>, Invalid> = |value| {
        let expected =
            Invalid("`off`, `default` or a text without variables, blanks and regular expressions");
        is_plain(value).then(|| value.into()).ok_or(expected)
    };
    source.take(from_key, &mut from, text);
    source.take(to_key, &mut to, text);
    *redirect = match (&*from, &*to) {
        ("default", "off" | "default") => RedirectRewrite::Default,
        ("off", "off") => RedirectRewrite::Off,
        ("off", _) => RedirectRewrite::Off,
        (_, "off" | "default") => {
            source.complain(from_key, "has no effect without proxy-redirect-to");
            RedirectRewrite::Off
        }
        _ => RedirectRewrite::Replace(Replacement { from, to }),
    };
}

/// Text that stands for itself: printable, no nginx variable, no regular expression.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('~')
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'$')
}

/// What a `Host` field may say (RFC 9110, section 7.2), as strictly as host names of rules.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port),
            _ => return false,
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port_is_valid = match port.strip_prefix(':') {
        Some(digits) => whole(digits).is_some_and(|port| (1..=65535).contains(&port)),
        None => port.is_empty(),
    };
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    port_is_valid && !host.is_empty() && host.len() <= 253 && host.bytes().all(is_allowed)
}
