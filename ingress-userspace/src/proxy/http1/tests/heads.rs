use http::Method;
use proptest::prelude::*;

use crate::proxy::{
    http1::parse::{BadHead, Parsed, request, response},
    message::{BodyLength, Known, RequestHead, ResponseHead, Version},
};

/// As the settings have it by default. Bytes.
const LINE: usize = 8 * 1024;

fn parsed(input: &[u8]) -> Result<Option<(usize, RequestHead)>, BadHead> {
    let mut head = RequestHead::default();
    Ok(request(input, &mut head, LINE)?.map(|length| (length, head)))
}

fn whole(input: &str) -> RequestHead {
    let (length, head) = parsed(input.as_bytes()).expect("a request").expect("a whole one");
    assert_eq!(length, input.len());
    head
}

/// The request line and these fields, each with its CRLF.
fn refused(input: &str) -> BadHead {
    parsed(input.as_bytes()).expect_err(input)
}

#[test]
fn a_request_is_read() {
    let head = whole(
        "POST /a%20b?q=1 HTTP/1.1\r\nHost: shop.example\r\nX-Own:\t some value \t\r\nEmpty:\r\n\
         Content-Length: 12\r\n\r\n",
    );
    assert_eq!(head.method, Method::POST);
    assert_eq!(head.version, Version::Http11);
    assert_eq!((head.path(), head.query()), ("/a%20b", Some("q=1")));
    assert_eq!(head.fields.get(Known::Host), Some(&b"shop.example"[..]));
    assert_eq!(head.fields.get_named(b"x-own"), Some(&b"some value"[..]));
    assert_eq!(head.fields.get_named(b"empty"), Some(&b""[..]));
    assert_eq!(head.body, BodyLength::Exact(12));
}

#[test]
fn the_four_forms_of_a_target_are_understood() {
    for (line, authority, target) in [
        ("GET / HTTP/1.1", "", "/"),
        ("GET //a/../b HTTP/1.1", "", "//a/../b"),
        ("GET http://a.example HTTP/1.1", "a.example", "/"),
        ("GET HTTP://a.example:81?x HTTP/1.1", "a.example:81", "/?x"),
        ("GET https://a.example/b?c HTTP/1.1", "a.example", "/b?c"),
        ("OPTIONS * HTTP/1.1", "", "*"),
        ("CONNECT a.example:443 HTTP/1.1", "a.example:443", ""),
        ("GET /caf\u{e9} HTTP/1.0", "", "/caf\u{e9}"),
    ] {
        let head = whole(&format!("{line}\r\nhost: x\r\n\r\n"));
        assert_eq!((&*head.authority, &*head.target), (authority, target), "{line}");
    }
}

#[test]
fn octets_that_are_no_text_become_escapes() {
    let (_, head) = parsed(b"GET /\xff\xc3\xa9 HTTP/1.1\r\n\r\n").expect("valid").expect("whole");
    assert_eq!(head.target, "/%FF\u{e9}");
}

#[test]
fn request_lines_that_are_none_are_refused() {
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /\t HTTP/1.1",
        "GET /#a HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "get / HTTP/1.1",
        "G\u{cb}T / HTTP/1.1",
        "/ HTTP/1.1",
        " / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/1.10",
        "GET / HTTP/0.9",
        "GET / XTTP/1.1",
        "",
    ] {
        assert_eq!(
            refused(&format!("{line}\r\nhost: a\r\n\r\n\r\n")),
            BadHead::Malformed,
            "{line:?}"
        );
    }
    assert_eq!(refused("GET / HTTP/2.0\r\nhost: a\r\n\r\n"), BadHead::Version);
}

#[test]
fn later_minor_versions_are_1_1() {
    assert_eq!(whole("GET / HTTP/1.7\r\n\r\n").version, Version::Http11);
    assert_eq!(whole("GET / HTTP/1.0\r\n\r\n").version, Version::Http10);
}

#[test]
fn fields_that_are_none_are_refused() {
    for field in [
        "no colon",
        ": no name",
        "name : space",
        " folded: x",
        "\tfolded: x",
        "na(me: x",
        "na\0me: x",
        "n\u{e4}me: x",
        "name: nul\0",
        "name: bell\u{7}",
        "name: del\u{7f}",
        "name: cr\rinside",
    ] {
        let input = format!("GET / HTTP/1.1\r\nhost: a\r\n{field}\r\n\r\n");
        assert_eq!(refused(&input), BadHead::Malformed, "{field:?}");
    }
    assert_eq!(whole("GET / HTTP/1.1\r\na: t\tab \u{fc}\r\n\r\n").fields.len(), 1);
}

