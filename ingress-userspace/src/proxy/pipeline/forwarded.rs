//! The fields that tell an upstream about its client (reference section 5.1). What the client sent
//! under these names is replaced or removed, so that an upstream can rely on them.

use std::borrow::Cow;

use super::{authority::is_authority, origin::Origin, variables::Seen};
use crate::{
    model::{ConnectionField, Piece, Proxying, Text, Variable},
    proxy::{
        client::Client,
        message::{Fields, Known},
        respond::Failure,
    },
};

/// Adds them to fields that were cleaned. `told`: what endpoints are told to be the host, where it is
/// not the client's. `request_id`: a request without one gets one.
pub(super) fn apply(
    fields: &mut Fields,
    authority: &str,
    origin: &Origin<'_>,
    client: &Client,
    proxying: &Proxying,
    (told, request_id): (Option<&str>, bool),
) {
    keep_original(fields, Known::XForwardedFor, Known::XOriginalForwardedFor);
    keep_original(fields, Known::XForwardedHost, Known::XOriginalForwardedHost);
    if request_id && fields.get(Known::XRequestId).is_none_or(<[u8]>::is_empty) {
        fields.set(Known::XRequestId, &new_request_id(client));
    }
    let host = origin.host(authority).as_bytes();
    let scheme = &*origin.scheme;
    fields.push_known(Known::Host, told.map_or(host, str::as_bytes));
    fields.push_known(Known::XRealIp, origin.address.as_bytes());
    fields.push_known(Known::XForwardedFor, &origin.forwarded_for);
    fields.push_known(Known::XForwardedHost, host);
    fields.push_known(Known::XForwardedPort, &origin.port);
    fields.push_known(Known::XForwardedProto, scheme);
    fields.push_known(Known::XForwardedScheme, scheme);
    fields.push_known(Known::XScheme, scheme);
    if let Some(prefix) = &proxying.forwarded_prefix {
        fields.remove_alike(b"X-Forwarded-Prefix");
        fields.push(b"X-Forwarded-Prefix", prefix.as_bytes());
    }
}

/// `upstream-vhost`: what endpoints are told to be the host. Taken from the request as its client sent
/// it.
///
/// # Errors
/// What the request has for its variables makes no host.
pub(super) fn host<'v>(
    text: &'v Text,
    seen: &Seen<'_>,
    authority: &str,
) -> Result<Cow<'v, str>, Failure> {
    if let Some(host) = text.literal() {
        return Ok(Cow::Borrowed(host));
    }
    let mut host = Vec::new();
    for piece in &text.pieces {
        match piece {
            Piece::Text(text) => host.extend_from_slice(text.as_bytes()),
            // `$http_host`, which a client of HTTP/2 says elsewhere.
            Piece::Variable(Variable::Header(name)) if **name == *"host" => {
                host.extend_from_slice(authority.as_bytes());
            }
            Piece::Variable(own) => seen.variable(own, &mut |bytes| host.extend_from_slice(bytes)),
        }
    }
    let host = String::from_utf8(host).map_err(|_no_text| Failure::BadRequest)?;
    match !host.is_empty() && is_authority(&host) {
        true => Ok(Cow::Owned(host)),
        false => Err(Failure::BadRequest),
    }
}

/// `connection-proxy-header`, of a request that asks for no upgrade.
pub(super) fn connection(fields: &mut Fields, connection: ConnectionField) {
    let option: &[u8] = match connection {
        ConnectionField::Close => b"close",
        ConnectionField::KeepAlive => b"keep-alive",
    };
    fields.set(Known::Connection, option);
}

/// What came in under the one name goes out under the other, several values as one list.
fn keep_original(fields: &mut Fields, from: Known, to: Known) {
    match fields.get_all(from).count() {
        0 => {}
        1 if fields.get(from).is_some_and(|value| !value.is_empty()) => fields.rename(from, to),
        _ => {
            let all: Vec<_> = fields.get_all(from).filter(|value| !value.is_empty()).collect();
            let list = all.join(&b", "[..]);
            fields.remove(from);
            if !list.is_empty() {
                fields.push_known(to, &list);
            }
        }
    }
}

/// 32 hexadecimal digits, as nginx's `$request_id`. Tells requests apart; is no secret.
pub(super) fn new_request_id(client: &Client) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let number = client.worker.random.borrow_mut().u128(..);
    std::array::from_fn(|place| {
        let digit = (number >> (place * 4)) & 15;
        DIGITS[usize::try_from(digit).expect("four bits")]
    })
}
