//! Request lines and fields: RFC 9112, sections 2, 3 and 5; RFC 9110, sections 5 and 7.6.

use super::{Case, Outcome, REFUSE, case, closing, post, posted, refused, want};

pub(super) fn lines() -> Vec<Case> {
    let get = |text: &str| text.to_owned();
    let plain = || want(&["GET /p HTTP/1.1"], b"").only();
    let mut rows = vec![
        case("plain", get("GET /p HTTP/1.1\r\nHost: a.test\r\n\r\n"), vec![plain()]),
        // RFC 9112, section 2.2: may be taken as an end of line.
        case(
            "bare LF throughout",
            get("GET /p HTTP/1.1\nHost: a.test\n\n"),
            vec![refused(REFUSE), plain()],
        ),
        case(
            "bare LF behind the request line",
            get("GET /p HTTP/1.1\nHost: a.test\r\n\r\n"),
            vec![refused(REFUSE), plain()],
        ),
        case(
            "bare LF behind a field",
            get("GET /p HTTP/1.1\r\nHost: a.test\n\r\n"),
            vec![refused(REFUSE), plain()],
        ),
        case(
            "bare LF as the empty line",
            get("GET /p HTTP/1.1\r\nHost: a.test\r\n\n"),
            vec![refused(REFUSE), plain()],
        ),
        case(
            "CR LF before the request line",
            get("\r\nGET /p HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            vec![plain()],
        ),
        case(
            "CR LF twice before the request line",
            get("\r\n\r\nGET /p HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            vec![plain(), refused(REFUSE)],
        ),
    ];
    for (name, text) in [
        ("bare CR behind the request line", "GET /p HTTP/1.1\rHost: a.test\r\n\r\n"),
        ("bare CR behind a field", "GET /p HTTP/1.1\r\nHost: a.test\rX: 1\r\n\r\n"),
        ("CR CR LF", "GET /p HTTP/1.1\r\r\nHost: a.test\r\n\r\n"),
        ("a blank before the request line", " GET /p HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a tab before the request line", "\tGET /p HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a blank before the first field", "GET /p HTTP/1.1\r\n Host: a.test\r\n\r\n"),
        ("two blanks before the target", "GET  /p HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("two blanks behind the target", "GET /p  HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a tab before the target", "GET\t/p HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a tab behind the target", "GET /p\tHTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a blank behind the version", "GET /p HTTP/1.1 \r\nHost: a.test\r\n\r\n"),
        ("a word behind the version", "GET /p HTTP/1.1 x\r\nHost: a.test\r\n\r\n"),
        ("no method", "/p HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("no blank behind the method", "GET/p HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a NUL in the method", "G\0T /p HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a parenthesis in the method", "G(T /p HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a colon in the method", "GET: /p HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("a quote in the method", "\"GET\" /p HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("an octet above ASCII in the method", "G\u{c9}T /p HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ("NULs instead of a request", "\0\0\0\0\0\0\0\0\r\n\r\n"),
        ("a SOCKS greeting", "\x04\x01\0\x50\x7f\0\0\x01\0\r\n\r\n"),
    ] {
        rows.push(case(name, text, vec![refused(REFUSE)]));
    }
    for method in ["PATCH", "PUT", "DELETE", "OPTIONS", "PURGE", "PROPFIND", "M-SEARCH"] {
        rows.push(case(
            format!("method {method}"),
            format!("{method} /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"),
            vec![want(&[&format!("{method} /p HTTP/1.1")], b"hi").only()],
        ));
    }
    rows.push(case(
        "method HEAD",
        "HEAD /p HTTP/1.1\r\nHost: a.test\r\n\r\n",
        vec![want(&["HEAD /p HTTP/1.1"], b"").only()],
    ));
    // Methods are case-sensitive (RFC 9110, section 9.1): as it came, or not at all.
    rows.push(case(
        "method in lower case",
        "get /p HTTP/1.1\r\nHost: a.test\r\n\r\n",
        vec![refused(&[400, 405, 501]), want(&["get /p HTTP/1.1"], b"").only()],
    ));
    let long = "A".repeat(100);
    rows.push(case(
        "method of 100 letters",
        format!("{long} /p HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        vec![want(&[&format!("{long} /p HTTP/1.1")], b"").only(), Outcome::Own(&[400, 405, 501])],
    ));
    rows.push(case(
        "method of 20000 letters",
        format!("{} /p HTTP/1.1\r\nHost: a.test\r\n\r\n", "A".repeat(20000)),
        vec![refused(&[400, 414, 431, 501])],
    ));
    // RFC 9110, section 9.3.8; nginx answers 405.
    rows.push(case(
        "method TRACE",
        "TRACE /p HTTP/1.1\r\nHost: a.test\r\n\r\n",
        vec![Outcome::Own(&[400, 405, 501])],
    ));
    rows
}

pub(super) fn fields() -> Vec<Case> {
    let with = |field: &[u8]| [b"GET /p HTTP/1.1\r\nHost: a.test\r\n", field, b"\r\n\r\n"].concat();
    let plain = || want(&["GET /p HTTP/1.1"], b"");
    let mut rows = Vec::new();
    for (name, field) in [
        ("a blank before the colon", &b"X : 1"[..]),
        ("a tab before the colon", b"X\t: 1"),
        ("a blank in the name", b"X Y: 1"),
        ("an empty name", b": 1"),
        ("folded", b"X: 1\r\n 2"),
        ("folded with a tab", b"X: 1\r\n\t2"),
        ("folded at once", b"X:\r\n 1"),
        ("a line of blanks", b"X: 1\r\n   "),
        ("NUL in the name", b"X\0Y: 1"),
        ("a control byte in the name", b"X\x01Y: 1"),
        ("DEL in the name", b"X\x7fY: 1"),
        ("NUL in the value", b"X: a\0b"),
        ("NUL alone", b"X: \0"),
        ("bare CR in the value", b"X: a\rb"),
        ("bare CR at the end of the value", b"X: a\r"),
        ("bare CR in the name", b"X\rY: 1"),
    ] {
        rows.push(case(format!("field: {name}"), with(field), vec![refused(REFUSE)]));
    }
    // Not a token: nginx drops the field (`ignore_invalid_headers`), others refuse the request.
    for (name, field, lacking) in [
        ("no colon", &b"garbage"[..], "garbage"),
        ("a parenthesis in the name", b"x(y: 1", "x(y"),
        ("a slash in the name", b"x/y: 1", "x/y"),
        ("a bracket in the name", b"x[y]: 1", "x[y]"),
        ("a quote in the name", b"\"x\": 1", "\"x\""),
        ("an at in the name", b"x@y: 1", "x@y"),
        ("an octet above ASCII in the name", b"x\xe9: 1", "x\u{e9}"),
    ] {
        let allowed = vec![plain().lacks(&[lacking]).only(), refused(REFUSE)];
        rows.push(case(format!("field: {name}"), with(field), allowed));
    }
    for (name, field, lacking) in [
        ("an underscore in the name", &b"X_Real_IP: 6"[..], "x_real_ip"),
        ("a dot in the name", b"x.y: 1", "x.y"),
    ] {
        rows.push(case(
            format!("field: {name}"),
            with(field),
            vec![plain().lacks(&[lacking]).only()],
        ));
    }
    for (name, field, value) in [
        ("an empty value", &b"X-V:"[..], ""),
        ("blanks around the value", b"X-V: \t 1 \t ", "1"),
        ("no blank before the value", b"X-V:1", "1"),
        ("blanks in the value", b"X-V: a \t b", "a \t b"),
        ("octets above ASCII in the value", b"X-V: caf\xc3\xa9", "caf\u{c3}\u{a9}"),
        ("colons in the value", b"X-V: a:b: c", "a:b: c"),
        ("a comma in the value", b"X-V: a, b,,c", "a, b,,c"),
    ] {
        let allowed = vec![plain().has("x-v", value).only()];
        rows.push(case(format!("field: {name}"), with(field), allowed));
    }
    for (name, byte) in [("SOH", 1u8), ("BEL", 7), ("VT", 0x0b), ("ESC", 0x1b), ("DEL", 0x7f)] {
        // RFC 9110, section 5.5: invalid; may be kept in a safe context, but no backend is known to
        // be one: the strict backend of this table calls it a fault.
        let field = [b"X-V: a", &[byte][..], b"b"].concat();
        rows.push(case(format!("field: {name} in the value"), with(&field), vec![refused(REFUSE)]));
    }
    for (name, value) in [
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "a.test"),
        ("x-forwarded-proto", "http"),
    ] {
        let field = format!("{name}: 6.6.6.6\r\n{name}: 7.7.7.7");
        let allowed = vec![plain().has(name, value).only()];
        rows.push(case(format!("field: {name} is ours"), with(field.as_bytes()), allowed));
    }
    rows.push(case(
        "field: proxy",
        with(b"Proxy: http://evil"),
        vec![plain().lacks(&["proxy"]).only()],
    ));
    rows
}

pub(super) fn hops() -> Vec<Case> {
    let with = |fields: &str| format!("GET /p HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n");
    let plain = || want(&["GET /p HTTP/1.1"], b"");
    vec![
        // RFC 9110, section 7.6.1.
        case(
            "hop: a field named in connection",
            with("Connection: x-foo\r\nX-Foo: 1"),
            vec![plain().lacks(&["x-foo"]).only()],
        ),
        case(
            "hop: two fields named in connection",
            with("Connection: X-Foo, x-bar\r\nX-Foo: 1\r\nX-Bar: 2"),
            vec![plain().lacks(&["x-foo", "x-bar"]).only()],
        ),
        case(
            "hop: fields named in two connections",
            with("X-Foo: 1\r\nX-Bar: 2\r\nConnection: x-foo\r\nConnection: x-bar"),
            vec![plain().lacks(&["x-foo", "x-bar"]).only()],
        ),
        case("hop: connection names host", with("Connection: host"), vec![plain().only()]),
        case(
            "hop: connection names x-forwarded-for",
            with("Connection: x-forwarded-for, x-real-ip"),
            vec![plain().has("x-forwarded-for", "127.0.0.1").has("x-real-ip", "127.0.0.1").only()],
        ),
        case(
            "hop: connection names content-length",
            post("Connection: content-length\r\nContent-Length: 5", "hello"),
            vec![posted(b"hello").only(), refused(REFUSE)],
        ),
        case(
            "hop: connection names transfer-encoding",
            post(
                "Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
            vec![posted(b"hello").only(), refused(REFUSE)],
        ),
        case(
            "hop: keep-alive",
            with("Keep-Alive: timeout=5\r\nConnection: keep-alive"),
            vec![plain().only()],
        ),
        case("hop: proxy-connection", with("Proxy-Connection: keep-alive"), vec![plain().only()]),
        case(
            "hop: te",
            with("TE: gzip, trailers\r\nConnection: TE"),
            vec![plain().lacks(&["te"]).only(), plain().has("te", "trailers").only()],
        ),
        case("hop: trailer", with("Trailer: x-foo"), vec![plain().only()]),
        case(
            "hop: upgrade that connection does not name",
            with("Upgrade: websocket"),
            vec![plain().lacks(&["upgrade"]).only()],
        ),
        case(
            "hop: connection upgrade without upgrade",
            with("Connection: upgrade"),
            vec![plain().only()],
        ),
        case(
            "hop: upgrade to h2c",
            with(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
            ),
            vec![plain().only(), plain().lacks(&["upgrade"]).only()],
        ),
        case(
            "hop: upgrade in HTTP/1.0",
            "GET /p HTTP/1.0\r\nHost: a.test\r\nConnection: upgrade, keep-alive\r\nUpgrade: websocket\r\n\r\n",
            vec![plain().lacks(&["upgrade"]).only()],
        ),
        case(
            "hop: upgrade with a body",
            post("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5", "hello"),
            vec![posted(b"hello").only(), refused(REFUSE)],
        ),
        closing("hop: connection close", &with("Connection: close"), vec![plain().only()]),
        closing(
            "hop: connection close among others",
            &with("Connection: x, CLOSE ,y"),
            vec![plain().only()],
        ),
        closing(
            "hop: connection keep-alive and close",
            &with("Connection: keep-alive\r\nConnection: close"),
            vec![plain().only()],
        ),
        // nginx takes any of them; RFC 9110, section 10.1.1 allows 417.
        case(
            "expect: unknown",
            with("Expect: nonsense"),
            vec![Outcome::Own(&[417]), plain().only()],
        ),
        case(
            "expect: 100-continue with the body at once",
            post("Expect: 100-continue\r\nContent-Length: 5", "hello"),
            vec![posted(b"hello").only()],
        ),
        case(
            "expect: 100-continue in capitals",
            post("Expect: 100-Continue\r\nContent-Length: 5", "hello"),
            vec![posted(b"hello").only()],
        ),
        case(
            "expect: 100-continue without a body",
            with("Expect: 100-continue"),
            vec![plain().only()],
        ),
    ]
}