#[test]
fn a_bare_line_feed_is_refused_as_soon_as_it_comes() {
    for input in [
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\r\nhost: a\n",
        "GET / HTTP/1.1\r\nhost: a\n\r\n\r\n",
        "\n",
    ] {
        assert_eq!(refused(input), BadHead::Malformed, "{input:?}");
    }
}

#[test]
fn a_body_is_announced_in_one_way_only() {
    let body = |fields: &str| {
        let input = format!("POST / HTTP/1.1\r\n{fields}\r\n");
        parsed(input.as_bytes()).map(|head| head.expect("whole").1.body)
    };
    assert_eq!(body(""), Ok(BodyLength::None));
    assert_eq!(body("content-length: 0\r\n"), Ok(BodyLength::Exact(0)));
    assert_eq!(body("transfer-encoding: Chunked\r\n"), Ok(BodyLength::Unknown));
    for (fields, bad) in [
        ("content-length: 1\r\ncontent-length: 1\r\n", BadHead::Malformed),
        ("content-length: 1\r\ncontent-length: 2\r\n", BadHead::Malformed),
        ("content-length: 1, 1\r\n", BadHead::Malformed),
        ("content-length: +1\r\n", BadHead::Malformed),
        ("content-length: -1\r\n", BadHead::Malformed),
        ("content-length: 0x1\r\n", BadHead::Malformed),
        ("content-length: 1 1\r\n", BadHead::Malformed),
        ("content-length:\r\n", BadHead::Malformed),
        ("content-length: 9223372036854775808\r\n", BadHead::Malformed),
        ("content-length: 99999999999999999999\r\n", BadHead::Malformed),
        ("content-length: 1\r\ntransfer-encoding: chunked\r\n", BadHead::Malformed),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", BadHead::Malformed),
        ("transfer-encoding: chunked, chunked\r\n", BadHead::Coding),
        ("transfer-encoding: gzip, chunked\r\n", BadHead::Coding),
        ("transfer-encoding: xchunked\r\n", BadHead::Coding),
        ("transfer-encoding: chunked;a=b\r\n", BadHead::Coding),
        ("transfer-encoding: identity\r\n", BadHead::Coding),
        ("transfer-encoding:\r\n", BadHead::Coding),
    ] {
        assert_eq!(body(fields), Err(bad), "{fields:?}");
    }
    let old = "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(refused(old), BadHead::Malformed, "HTTP/1.0 has no codings");
}

#[test]
fn long_heads_are_refused_before_they_are_whole() {
    assert_eq!(refused(&format!("GET /{}", "a".repeat(9000))), BadHead::TargetTooLong);
    let line = "GET / HTTP/1.1\r\n";
    assert_eq!(refused(&format!("{line}x: {}", "a".repeat(9000))), BadHead::TooLarge);
    assert_eq!(refused(&format!("{line}x: {}\r\n\r\n", "a".repeat(9000))), BadHead::TooLarge);
    let many = "a: b\r\n".repeat(201);
    assert_eq!(refused(&format!("{line}{many}\r\n")), BadHead::TooLarge);
    assert_eq!(whole(&format!("{line}{}\r\n", "a: b\r\n".repeat(200))).fields.len(), 200);
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    let input = b"\r\n\r\nGET / HTTP/1.1\r\n\r\nrest";
    let (length, _) = parsed(input).expect("valid").expect("whole");
    assert_eq!(&input[length..], b"rest");
    assert_eq!(refused("\r\n\r\n\r\n\r\n\r\n"), BadHead::Malformed);
}

fn answer(input: &str, to_head: bool) -> Result<Option<(Parsed, ResponseHead)>, BadHead> {
    let mut head = ResponseHead::default();
    Ok(response(input.as_bytes(), &mut head, to_head)?.map(|parsed| (parsed, head)))
}

#[test]
fn an_answer_is_read_whatever_its_line_ends() {
    for end in ["\r\n", "\n"] {
        let input = format!("HTTP/1.1 200 All fine{end}Content-Length: 3{end}X: y{end}{end}abc");
        let (parsed, head) = answer(&input, false).expect("valid").expect("whole");
        assert_eq!(parsed.length, input.len() - 3);
        assert!(parsed.keep_alive);
        assert_eq!((head.status, &*head.reason), (200, &b"All fine"[..]));
        assert_eq!(head.body, BodyLength::Exact(3));
        assert_eq!(head.fields.len(), 2);
    }
}

