//! Heads and trailers, between ours and those of the `http` crate, which `h2` takes.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version,
    header::{CONTENT_LENGTH, TE},
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::proxy::message::{BodyLength, Field, Fields, Known, RequestHead, ResponseHead};

/// A request as HTTP/2 has it: without the fields that are about an HTTP/1 connection (RFC 9113,
/// section 8.2.2), `Host` as `:authority`, the length of the body as the head says it. `None` where
/// `Host` is none.
pub(super) fn request(head: &RequestHead, https: bool) -> Option<Request<()>> {
    let host = head.fields.get(Known::Host).unwrap_or(head.authority.as_bytes());
    let uri = Uri::builder()
        .scheme(if https { Scheme::HTTPS } else { Scheme::HTTP })
        .authority(Authority::try_from(host).ok()?)
        .path_and_query(target(&head.target)?)
        .build()
        .ok()?;
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.reserve(head.fields.len() + 2);
    append(headers, head.fields.iter().filter(|field| !is_ours(field.known)));
    // gRPC's endpoints want to hear it (gRPC over HTTP/2, "Request-Headers"); trailers do pass.
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if let BodyLength::Exact(length) = head.body {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Some(request)
}

/// Fields that the connection decides itself.
fn is_ours(known: Option<Known>) -> bool {
    use Known::{
        Connection, ContentLength, Host, Http2Settings, KeepAlive, ProxyConnection, Te,
        TransferEncoding, Upgrade,
    };
    matches!(
        known,
        Some(
            Connection
                | ContentLength
                | Host
                | Http2Settings
                | KeepAlive
                | ProxyConnection
                | Te
                | TransferEncoding
                | Upgrade
        )
    )
}

/// The path and query. The few octets that `http` does not take as they are go in hexadecimal, which
/// means the same (RFC 3986, section 2.1). `*` and an empty target stand for themselves and `/`.
fn target(target: &str) -> Option<PathAndQuery> {
    if target.is_empty() {
        return Some(PathAndQuery::from_static("/"));
    }
    // What follows a `#` would be cut off.
    if let Ok(same) = PathAndQuery::try_from(target)
        && same.as_str() == target
    {
        return Some(same);
    }
    let mut encoded = String::with_capacity(target.len() + 16);
    for byte in target.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte) {
            encoded.push(byte.into());
        } else {
            write!(encoded, "%{byte:02X}").ok()?;
        }
    }
    PathAndQuery::try_from(encoded).ok()
}

/// Trailers as HTTP/2 has them.
pub(super) fn trailers(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    append(&mut map, fields.iter().filter(|field| !is_ours(field.known)));
    map
}

/// Whoever pushed the fields has checked them; what is not to be sent all the same is left out.
fn append<'f>(map: &mut HeaderMap, fields: impl Iterator<Item = Field<'f>>) {
    for field in fields {
        let name = HeaderName::from_bytes(field.name);
        let value = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(field.value));
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
}

/// Trailers that came.
pub(super) fn fields(map: &HeaderMap) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in map {
        fields.push(name.as_str().as_bytes(), value.as_bytes());
    }
    fields
}

/// The head of an answer; `ended`: nothing follows it, `to_head`: the request was HEAD.
pub(super) fn response<B>(
    response: &Response<B>,
    ended: bool,
    to_head: bool,
    head: &mut ResponseHead,
) {
    head.clear();
    head.status = response.status().as_u16();
    for (name, value) in response.headers() {
        head.fields.push(name.as_str().as_bytes(), value.as_bytes());
    }
    head.body = match head.status {
        100..200 | 204 | 304 => BodyLength::None,
        _ if to_head => BodyLength::None,
        _ if ended => BodyLength::Exact(0),
        // That the length is a number, and that as much comes, is checked by `h2`.
        _ => head
            .fields
            .get(Known::ContentLength)
            .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok())
            .map_or(BodyLength::Unknown, BodyLength::Exact),
    };
    if let BodyLength::Exact(_) = head.body {
        // Said by `head.body` now.
        head.fields.remove(Known::ContentLength);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> RequestHead {
        let mut head = RequestHead { target: "/a?b".to_owned(), ..RequestHead::default() };
        head.fields.push(b"Host", b"a.example:8080");
        head
    }

    #[test]
    fn a_request_has_what_http2_needs_and_nothing_of_http1() {
        let mut head = head();
        for (name, value) in [
            ("Connection", "x-y"),
            ("Keep-Alive", "1"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("Proxy-Connection", "close"),
            ("HTTP2-Settings", "AAA"),
            ("TE", "gzip, trailers"),
            ("Content-Length", "99"),
            ("X-Own", "1"),
            ("x-own", "2"),
        ] {
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
        head.body = BodyLength::Exact(5);
        let request = request(&head, true).expect("it is right");
        assert_eq!(request.uri().to_string(), "https://a.example:8080/a?b");
        let headers: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(headers, ["x-own: 1", "x-own: 2", "te: trailers", "content-length: 5"]);
    }

    #[test]
    fn targets_stay_what_they_are_or_mean_the_same() {
        for (target, expected) in [
            ("/a%2Fb?c=%20", "/a%2Fb?c=%20"),
            ("", "/"),
            ("/a b", "/a%20b"),
            ("/a#b", "/a%23b"),
            ("/ä", "/ä"),
            ("/<x>?\"", "/%3Cx%3E?%22"),
        ] {
            let head = RequestHead { target: target.to_owned(), ..head() };
            let request = request(&head, false).expect(target);
            let sent = request.uri().path_and_query().expect("it has one");
            assert_eq!(sent.as_str(), expected);
        }
    }

    #[test]
    fn a_host_that_is_none_is_not_sent() {
        let mut head = head();
        head.fields.set(Known::Host, b"a b");
        assert!(request(&head, false).is_none());
    }

    #[test]
    fn the_length_of_an_answer_is_that_of_its_head_or_its_end() {
        for (status, length, ended, to_head, expected) in [
            (200, Some("5"), false, false, BodyLength::Exact(5)),
            (200, None, false, false, BodyLength::Unknown),
            (200, None, true, false, BodyLength::Exact(0)),
            (200, Some("5"), true, true, BodyLength::None),
            (204, None, true, false, BodyLength::None),
            (304, Some("5"), true, false, BodyLength::None),
            (103, None, false, false, BodyLength::None),
        ] {
            let mut answer = Response::builder().status(status);
            if let Some(length) = length {
                answer = answer.header("content-length", length);
            }
            let mut head = ResponseHead::default();
            response(&answer.body(()).expect("plain"), ended, to_head, &mut head);
            assert_eq!(head.body, expected, "{status} {length:?}");
            let said = head.fields.contains(Known::ContentLength);
            assert_eq!(said, length.is_some() && expected == BodyLength::None);
        }
    }
}
