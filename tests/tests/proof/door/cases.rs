//! The rows. Where a standard leaves a choice both are allowed; where it says MAY and nginx refuses,
//! refusing is asked for. Sources: RFC 9110, RFC 9112, nginx 1.22 as ingress-nginx runs it.

use super::{Case, Outcome, Want};

const REFUSE: &[u16] = &[400];
/// nginx answers 501 to codings that it does not know (RFC 9112, section 6.1).
const CODING: &[u16] = &[400, 501];
const VERSION: &[u16] = &[400, 505];
const TOO_LARGE: &[u16] = &[400, 431];

/// Names that a trailer must never bring (RFC 9110, section 6.5.1).
pub(super) const NEVER_TRAILERS: &[&str] = &[
    "content-length",
    "transfer-encoding",
    "host",
    "authorization",
    "x-real-ip",
    "x-forwarded-for",
    "connection",
    "cookie",
];

fn refused(statuses: &'static [u16]) -> Outcome {
    Outcome::Refused(statuses)
}

fn want(lines: &[&str], body: &[u8]) -> Want {
    Want {
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        has: vec![("host", "a.test".to_owned())],
        lacks: Vec::new(),
        body: body.to_vec(),
    }
}

impl Want {
    fn has(mut self, name: &'static str, value: &str) -> Self {
        self.has.retain(|(own, _)| *own != name);
        self.has.push((name, value.to_owned()));
        self
    }

    fn lacks(mut self, names: &[&'static str]) -> Self {
        self.lacks.extend(names);
        self
    }

    fn only(self) -> Outcome {
        Outcome::As(vec![self])
    }
}

fn case(name: impl Into<String>, bytes: impl Into<Vec<u8>>, allowed: Vec<Outcome>) -> Case {
    Case { name: name.into(), bytes: bytes.into(), allowed, closes: false }
}

fn closing(name: &str, bytes: &str, allowed: Vec<Outcome>) -> Case {
    Case { closes: true, ..case(name, bytes, allowed) }
}

/// Every row.
pub(super) fn all() -> Vec<Case> {
    let parts: [fn() -> Vec<Case>; 12] = [
        lengths, codings, chunks, trailers, lines, fields, hops, targets, hosts, versions, sizes,
        sequences,
    ];
    parts.iter().flat_map(|part| part()).collect()
}

/// A POST of these framing fields and this body.
fn post(fields: &str, body: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n{body}")
}

fn posted(body: &[u8]) -> Want {
    want(&["POST /p HTTP/1.1"], body)
}

fn lengths() -> Vec<Case> {
    let mut rows = Vec::new();
    // RFC 9112, section 6.3; nginx refuses repetition also of the same value.
    for value in [
        "5\r\nContent-Length: 6",
        "5\r\nContent-Length: 5",
        "5, 5",
        "5, 6",
        "+5",
        "-1",
        "-0",
        "5x",
        "0x5",
        "5 5",
        "5;",
        "5.0",
        "1e1",
        "",
        "\"5\"",
        "99999999999999999999",
        "18446744073709551621",
        "9223372036854775808",
    ] {
        let bytes = post(&format!("Content-Length: {value}"), "hello");
        rows.push(case(format!("content-length {value:?}"), bytes, vec![refused(REFUSE)]));
    }
    let good = || posted(b"hello").only();
    rows.push(case("content-length", post("Content-Length: 5", "hello"), vec![good()]));
    rows.push(case("content-length in capitals", post("CONTENT-LENGTH:5", "hello"), vec![good()]));
    rows.push(case(
        "content-length in blanks",
        post("Content-Length: \t5 \t", "hello"),
        vec![good()],
    ));
    rows.push(case(
        "content-length with zeros before",
        post("Content-Length: 0005", "hello"),
        vec![good(), refused(REFUSE)],
    ));
    rows.push(case("content-length 0", post("Content-Length: 0", ""), vec![posted(b"").only()]));
    rows.push(case(
        "content-length of a GET",
        "GET /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
        vec![want(&["GET /p HTTP/1.1"], b"hello").only()],
    ));
    rows.push(case(
        "content-length with an underscore is no length",
        post("Content_Length: 60\r\nContent-Length: 5", "hello"),
        vec![posted(b"hello").lacks(&["content_length"]).only(), refused(REFUSE)],
    ));
    rows.push(case(
        "content-length behind a line without colon",
        post("X\r\nContent-Length: 5", "hello"),
        vec![refused(REFUSE), posted(b"hello").lacks(&["x"]).only()],
    ));
    // nginx 1.21.1 and later; RFC 9112, section 6.1 allows it.
    for fields in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Content-Length: 6\r\nTransfer-Encoding: identity",
        "Content-Length: 6\r\nTransfer-Encoding: xchunked",
        "Content-Length: 6\r\ntransfer-encoding:\tchunked",
        "Content-Length: 6\r\nTransfer-Encoding:\x0bchunked",
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Content-Length: 6\r\nTransfer-Encoding:\r\n chunked",
        "Content-Length: 6\r\nTransfer-Encoding : chunked",
        "Content-Length: 6\r\n Transfer-Encoding: chunked",
        "Content-Length: 6\r\nX: x\nTransfer-Encoding: chunked",
        "Content-Length: 6\r\nX: x\rTransfer-Encoding: chunked",
    ] {
        let bytes = post(fields, "0\r\n\r\nG");
        rows.push(case(format!("length and coding {fields:?}"), bytes, vec![refused(CODING)]));
    }
    rows
}

