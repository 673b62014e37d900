//! TLS to endpoints (reference section 1.8). What the annotations say counts only together with
//! `proxy-ssl-secret`.

use std::sync::Arc;

use super::{Parser, proxying::Source, value::Invalid};
use crate::{model::TlsVersions, stores::Key, translate::quantity::whole};

/// What the annotations of an Ingress that has `proxy-ssl-secret` ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct UpstreamTlsRequest {
    /// The Secret, which may be in any namespace yet.
    pub(in crate::translate) secret: Key,
    pub(in crate::translate) verify: bool,
    pub(in crate::translate) depth: u8,
    pub(in crate::translate) name: Option<Arc<str>>,
    pub(in crate::translate) send_name: bool,
    pub(in crate::translate) versions: TlsVersions,
    pub(in crate::translate) suites: Arc<[u16]>,
}

/// The cipher suites of TLS 1.2 that there are, as OpenSSL and IANA call them, in our order of
/// preference.
pub(crate) const SUITES: [(&str, &str, u16); 6] = [
    ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 0xc02c),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xc02b),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca9),
    ("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", 0xc030),
    ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xc02f),
    ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xcca8),
];

const OTHERS: [&str; 6] = [
    "proxy-ssl-verify",
    "proxy-ssl-verify-depth",
    "proxy-ssl-name",
    "proxy-ssl-server-name",
    "proxy-ssl-protocols",
    "proxy-ssl-ciphers",
];

/// `None`: endpoints are not verified and get no name.
pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Option<UpstreamTlsRequest> {
    let mut secret = None;
    parser.insist("proxy-ssl-secret", &mut secret, |value| {
        let key =
            value.split_once('/').filter(|(namespace, name)| is_name(namespace) && is_name(name));
        let expected = Invalid("`namespace/name` of a Secret");
        key.map(|(namespace, name)| Some(Key::new(namespace, name))).ok_or(expected)
    });
    let Some(secret) = secret else {
        // Someone who believes that the endpoint is verified should learn that it is not.
        if parser.values.get("proxy-ssl-secret").is_none() {
            for key in OTHERS {
                if parser.values.get(key).is_some_and(|value| value != "off") {
                    parser.warn(key, "has no effect without proxy-ssl-secret, as in ingress-nginx");
                }
            }
        }
        return None;
    };
    let mut request = UpstreamTlsRequest {
        secret,
        verify: false,
        depth: 1,
        name: None,
        send_name: false,
        versions: TlsVersions::Both,
        suites: Arc::default(),
    };
    // What is not `off` was meant to protect.
    parser.insist("proxy-ssl-verify", &mut request.verify, switch);
    parser.take("proxy-ssl-verify-depth", &mut request.depth, |value| {
        let depth = whole(value).and_then(|depth| u8::try_from(depth).ok());
        depth.filter(|depth| *depth <= 10).ok_or(Invalid("a number from 0 to 10"))
    });
    parser.insist("proxy-ssl-name", &mut request.name, |value| {
        tls_name(value).map(Some).ok_or(Invalid("a DNS name or an address"))
    });
    parser.take("proxy-ssl-server-name", &mut request.send_name, switch);
    parser.take("proxy-ssl-protocols", &mut request.versions, versions);
    parser.take("proxy-ssl-ciphers", &mut request.suites, suites);
    Some(request)
}

/// A name, or an address, that a certificate can be for.
pub(in crate::translate) fn tls_name(value: &str) -> Option<Arc<str>> {
    let name = value.trim_end_matches('.').to_ascii_lowercase();
    let valid = is_name(&name) || name.parse::<std::net::IpAddr>().is_ok();
    valid.then(|| name.into())
}

fn switch(value: &str) -> Result<bool, Invalid> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Invalid("`on` or `off`")),
    }
}

/// Older versions may be listed beside; they are never used.
fn versions(value: &str) -> Result<TlsVersions, Invalid> {
    let (mut tls12, mut tls13) = (false, false);
    for word in value.split_whitespace() {
        match word {
            "TLSv1.2" => tls12 = true,
            "TLSv1.3" => tls13 = true,
            "SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1" => {}
            _ => return Err(Invalid("`TLSv1.2`, `TLSv1.3` or both")),
        }
    }
    match (tls12, tls13) {
        (true, true) => Ok(TlsVersions::Both),
        (true, false) => Ok(TlsVersions::Tls12),
        (false, true) => Ok(TlsVersions::Tls13),
        (false, false) => Err(Invalid("`TLSv1.2`, `TLSv1.3` or both; older ones are not safe")),
    }
}

/// Suites that there are not may be listed beside those that there are. OpenSSL's groups stand for
/// all; what it excludes (`!MD5`) there is not anyway.
fn suites(value: &str) -> Result<Arc<[u16]>, Invalid> {
    let mut chosen = Vec::new();
    for word in value.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
        if matches!(word, "DEFAULT" | "HIGH" | "ALL") {
            return Ok(Arc::default());
        }
        let suite = SUITES.iter().find(|(openssl, iana, _)| word == *openssl || word == *iana);
        if let Some((.., number)) = suite
            && !chosen.contains(number)
        {
            chosen.push(*number);
        }
    }
    let expected = Invalid(
        "a list with `DEFAULT`, `HIGH`, or one of ECDHE-(ECDSA|RSA)-(AES128-GCM-SHA256|\
         AES256-GCM-SHA384|CHACHA20-POLY1305)",
    );
    if chosen.is_empty() { Err(expected) } else { Ok(chosen.into()) }
}

/// What Kubernetes lets objects be called (RFC 1123), which any DNS name is too.
fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
    };
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.bytes().all(is_allowed) && name.split('.').all(is_label)
}
