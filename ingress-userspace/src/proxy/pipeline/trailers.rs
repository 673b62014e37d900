//! What may come behind a body. Whoever reads trailers like fields of the head must not be told
//! there what only the head, or only we, may say (RFC 9110, section 6.5.1).

use std::borrow::Cow;

use super::headers::is_plain;
use crate::proxy::message::{Field, Fields, Known};

/// Trailers of a request, as endpoints get them.
pub(in crate::proxy) fn to_upstream(trailers: &Fields) -> Cow<'_, Fields> {
    passing(trailers, |field| may_pass(field) && is_plain(field))
}

/// Trailers of an answer, as clients get them.
pub(in crate::proxy) fn to_client(trailers: &Fields) -> Cow<'_, Fields> {
    passing(trailers, may_pass)
}

/// A copy only where something must go.
fn passing(trailers: &Fields, may_pass: impl Fn(&Field<'_>) -> bool) -> Cow<'_, Fields> {
    if trailers.iter().all(|field| may_pass(&field)) {
        return Cow::Borrowed(trailers);
    }
    let mut cleaned = trailers.clone();
    cleaned.retain(|field| may_pass(&field));
    Cow::Owned(cleaned)
}

fn may_pass(field: &Field<'_>) -> bool {
    use Known as K;
    let Some(known) = field.known else {
        return !is_content(field.name);
    };
    !matches!(
        known,
        // Framing and routing.
        K::Connection
            | K::ContentLength
            | K::Expect
            | K::Host
            | K::Http2Settings
            | K::KeepAlive
            | K::Proxy
            | K::ProxyConnection
            | K::Te
            | K::Trailer
            | K::TransferEncoding
            | K::Upgrade
            // What the request or answer is.
            | K::AcceptRanges
            | K::CacheControl
            | K::ContentEncoding
            | K::ContentType
            | K::IfModifiedSince
            | K::IfNoneMatch
            | K::Location
            | K::Range
            | K::StrictTransportSecurity
            // Who someone is.
            | K::Authorization
            | K::Cookie
            | K::ProxyAuthenticate
            | K::ProxyAuthorization
            | K::SetCookie
            | K::SslClientCert
            | K::SslClientIssuerDn
            | K::SslClientSubjectDn
            | K::SslClientVerify
            | K::WwwAuthenticate
            // Where it comes from, which only we say.
            | K::XAccelBuffering
            | K::XAccelRedirect
            | K::XForwardedFor
            | K::XForwardedHost
            | K::XForwardedPort
            | K::XForwardedProto
            | K::XForwardedScheme
            | K::XOriginalForwardedFor
            | K::XOriginalForwardedHost
            | K::XOriginalUri
            | K::XRealIp
            | K::XRequestId
            | K::XScheme
    )
}

/// Others of their kind, which nobody else asks for by name.
fn is_content(name: &[u8]) -> bool {
    [&b"content-range"[..], b"if-match", b"if-range", b"if-unmodified-since", b"max-forwards"]
        .iter()
        .chain(&[&b"forwarded"[..], b"x-forwarded-prefix", b"true-client-ip"])
        .any(|other| name.eq_ignore_ascii_case(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(fields: &Fields) -> Vec<String> {
        fields.iter().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect()
    }

    #[test]
    fn trailers_that_change_nothing_pass_uncopied() {
        let mut trailers = Fields::default();
        trailers.push(b"grpc-status", b"0");
        trailers.push(b"x-checksum", b"1");
        assert!(matches!(to_client(&trailers), Cow::Borrowed(_)));
        assert!(matches!(to_upstream(&trailers), Cow::Borrowed(_)));
    }

    #[test]
    fn what_only_heads_or_we_may_say_does_not_pass() {
        let mut trailers = Fields::default();
        for name in [
            "content-length",
            "transfer-encoding",
            "host",
            "authorization",
            "cookie",
            "set-cookie",
            "x-forwarded-for",
            "x-real-ip",
            "ssl-client-verify",
            "content-range",
            "forwarded",
            "x-ok",
        ] {
            trailers.push(name.as_bytes(), b"1");
        }
        assert_eq!(names(&to_client(&trailers)), ["x-ok"]);
        trailers.push(b"x_forwarded_for", b"1");
        assert_eq!(names(&to_upstream(&trailers)), ["x-ok"]);
    }
}
