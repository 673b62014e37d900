//! `mirror-target`, `mirror-host`, `mirror-request-body` (reference section 1.7).

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use super::{Parser, proxying::is_authority};
use crate::{
    model::{Mirror, MirrorHost, Piece, Protocol, Proxying, Text, UpstreamTls, Variable},
    names::is_own,
    translate::{quantity::whole, text},
};

const TARGET: &str = "mirror-target";

/// Whatever is wrong, the requests themselves are served: they need no copies.
pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Option<Mirror> {
    let body = parser.dropping("mirror-request-body", super::proxying::switch).unwrap_or(true);
    let host = parser.values.get("mirror-host").map(host);
    let Some(value) = parser.values.get(TARGET) else {
        for key in ["mirror-host", "mirror-request-body"] {
            if parser.values.get(key).is_some() {
                parser.warn(key, "has no effect without mirror-target");
            }
        }
        return None;
    };
    let target = match Target::parse(value) {
        Ok(target) => target,
        Err(why) => {
            let message = format!("{why}; nothing is mirrored");
            parser.report.error(parser.values.field(TARGET), message);
            return None;
        }
    };
    let host = match host {
        Some(Ok(host)) => host,
        Some(Err(why)) => {
            let message = format!("{why}; the host of mirror-target is named");
            parser.report.error(parser.values.field("mirror-host"), message);
            literal(target.authority)
        }
        None => literal(target.authority),
    };
    Some(Mirror {
        proxying: target.proxying(),
        to: target.to,
        port: target.port,
        target: target.path,
        host,
        body,
    })
}

/// A `mirror-target` in its parts.
struct Target<'v> {
    https: bool,
    /// The host as the URL writes it, without port.
    authority: &'v str,
    to: MirrorHost,
    port: u16,
    path: Text,
}

impl<'v> Target<'v> {
    fn parse(value: &'v str) -> Result<Self, String> {
        const EXPECTED: &str = "is not a URL like `https://mirror.example.com$request_uri`";
        let (scheme, rest) = value.split_once("://").ok_or(EXPECTED)?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(EXPECTED.to_owned()),
        };
        let end = rest.find(['/', '$', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() && path.starts_with('$') {
            return Err("names its host by a variable, which is not supported".to_owned());
        }
        if !is_authority(authority) || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(EXPECTED.to_owned());
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, whole(port)),
            _ => (authority, Some(if https { 443 } else { 80 })),
        };
        let port = port.and_then(|port| u16::try_from(port).ok()).ok_or(EXPECTED)?;
        let path = match path {
            // NGINX would ask for the name of a location of its own.
            "" => Text { pieces: [Piece::Variable(Variable::RequestUri)].into() },
            path => text::parse(path)?,
        };
        Ok(Self { https, authority: host, to: to(host)?, port, path })
    }

    fn proxying(&self) -> Arc<Proxying> {
        let name = match &self.to {
            MirrorHost::Address(_) => None,
            MirrorHost::Name(name) => Some(Arc::clone(name)),
        };
        let tls = UpstreamTls { send_name: name.is_some(), name, ..UpstreamTls::default() };
        Arc::new(Proxying {
            protocol: if self.https { Protocol::Https } else { Protocol::Http },
            tls: self.https.then(|| Arc::new(tls)),
            read_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(30),
            ..Proxying::default()
        })
    }
}

/// A Service can do no more than what ExternalName allows it: this node's own programs are not for
/// it.
fn to(host: &str) -> Result<MirrorHost, String> {
    let own = || format!("`{host}` is this node itself, which is refused");
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = if bare.len() < host.len() {
        bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    } else {
        bare.parse::<IpAddr>().ok()
    };
    if let Some(address) = address {
        return if is_own(address) { Err(own()) } else { Ok(MirrorHost::Address(address)) };
    }
    let name = host.to_ascii_lowercase();
    let stem = name.trim_end_matches('.');
    if stem == "localhost" || stem.ends_with(".localhost") {
        return Err(own());
    }
    Ok(MirrorHost::Name(name.into()))
}

/// A host, perhaps with variables. What a request makes of it is looked at again.
fn host(value: &str) -> Result<Text, String> {
    let text = text::parse(value)?;
    match text.literal() {
        Some(host) if !is_authority(host) => Err("is no host".to_owned()),
        _ => Ok(text),
    }
}

fn literal(host: &str) -> Text {
    Text { pieces: [Piece::Text(host.into())].into() }
}