#[test]
fn the_body_of_an_answer_is_as_long_as_all_would_take_it_for() {
    for (head, to_head, body) in [
        ("200 OK\r\n", false, Some(BodyLength::Unknown)),
        ("200 OK\r\nContent-Length: 5\r\n", false, Some(BodyLength::Exact(5))),
        ("200 OK\r\nContent-Length: 5\r\n", true, Some(BodyLength::None)),
        ("204 No\r\nContent-Length: 5\r\n", false, Some(BodyLength::None)),
        ("304 No\r\nContent-Length: 5\r\n", false, Some(BodyLength::None)),
        ("101 Go\r\n", false, Some(BodyLength::None)),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n", false, Some(BodyLength::Unknown)),
        (
            "200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            false,
            Some(BodyLength::Unknown),
        ),
        ("200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n", false, Some(BodyLength::Exact(5))),
        ("200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n", false, None),
        ("200 OK\r\nContent-Length: five\r\n", false, None),
        ("200 OK\r\nTransfer-Encoding: gzip\r\n", false, None),
    ] {
        let found = answer(&format!("HTTP/1.1 {head}\r\n"), to_head);
        let found = found.ok().map(|whole| whole.expect("whole").1.body);
        assert_eq!(found, body, "{head:?}");
    }
}

#[test]
fn a_connection_is_kept_where_the_answer_allows_it() {
    for (head, kept) in [
        ("HTTP/1.1 200 OK\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", false),
        ("HTTP/1.0 200 OK\r\n", false),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", true),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive, close\r\n", false),
        ("HTTP/1.1 200\r\n", true),
    ] {
        let (parsed, _) = answer(&format!("{head}\r\n"), false).expect("valid").expect("whole");
        assert_eq!(parsed.keep_alive, kept, "{head:?}");
    }
}

#[test]
fn a_connection_is_not_kept_on_which_a_body_may_follow_where_none_is() {
    for (head, to_head, kept) in [
        ("200 OK\r\nContent-Length: 5\r\n", true, false),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n", true, false),
        ("200 OK\r\nContent-Length: 0\r\n", true, true),
        ("200 OK\r\n", true, true),
        ("204 No\r\nContent-Length: 5\r\n", false, false),
        ("204 No\r\nTransfer-Encoding: chunked\r\n", false, false),
        ("204 No\r\nContent-Length: 0\r\n", false, true),
        ("304 No\r\nContent-Length: 5\r\n", false, false),
        ("304 No\r\n", false, true),
        ("200 OK\r\nContent-Length: 5\r\n", false, true),
        ("103 Early\r\nContent-Length: 5\r\n", false, true),
    ] {
        let found = answer(&format!("HTTP/1.1 {head}\r\n"), to_head).expect("valid");
        assert_eq!(found.expect("whole").0.keep_alive, kept, "{head:?}");
    }
}

#[test]
fn what_is_no_answer_is_refused_at_once() {
    for input in
        ["SSH-2.0", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000\r\n\r\n"]
    {
        assert!(answer(input, false).is_err(), "{input:?}");
    }
    for input in ["HTTP/1.1 099 X\r\n\r\n", "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n"] {
        assert!(answer(input, false).is_err(), "{input:?}");
    }
    assert!(answer("HTT", false).expect("so far").is_none());
    assert!(answer("HTTP/1.1 200 OK\r\nX: y\r\n", false).expect("so far").is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_read_refused_or_incomplete(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _outcome = parsed(&bytes);
        let mut head = ResponseHead::default();
        let _outcome = response(&bytes, &mut head, false);
    }

    #[test]
    fn a_head_is_read_the_same_however_it_arrives(cut in 0_usize..80) {
        let input = b"GET /a?b HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc";
        let first = parsed(&input[..cut.min(input.len())]).expect("a part of a valid request");
        let (length, head) = match first {
            Some(whole) => whole,
            None => parsed(input).expect("valid").expect("whole"),
        };
        prop_assert_eq!(&input[length..], b"abc");
        prop_assert_eq!(head.body, BodyLength::Exact(3));
    }
}
