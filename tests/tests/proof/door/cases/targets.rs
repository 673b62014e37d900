//! What is asked for, and of whom: RFC 9112, section 3.

use super::{Case, Outcome, REFUSE, case, closing, refused, want};

pub(super) fn targets() -> Vec<Case> {
    let with = |target: &[u8]| [b"GET ", target, b" HTTP/1.1\r\nHost: a.test\r\n\r\n"].concat();
    let line = |target: &str| format!("GET {target} HTTP/1.1");
    let mut rows = Vec::new();
    // As it came (reference section 3.2), or in the one normal form that it is routed by.
    for (target, normal) in [
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("/a//b", "/a/b"),
        ("//a", "/a"),
        ("//a.test/x", "/a.test/x"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/a%2fb", "/a%2fb"),
        ("/a%2F..%2Fb", "/b"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/%2E/b", "/a/b"),
        ("/a/.%2e/b", "/b"),
        ("/a%25b", "/a%25b"),
        ("/%252e%252e/b", "/%252e%252e/b"),
        ("/a%20b", "/a%20b"),
        ("/%61", "/a"),
        ("/a%3fb", "/a%3fb"),
        ("/a%23b", "/a%23b"),
        ("/a%0d%0aX:%201", "/a%0d%0aX:%201"),
        ("/a%5cb", "/a%5cb"),
        ("/caf%c3%a9", "/caf%c3%a9"),
        ("/a;b=c/..;/d", "/a;b=c/..;/d"),
        ("/?u=/../x", "/?u=/../x"),
        ("/?u=http://b.test/", "/?u=http://b.test/"),
        ("/a?b?c", "/a?b?c"),
        ("/a?%zz", "/a?%zz"),
        ("/a?", "/a?"),
        ("/a+b", "/a+b"),
        ("/...", "/..."),
        ("/:a", "/:a"),
        ("/~a!$&'()*,=@", "/~a!$&'()*,=@"),
    ] {
        let allowed = vec![want(&[&line(target), &line(normal)], b"").only()];
        rows.push(case(format!("target {target:?}"), with(target.as_bytes()), allowed));
    }
    for target in ["/a\\b", "/a|b", "/a<b>", "/a\"b", "/a`b", "/a{b}", "/a^b", "/a[b]"] {
        let allowed = vec![want(&[&line(target)], b"").only(), refused(REFUSE)];
        rows.push(case(format!("target {target:?}"), with(target.as_bytes()), allowed));
    }
    rows.push(case(
        "target with octets above ASCII",
        with(b"/caf\xc3\xa9"),
        vec![
            want(&[&line("/caf\u{c3}\u{a9}"), &line("/caf%C3%A9"), &line("/caf%c3%a9")], b"")
                .only(),
            refused(REFUSE),
        ],
    ));
    // No fragment is sent in a target (RFC 9112, section 3.2); nginx's path ends before it.
    for target in ["/a#b", "/#", "/a?b#c", "/a#/../../b"] {
        let cut = target.split('#').next().unwrap_or_default();
        let allowed = vec![refused(REFUSE), want(&[&line(cut)], b"").only()];
        rows.push(case(format!("target {target:?}"), with(target.as_bytes()), allowed));
    }
    for target in [
        &b"/.."[..],
        b"/../a",
        b"/a/../../b",
        b"/%2e%2e/a",
        b"/..%2fa",
        b"/%00",
        b"/a%00b",
        b"/%",
        b"/%2",
        b"/%zz",
        b"/%2g",
        b"/%u002e",
        b"/a\0b",
        b"/a\x01b",
        b"/a\x7fb",
        b"/a b",
        b"/a\tb",
        b"/a\rb",
        b"a",
        b"?a",
        b"%2fa",
        b"\\a",
        b"*",
        b"a.test:80",
        b"",
        b"a.test/x",
        b"http:",
        b"http:/a",
        b"http://",
        b"http:///a",
        b"http://user@a.test/",
        b"http://a.test\\@b.test/",
        b"http://a.test:x/",
        b"http://[::1/",
        b"http://a test/",
        b"://a.test/",
        b"http://a.test/%00",
        b"http://a.test/../x",
        b"javascript:alert(1)",
    ] {
        // Where the message ends is clear, so that the connection may go on; nginx ends it.
        let name = format!("target {:?}", String::from_utf8_lossy(target));
        rows.push(case(name, with(target), vec![refused(REFUSE), Outcome::Own(REFUSE)]));
    }
    // Absolute-form: RFC 9112, section 3.2.2.
    for (target, path) in [
        ("http://a.test/x", "/x"),
        ("HTTP://A.test/x", "/x"),
        ("http://a.test", "/"),
        ("http://a.test?q=1", "/?q=1"),
        ("http://a.test/x?q=http://b.test/", "/x?q=http://b.test/"),
        ("http://a.test/x/../y", "/x/../y"),
    ] {
        let normal = line("/y");
        let mut wanted = want(&[&line(path)], b"");
        if path.contains("..") {
            wanted.lines.push(normal);
        }
        let capital = wanted.clone().has("host", "A.test");
        rows.push(case(
            format!("target {target:?}"),
            with(target.as_bytes()),
            vec![wanted.only(), capital.only()],
        ));
    }
    rows.push(case(
        "target's host against the field's",
        "GET http://a.test/x HTTP/1.1\r\nHost: b.test\r\n\r\n",
        vec![
            want(&["GET /x HTTP/1.1"], b"").has("x-forwarded-host", "a.test").only(),
            refused(REFUSE),
        ],
    ));
    rows.push(case(
        "target's unknown host against the field's known one",
        "GET http://b.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
        vec![Outcome::Own(&[404]), refused(REFUSE)],
    ));
    rows.push(case(
        "target with a host, and no field",
        "GET http://a.test/x HTTP/1.1\r\n\r\n",
        vec![Outcome::Own(REFUSE)],
    ));
    rows.push(case(
        "target with another scheme",
        with(b"ftp://a.test/x"),
        vec![refused(REFUSE), want(&["GET /x HTTP/1.1"], b"").only()],
    ));
    rows.push(case(
        "target with https on the plain port",
        with(b"https://a.test/x"),
        vec![
            refused(&[400, 421]),
            want(&["GET /x HTTP/1.1"], b"").has("x-forwarded-proto", "http").only(),
        ],
    ));
    for target in ["a.test:80", "a.test", "/x", "http://a.test/"] {
        rows.push(case(
            format!("CONNECT {target}"),
            format!("CONNECT {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            vec![Outcome::Own(&[400, 405, 501])],
        ));
    }
    rows.push(case(
        "OPTIONS *",
        "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
        vec![Outcome::Own(&[200, 204, 400, 404, 405]), want(&["OPTIONS * HTTP/1.1"], b"").only()],
    ));
    rows
}

pub(super) fn hosts() -> Vec<Case> {
    let with = |host: &str| format!("GET /p HTTP/1.1\r\n{host}\r\n");
    let mut rows = Vec::new();
    for (name, fields) in [
        ("none", ""),
        ("twice", "Host: a.test\r\nHost: b.test\r\n"),
        ("twice the same", "Host: a.test\r\nHost: a.test\r\n"),
        ("twice, one empty", "Host: a.test\r\nHost:\r\n"),
        ("with a path", "Host: a.test/x\r\n"),
        ("with a blank", "Host: a test\r\n"),
        ("a list", "Host: a.test, b.test\r\n"),
        ("a list without blanks", "Host: a.test,b.test\r\n"),
        ("with two ports", "Host: a.test:80:80\r\n"),
        ("with a port that is no number", "Host: a.test:http\r\n"),
        ("with a user", "Host: user@a.test\r\n"),
        ("with NUL", "Host: a.test\0\r\n"),
        ("with a control byte", "Host: a\x01.test\r\n"),
        ("with a tab", "Host: a\t.test\r\n"),
        ("with a query", "Host: a.test?x\r\n"),
        ("with a fragment", "Host: a.test#x\r\n"),
        ("with a backslash", "Host: a.test\\x\r\n"),
        ("an address without its bracket", "Host: [::1\r\n"),
        ("a bracket too many", "Host: ::1]\r\n"),
        ("an address with a path", "Host: [::1]/x\r\n"),
        ("a scheme", "Host: http://a.test\r\n"),
        ("folded", "Host:\r\n a.test\r\n"),
        ("a quote", "Host: \"a.test\"\r\n"),
    ] {
        // RFC 9112, section 3.2. Where the message ends is clear, so that the connection may go on.
        let allowed = vec![refused(REFUSE), Outcome::Own(REFUSE)];
        rows.push(case(format!("host: {name}"), with(fields), allowed));
    }
    rows.push(case("host: empty", with("Host:\r\n"), vec![Outcome::Own(&[400, 404])]));
    rows.push(case("host: unknown", with("Host: b.test\r\n"), vec![Outcome::Own(&[404])]));
    rows.push(case(
        "host: octets above ASCII",
        with("Host: caf\u{e9}.test\r\n"),
        vec![Outcome::Own(&[400, 404])],
    ));
    rows.push(case("host: escaped", with("Host: %61.test\r\n"), vec![Outcome::Own(&[400, 404])]));
    rows.push(case("host: two dots", with("Host: a..test\r\n"), vec![Outcome::Own(&[400, 404])]));
    for host in ["A.TEST", "a.test:80", "a.test:8080", "a.test."] {
        let wanted =
            want(&["GET /p HTTP/1.1"], b"").has("host", host).has("x-forwarded-host", host);
        let lower = wanted.clone().has("host", &host.to_ascii_lowercase());
        rows.push(case(
            format!("host {host}"),
            with(&format!("Host: {host}\r\n")),
            vec![wanted.only(), lower.only()],
        ));
    }
    rows.push(closing(
        "host: none in HTTP/1.0",
        "GET /p HTTP/1.0\r\n\r\n",
        vec![Outcome::Own(&[404, 400])],
    ));
    rows
}