fn codings() -> Vec<Case> {
    let mut rows = Vec::new();
    let body = "5\r\nhello\r\n0\r\n\r\n";
    for value in ["chunked", "Chunked", "CHUNKED"] {
        let bytes = post(&format!("Transfer-Encoding: {value}"), body);
        rows.push(case(format!("coding {value:?}"), bytes, vec![posted(b"hello").only()]));
    }
    for value in ["chunked \t", "\t chunked"] {
        let bytes = post(&format!("Transfer-Encoding:{value}"), body);
        let allowed = vec![posted(b"hello").only(), refused(CODING)];
        rows.push(case(format!("coding {value:?}"), bytes, allowed));
    }
    for value in [
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "xchunked",
        "chunkedx",
        "chunked ;",
        "chunked;q=1",
        "chunked;a",
        "\"chunked\"",
        "'chunked'",
        "identity",
        "identity, chunked",
        "gzip, chunked",
        "gzip",
        "chunked, identity",
        "chunked, gzip",
        "",
        "chunk",
        "x\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
        "chunked\x00",
        "\x0bchunked",
        "chunked\x0c",
        "\u{a0}chunked",
        "[chunked]",
        "chunked chunked",
    ] {
        let bytes = post(&format!("Transfer-Encoding: {value}"), body);
        rows.push(case(format!("coding {value:?}"), bytes, vec![refused(CODING)]));
    }
    rows.push(case(
        "coding with an underscore is none",
        post("Transfer_Encoding: chunked\r\nContent-Length: 5", "hello"),
        vec![posted(b"hello").lacks(&["transfer_encoding"]).only(), refused(CODING)],
    ));
    rows.push(case(
        "coding in HTTP/1.0",
        "POST /p HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        vec![refused(CODING)],
    ));
    rows.push(case(
        "coding in HTTP/1.0 that asks for keep-alive",
        "POST /p HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\
         \r\n5\r\nhello\r\n0\r\n\r\n",
        vec![refused(CODING)],
    ));
    rows
}

