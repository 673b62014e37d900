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

/// Where each of them is to be looked for.
struct Places {
    factor: u32,
    /// Which of [`Known::ALL`] has this place, if any has: else more than all.
    places: [u8; 1 << BITS],
}

/// So many bits number a place: many more than there are names, for no two may have the same one.
const BITS: u32 = 10;

static PLACES: Places = places();

/// Tries factors until one gives each name a place of its own.
const fn places() -> Places {
    let mut factor: u32 = 1;
    loop {
        // Those of a linear congruential generator (Numerical Recipes); the lowest bit makes it odd.
        factor = factor.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) | 1;
        let mut places = [u8::MAX; 1 << BITS];
        let mut at = 0;
        while at < Known::ALL.len() {
            let place = place(Known::ALL[at].as_str().as_bytes(), factor);
            if places[place] != u8::MAX {
                break;
            }
            places[place] = at as u8;
            at += 1;
        }
        if at == Known::ALL.len() {
            return Places { factor, places };
        }
    }
}

/// The place of a name, whatever its case: by its length, and its first, last and fourth last byte.
const fn place(name: &[u8], factor: u32) -> usize {
    let (first, last, fourth) = match name {
        [first, .., fourth, _, _, last] => (*first, *last, *fourth),
        [first, .., last] => (*first, *last, *first),
        [one] => (*one, *one, *one),
        [] => (0, 0, 0),
    };
    let seen = [name.len() as u8, first | 0x20, last | 0x20, fourth | 0x20];
    (u32::from_le_bytes(seen).wrapping_mul(factor) >> (u32::BITS - BITS)) as usize
}

impl Known {
    /// The field of this name, in any case.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        let at = *PLACES.places.get(place(name, PLACES.factor))?;
        let known = Self::ALL.get(usize::from(at))?;
        known.as_str().as_bytes().eq_ignore_ascii_case(name).then_some(*known)
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
