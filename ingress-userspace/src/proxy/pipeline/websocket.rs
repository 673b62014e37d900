//! WebSocket over HTTP/2 (RFC 8441): an extended CONNECT of the client becomes the handshake of
//! RFC 6455 that an HTTP/1.1 upstream understands. The frames are the same.

use http::Method;

use crate::proxy::{
    message::{BodyLength, Known, RequestHead, ResponseHead},
    respond::Failure,
};

/// The only protocol that can be made of a CONNECT here.
const WEBSOCKET: &str = "websocket";

/// The client asks for a WebSocket by CONNECT.
///
/// # Errors
/// The request is another CONNECT, or a TRACE.
pub(super) fn is_asked(head: &RequestHead) -> Result<bool, Failure> {
    if head.method == Method::TRACE {
        return Err(Failure::Method);
    }
    if head.method != Method::CONNECT {
        return Ok(false);
    }
    match &*head.protocol {
        "" => Err(Failure::Method),
        protocol if protocol.eq_ignore_ascii_case(WEBSOCKET) => Ok(true),
        // RFC 9220, section 3: the server does not know the protocol.
        _ => Err(Failure::UnknownCoding),
    }
}

/// Makes a request that was cleaned the handshake. `random` is for the key, which nobody checks:
/// what it protects from, caches that know no WebSocket, is not on this way.
pub(super) fn upgrade(head: &mut RequestHead, random: [u8; 16]) {
    head.method = Method::GET;
    head.body = BodyLength::None;
    head.fields.set(Known::Upgrade, WEBSOCKET.as_bytes());
    head.fields.set(Known::SecWebSocketKey, key(random).as_bytes());
}

/// Removes from the answer what belongs to the other handshake.
pub(super) fn clean_response(head: &mut ResponseHead) {
    head.fields.remove(Known::SecWebSocketAccept);
}

/// 16 bytes in Base64 (RFC 6455, section 4.1).
fn key(random: [u8; 16]) -> String {
    data_encoding::BASE64.encode(&random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_websocket_can_be_connected_to() {
        let head = |method: Method, protocol: &str| RequestHead {
            method,
            protocol: protocol.to_owned(),
            ..RequestHead::default()
        };
        assert_eq!(is_asked(&head(Method::GET, "")), Ok(false));
        assert_eq!(is_asked(&head(Method::CONNECT, "websocket")), Ok(true));
        assert_eq!(is_asked(&head(Method::CONNECT, "")), Err(Failure::Method));
        assert_eq!(is_asked(&head(Method::CONNECT, "connect-udp")), Err(Failure::UnknownCoding));
        assert_eq!(is_asked(&head(Method::TRACE, "")), Err(Failure::Method));
    }

    #[test]
    fn the_upstream_gets_a_handshake() {
        let mut head = RequestHead { method: Method::CONNECT, ..RequestHead::default() };
        head.fields.push(b"sec-websocket-version", b"13");
        upgrade(&mut head, [1; 16]);
        assert_eq!(head.method, Method::GET);
        assert_eq!(head.fields.get(Known::Upgrade), Some(&b"websocket"[..]));
        assert_eq!(head.fields.get(Known::SecWebSocketKey), Some(&b"AQEBAQEBAQEBAQEBAQEBAQ=="[..]));
    }
}