fn chunks() -> Vec<Case> {
    let mut rows = Vec::new();
    let hello = || posted(b"hello").only();
    let chunked = |body: &str| post("Transfer-Encoding: chunked", body);
    for body in [
        "5\r\nhello\r\n0\r\n\r\n",
        "005\r\nhello\r\n00\r\n\r\n",
        "5;ext\r\nhello\r\n0\r\n\r\n",
        "5;ext=1;more=\"x y\"\r\nhello\r\n0;last\r\n\r\n",
        "1\r\nh\r\n4\r\nello\r\n0\r\n\r\n",
    ] {
        rows.push(case(format!("chunks {body:?}"), chunked(body), vec![hello()]));
    }
    for size in ["a", "A"] {
        let body = format!("{size}\r\n0123456789\r\n0\r\n\r\n");
        let allowed = vec![posted(b"0123456789").only()];
        rows.push(case(format!("chunk size {size:?}"), chunked(&body), allowed));
    }
    // Read one way or not at all, but never another way than it is forwarded.
    for (name, body) in [
        ("blanks behind the size", "5 \r\nhello\r\n0\r\n\r\n".to_owned()),
        ("blanks before an extension", "5 ; ext\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("a size of many zeros", format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(40))),
        ("an extension of 4 kB", format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(4096))),
        ("an extension of 20 kB", format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20480))),
        ("bare LF behind the size", "5\nhello\r\n0\r\n\r\n".to_owned()),
        ("bare LF behind the data", "5\r\nhello\n0\r\n\r\n".to_owned()),
        ("bare LF at the end", "5\r\nhello\r\n0\n\n".to_owned()),
        ("bare LF in an extension", "5;a\nhello\r\n0\r\n\r\n".to_owned()),
        ("a tab in an extension", "5;\ta\r\nhello\r\n0\r\n\r\n".to_owned()),
    ] {
        rows.push(case(format!("chunks: {name}"), chunked(&body), vec![refused(REFUSE), hello()]));
    }
    for (name, body) in [
        ("negative size", "-1\r\nhello\r\n0\r\n\r\n"),
        ("size with a plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("only an extension", ";ext\r\nhello\r\n0\r\n\r\n"),
        ("size no number", "zz\r\nhello\r\n0\r\n\r\n"),
        ("size with a letter behind", "5g\r\nhello\r\n0\r\n\r\n"),
        ("size of two numbers", "5 5\r\nhello\r\n0\r\n\r\n"),
        ("blank before the size", " 5\r\nhello\r\n0\r\n\r\n"),
        ("size with an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("size with a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
        ("size that overflows 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("size that overflows by far", "fffffffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("size of 64 bits", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("size with NUL", "5\0\r\nhello\r\n0\r\n\r\n"),
        ("bare CR behind the size", "5\rhello\r\n0\r\n\r\n"),
        ("bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("CR CR LF behind the size", "5\r\r\nhello\r\n0\r\n\r\n"),
        ("data longer than the size", "5\r\nhelloX\r\n0\r\n\r\n"),
        ("data without end", "5\r\nhello0\r\n\r\n"),
        ("data that ends with CR alone", "5\r\nhello\r0\r\n\r\n"),
        ("last chunk without empty line", "5\r\nhello\r\n0\r\n"),
        ("last chunk ends with CR alone", "5\r\nhello\r\n0\r\r"),
    ] {
        rows.push(case(format!("chunks: {name}"), chunked(body), vec![refused(REFUSE)]));
    }
    rows
}

fn trailers() -> Vec<Case> {
    let mut rows = Vec::new();
    let chunked = |trailers: &str| {
        post("Transfer-Encoding: chunked", &format!("5\r\nhello\r\n0\r\n{trailers}\r\n"))
    };
    rows.push(case(
        "trailers: an ordinary one",
        chunked("X-Sum: 1\r\n"),
        vec![posted(b"hello").only()],
    ));
    for name in NEVER_TRAILERS {
        let value = if *name == "content-length" { "60" } else { "6.6.6.6" };
        let allowed = vec![posted(b"hello").only(), refused(REFUSE)];
        rows.push(case(
            format!("trailers: {name}"),
            chunked(&format!("{name}: {value}\r\n")),
            allowed,
        ));
    }
    for (name, text) in [
        ("one without colon", "garbage\r\n".to_owned()),
        ("a folded one", "X: 1\r\n 2\r\n".to_owned()),
        ("a blank before the colon", "X : 1\r\n".to_owned()),
        ("a NUL", "X: \0\r\n".to_owned()),
        ("a bare CR", "X: 1\rY: 2\r\n".to_owned()),
        ("a request", "GET /evil HTTP/1.1\r\n".to_owned()),
    ] {
        let allowed = vec![refused(REFUSE)];
        rows.push(case(format!("trailers: {name}"), chunked(&text), allowed));
    }
    rows.push(case(
        "trailers: 40 kB",
        chunked(&format!("X: {}\r\n", "y".repeat(1000)).repeat(40)),
        vec![refused(TOO_LARGE)],
    ));
    rows
}

fn lines() -> Vec<Case> {
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

fn fields() -> Vec<Case> {
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

fn hops() -> Vec<Case> {
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

fn targets() -> Vec<Case> {
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

fn hosts() -> Vec<Case> {
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

fn versions() -> Vec<Case> {
    let plain = || want(&["GET /p HTTP/1.1"], b"").only();
    let with = |version: &str| format!("GET /p {version}\r\nHost: a.test\r\n\r\n");
    let mut rows = vec![
        closing("version HTTP/1.0", &with("HTTP/1.0"), vec![plain()]),
        case(
            "version HTTP/1.0 that keeps alive",
            "GET /p HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n",
            vec![plain()],
        ),
        // RFC 9110, section 2.5: a higher minor version is served as the highest known.
        case("version HTTP/1.2", with("HTTP/1.2"), vec![plain(), refused(VERSION)]),
        // nginx still answers these; we need not. The answer to one has no head.
        closing("version HTTP/0.9", "GET /p\r\n", vec![refused(&[0, 400, 505])]),
        closing("version HTTP/0.9 without CR", "GET /p\n", vec![refused(&[0, 400, 505])]),
    ];
    for version in [
        "HTTP/0.9",
        "HTTP/2.0",
        "HTTP/2",
        "HTTP/3.7",
        "HTTP/1.10",
        "HTTP/11.1",
        "HTTP/01.1",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP/1",
        "HTTP/1,1",
        "HTTP/1.1.1",
        "HTTP/1.x",
        "HTTP/-1.1",
        "HTTP/1.1\0",
        "http/1.1",
        "Http/1.1",
        "HTTPS/1.1",
        "HTP/1.1",
        "HTTP 1.1",
        "HTTP/ 1.1",
        "ICY/1.1",
        "HTTP/9999999999.1",
        "",
    ] {
        rows.push(case(format!("version {version:?}"), with(version), vec![refused(VERSION)]));
    }
    rows.push(case(
        "HTTP/2 preface gone wrong",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        vec![refused(&[0, 400, 505])],
    ));
    rows.push(case(
        "HTTP/2 preface with a field",
        "PRI * HTTP/2.0\r\nHost: a.test\r\n\r\nSM\r\n\r\n",
        vec![refused(&[0, 400, 505])],
    ));
    rows
}

fn sizes() -> Vec<Case> {
    let get = |target: &str, fields: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")
    };
    let plain = || want(&["GET /p HTTP/1.1"], b"");
    let path = |length: usize| format!("/{}", "x".repeat(length));
    let line = |length: usize| format!("GET {} HTTP/1.1", path(length));
    // `large_client_header_buffers 4 8k`: a line in one buffer, all lines in four.
    vec![
        case("target of 7 kB", get(&path(7000), ""), vec![want(&[&line(7000)], b"").only()]),
        case("target of 9 kB", get(&path(9000), ""), vec![Outcome::Own(&[414])]),
        case("target of 100 kB", get(&path(100_000), ""), vec![Outcome::Own(&[414])]),
        case(
            "query of 9 kB",
            get(&format!("/?{}", "x".repeat(9000)), ""),
            vec![Outcome::Own(&[414])],
        ),
        case(
            "field of 7 kB",
            get("/p", &format!("X-V: {}\r\n", "y".repeat(7000))),
            vec![plain().has("x-v", &"y".repeat(7000)).only()],
        ),
        case(
            "field of 9 kB",
            get("/p", &format!("X-V: {}\r\n", "y".repeat(9000))),
            vec![Outcome::Own(TOO_LARGE)],
        ),
        case(
            "field of 33 kB",
            get("/p", &format!("X-V: {}\r\n", "y".repeat(33_000))),
            vec![Outcome::Own(TOO_LARGE)],
        ),
        case(
            "name of 9 kB",
            get("/p", &format!("{}: v\r\n", "y".repeat(9000))),
            vec![Outcome::Own(TOO_LARGE)],
        ),
        case(
            "fields of 24 kB together",
            get("/p", &format!("X-V: {}\r\n", "y".repeat(3000)).repeat(8)),
            vec![plain().only()],
        ),
        case(
            "fields of 40 kB together",
            get("/p", &format!("X-V: {}\r\n", "y".repeat(1000)).repeat(40)),
            vec![Outcome::Own(TOO_LARGE)],
        ),
        case(
            "fields of 1 MB together",
            get("/p", &format!("X-V: {}\r\n", "y".repeat(1000)).repeat(1000)),
            vec![Outcome::Own(TOO_LARGE)],
        ),
        case("80 fields", get("/p", &"X-V: y\r\n".repeat(80)), vec![plain().only()]),
        // nginx counts bytes, not fields.
        case(
            "200 fields",
            get("/p", &"X-V: y\r\n".repeat(200)),
            vec![plain().only(), Outcome::Own(TOO_LARGE)],
        ),
        case(
            "2000 fields",
            get("/p", &"X: y\r\n".repeat(2000)),
            vec![plain().only(), Outcome::Own(TOO_LARGE)],
        ),
        case("20000 fields", get("/p", &"X: y\r\n".repeat(20_000)), vec![Outcome::Own(TOO_LARGE)]),
        case(
            "cookie of 7 kB",
            get("/p", &format!("Cookie: a={}\r\n", "y".repeat(7000))),
            vec![plain().only()],
        ),
        case(
            "CR LF without end before the request",
            "\r\n".repeat(50_000),
            vec![plain_marker(), refused(&[0, 400, 431])],
        ),
    ]
}

/// Nothing but the marker.
fn plain_marker() -> Outcome {
    Outcome::As(Vec::new())
}

fn sequences() -> Vec<Case> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let saw = |path: &str| want(&[&format!("GET {path} HTTP/1.1")], b"");
    vec![
        case(
            "pipelining of three",
            [get("/1"), get("/2"), get("/3")].concat(),
            vec![Outcome::As(vec![saw("/1"), saw("/2"), saw("/3")])],
        ),
        case(
            "pipelining behind a body",
            [post("Content-Length: 5", "hello"), get("/2")].concat(),
            vec![Outcome::As(vec![posted(b"hello"), saw("/2")])],
        ),
        case(
            "pipelining behind chunks",
            [post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"), get("/2")].concat(),
            vec![Outcome::As(vec![posted(b"hello"), saw("/2")])],
        ),
        case(
            "pipelining behind chunks with trailers",
            [post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX: 1\r\n\r\n"), get("/2")]
                .concat(),
            vec![Outcome::As(vec![posted(b"hello"), saw("/2")])],
        ),
        case(
            "a request within a body",
            post(&format!("Content-Length: {}", get("/evil").len()), &get("/evil")),
            vec![posted(get("/evil").as_bytes()).only()],
        ),
        case(
            "CR LF between requests",
            [get("/1"), "\r\n".to_owned(), get("/2")].concat(),
            vec![Outcome::As(vec![saw("/1"), saw("/2")])],
        ),
        case(
            "many in one go",
            (0..100).map(|n| get(&format!("/{n}"))).collect::<String>(),
            vec![Outcome::As((0..100).map(|n| saw(&format!("/{n}"))).collect())],
        ),
    ]
}
