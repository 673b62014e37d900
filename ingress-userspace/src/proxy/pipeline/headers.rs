//! What belongs to one connection does not go over the next (RFC 9110, section 7.6.1), and what an
//! upstream could read differently than we do does not go to it.

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, Entry, PROXY_AUTHORIZATION, SERVER, TE,
        TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
    request,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// Some upstreams take it for the variable HTTP_PROXY ("httpoxy").
const PROXY: HeaderName = HeaderName::from_static("proxy");

/// Removes what must not reach the upstream. True: the client asks to switch protocols, and the
/// upstream is asked too.
pub(super) fn clean_request(head: &mut request::Parts) -> bool {
    let upgrade = wanted_upgrade(head);
    let headers = &mut head.headers;
    remove_listed(headers);
    // nginx drops fields with an underscore, a dot and the like (reference section 2, step 3):
    // CGI-like upstreams cannot tell them from a dash, PHP not even a dot.
    let dropped: Vec<_> = headers.keys().filter(|name| !is_plain(name)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
    for name in [
        TE,
        TRAILER,
        EXPECT,
        PROXY,
        PROXY_CONNECTION,
        PROXY_AUTHORIZATION,
        KEEP_ALIVE,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
    headers.remove(UPGRADE);
    // Where both are given the coding counts (RFC 9112, section 6.3); hyper writes its own.
    if headers.remove(TRANSFER_ENCODING).is_some() {
        headers.remove(CONTENT_LENGTH);
    }
    if head.version >= Version::HTTP_2 {
        join_cookies(headers);
    }
    match upgrade {
        Some(protocol) => {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, protocol);
            true
        }
        None => false,
    }
}

/// Removes what must not reach the client.
pub(super) fn clean_response(headers: &mut HeaderMap) {
    remove_listed(headers);
    // As of a request: the body was read by the coding, and a length beside it would cut it short.
    if headers.remove(TRANSFER_ENCODING).is_some() {
        headers.remove(CONTENT_LENGTH);
    }
    for name in [UPGRADE, KEEP_ALIVE, PROXY_CONNECTION, SERVER] {
        headers.remove(name);
    }
}

/// `Connection` and the fields that it names.
fn remove_listed(headers: &mut HeaderMap) {
    if let Entry::Occupied(connection) = headers.entry(CONNECTION) {
        let (_, values) = connection.remove_entry_mult();
        // Nearly always one value; collecting one does not pay for more than itself.
        let lists: Vec<_> = values.collect();
        for list in lists {
            remove_named(headers, &list);
        }
    }
}

fn remove_named(headers: &mut HeaderMap, list: &HeaderValue) {
    let Ok(list) = list.to_str() else { return };
    for name in list.split(',') {
        let name = name.trim();
        // The usual options name no field of their own.
        if name.eq_ignore_ascii_case("close") || name.eq_ignore_ascii_case("keep-alive") {
            continue;
        }
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes())
            && !is_essential(&name)
        {
            headers.remove(name);
        }
    }
}

/// Letters, digits and dashes: what upstreams of every kind read as the same name.
fn is_plain(name: &HeaderName) -> bool {
    name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Fields that no client can have us remove: the request would become another one.
fn is_essential(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, TRANSFER_ENCODING, http::header::HOST, http::header::AUTHORIZATION, COOKIE]
        .contains(name)
}

/// The protocol that an HTTP/1.1 client asks for. Not `h2c`: what an upstream would then carry
/// could not be routed, nor cleaned, by us.
fn wanted_upgrade(head: &request::Parts) -> Option<HeaderValue> {
    if head.version != Version::HTTP_11 {
        return None;
    }
    let protocol = head.headers.get(UPGRADE)?;
    let asks = head.headers.get_all(CONNECTION).iter().any(|value| {
        value.to_str().is_ok_and(|list| {
            list.split(',').any(|item| item.trim().eq_ignore_ascii_case("upgrade"))
        })
    });
    let is_h2c = protocol.to_str().is_ok_and(|list| {
        list.split(',').any(|item| item.trim().to_ascii_lowercase().starts_with("h2c"))
    });
    (asks && !is_h2c).then(|| protocol.clone())
}

/// HTTP/2 splits cookies for compression; HTTP/1.1 has one field (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(version: Version, fields: &[(&str, &str)]) -> request::Parts {
        let mut builder = Request::builder().version(version);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("a request").into_parts().0
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn fields_of_one_connection_do_not_reach_the_upstream() {
        let mut head = head(
            Version::HTTP_11,
            &[
                ("host", "a"),
                ("connection", "keep-alive, X-Secret"),
                ("connection", "x-other, content-length, authorization"),
                ("x-secret", "1"),
                ("x-other", "2"),
                ("keep-alive", "timeout=5"),
                ("te", "trailers"),
                ("proxy", "evil:80"),
                ("proxy-connection", "keep-alive"),
                ("x_under", "1"),
                ("x.real.ip", "1"),
                ("x~tilde", "1"),
                ("trailer", "x-real-ip"),
                ("expect", "100-continue"),
                ("content-length", "3"),
                ("authorization", "Basic eA=="),
                ("accept", "*/*"),
            ],
        );
        assert!(!clean_request(&mut head));
        assert_eq!(names(&head.headers), ["accept", "authorization", "content-length", "host"]);
    }

    #[test]
    fn a_coding_wins_over_a_length() {
        let mut head =
            head(Version::HTTP_11, &[("content-length", "3"), ("transfer-encoding", "chunked")]);
        clean_request(&mut head);
        assert!(head.headers.is_empty());
    }

    #[test]
    fn a_websocket_request_keeps_its_upgrade() {
        let fields = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        let mut request = head(Version::HTTP_11, &fields);
        assert!(clean_request(&mut request));
        assert_eq!(request.headers[UPGRADE], "websocket");
        assert_eq!(request.headers[CONNECTION], "upgrade");
        assert!(!clean_request(&mut head(Version::HTTP_10, &fields)));
    }

    #[test]
    fn an_upgrade_to_cleartext_http2_is_not_passed_on() {
        let mut head = head(
            Version::HTTP_11,
            &[
                ("connection", "Upgrade, HTTP2-Settings"),
                ("upgrade", "h2c"),
                ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
            ],
        );
        assert!(!clean_request(&mut head));
        assert!(head.headers.is_empty());
    }

    #[test]
    fn cookies_of_http2_become_one() {
        let mut head = head(Version::HTTP_2, &[("cookie", "a=1"), ("cookie", "b=2")]);
        clean_request(&mut head);
        assert_eq!(head.headers[COOKIE], "a=1; b=2");
    }
}
