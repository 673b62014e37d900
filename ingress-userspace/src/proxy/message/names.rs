//! The names of fields that the proxy looks at itself. All others are text that passes through.

/// Declares [`Known`] and its texts.
macro_rules! known {
    ($($variant:ident $text:literal,)*) => {
        /// A field that the proxy itself reads, replaces or removes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub(crate) enum Known {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl Known {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As HTTP/1 writes it.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

known! {
    Accept "Accept",
    AcceptEncoding "Accept-Encoding",
    AcceptRanges "Accept-Ranges",
    Age "Age",
    Allow "Allow",
    AltSvc "Alt-Svc",
    Authorization "Authorization",
    CacheControl "Cache-Control",
    Connection "Connection",
    ContentEncoding "Content-Encoding",
    ContentLength "Content-Length",
    ContentType "Content-Type",
    Cookie "Cookie",
    Date "Date",
    ETag "ETag",
    Expect "Expect",
    Expires "Expires",
    GrpcMessage "Grpc-Message",
    GrpcStatus "Grpc-Status",
    GrpcTimeout "Grpc-Timeout",
    Host "Host",
    Http2Settings "HTTP2-Settings",
    IfModifiedSince "If-Modified-Since",
    IfNoneMatch "If-None-Match",
    KeepAlive "Keep-Alive",
    LastModified "Last-Modified",
    Link "Link",
    Location "Location",
    Origin "Origin",
    Proxy "Proxy",
    ProxyAuthenticate "Proxy-Authenticate",
    ProxyAuthorization "Proxy-Authorization",
    ProxyConnection "Proxy-Connection",
    Range "Range",
    Referer "Referer",
    RetryAfter "Retry-After",
    SecWebSocketKey "Sec-WebSocket-Key",
    SecWebSocketVersion "Sec-WebSocket-Version",
    SecWebSocketAccept "Sec-WebSocket-Accept",
    Server "Server",
    SetCookie "Set-Cookie",
    StrictTransportSecurity "Strict-Transport-Security",
    Te "TE",
    Trailer "Trailer",
    TransferEncoding "Transfer-Encoding",
    Upgrade "Upgrade",
    UserAgent "User-Agent",
    Vary "Vary",
    Via "Via",
    WwwAuthenticate "WWW-Authenticate",
    SslClientCert "ssl-client-cert",
    SslClientIssuerDn "ssl-client-issuer-dn",
    SslClientSubjectDn "ssl-client-subject-dn",
    SslClientVerify "ssl-client-verify",
    XForwardedFor "X-Forwarded-For",
    XForwardedHost "X-Forwarded-Host",
    XForwardedPort "X-Forwarded-Port",
    XForwardedProto "X-Forwarded-Proto",
    XForwardedScheme "X-Forwarded-Scheme",
    XOriginalForwardedFor "X-Original-Forwarded-For",
    XOriginalForwardedHost "X-Original-Forwarded-Host",
    XOriginalUri "X-Original-URI",
    XRealIp "X-Real-IP",
    XRequestId "X-Request-ID",
    XScheme "X-Scheme",
    XAccelBuffering "X-Accel-Buffering",
    XAccelRedirect "X-Accel-Redirect",
}

/// The longest of them. Bytes.
const LONGEST: usize = 25;

/// Those of each length.
static BY_LENGTH: [Candidates; LONGEST + 1] = by_length();

/// Known names of one length; how many there are comes first.
type Candidates = (usize, [Known; MOST]);

/// As many names have the same length at most.
const MOST: usize = 12;

const fn by_length() -> [Candidates; LONGEST + 1] {
    let mut table = [(0, [Known::Accept; MOST]); LONGEST + 1];
    let mut at = 0;
    while at < Known::ALL.len() {
        let known = Known::ALL[at];
        let slot = &mut table[known.as_str().len()];
        slot.1[slot.0] = known;
        slot.0 += 1;
        at += 1;
    }
    table
}

impl Known {
    /// The field of this name, in any case.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        let (count, candidates) = BY_LENGTH.get(name.len())?;
        candidates
            .iter()
            .take(*count)
            .find(|known| known.as_str().as_bytes().eq_ignore_ascii_case(name))
            .copied()
    }

    /// Its bit in a set of known names.
    pub(super) const fn bit(self) -> u128 {
        1 << self as u8
    }
}

const _: () = assert!(Known::ALL.len() <= 128, "one bit each");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for known in Known::ALL {
            assert_eq!(Known::of(known.as_str().as_bytes()), Some(*known));
            assert_eq!(Known::of(known.as_str().to_ascii_lowercase().as_bytes()), Some(*known));
            assert_eq!(Known::of(known.as_str().to_ascii_uppercase().as_bytes()), Some(*known));
        }
        for other in ["", "x", "hosts", "x-forwarded-fox", "a-name-that-is-longer-than-all-others"]
        {
            assert_eq!(Known::of(other.as_bytes()), None, "{other}");
        }
    }
}
