//! Requests: RFC 9113, section 8.

use super::{
    Answer, COMPRESSION_ERROR, Case, Connection, PROTOCOL_ERROR, Refusal, Stream,
    frame::{DATA, END_HEADERS, END_STREAM, GET, HEADERS, POST, block, frame, opening, request},
    row,
};

/// A malformed request: a stream error, or an answer that refuses it (section 8.1.1).
const MALFORMED: &[super::Outcome] = &[Stream(&[PROTOCOL_ERROR]), Refusal];
const SERVED: &[super::Outcome] = &[Answer(200)];

fn with(fields: &[(&str, &str)]) -> Vec<u8> {
    request(1, &[GET, fields].concat())
}

fn without(name: &str) -> Vec<u8> {
    let left: Vec<(&str, &str)> = GET.iter().copied().filter(|field| field.0 != name).collect();
    request(1, &left)
}

fn instead(name: &str, value: &'static str) -> Vec<u8> {
    let fields: Vec<(&str, &str)> =
        GET.iter().map(|field| if field.0 == name { (field.0, value) } else { *field }).collect();
    request(1, &fields)
}

fn post(fields: &[(&str, &str)], pieces: &[&[u8]]) -> Vec<u8> {
    let mut bytes = opening(1, &[POST, fields].concat());
    for (number, piece) in pieces.iter().enumerate() {
        let last = if number + 1 == pieces.len() { END_STREAM } else { 0 };
        bytes.extend(frame(DATA, last, 1, piece));
    }
    bytes
}

fn trailed(flags: u8, trailers: &[(&str, &str)]) -> Vec<u8> {
    let trailers = frame(HEADERS, flags, 1, &block(trailers));
    [opening(1, POST), frame(DATA, 0, 1, b"test"), trailers].concat()
}

/// Rows of section 8.
pub(super) fn all() -> Vec<Case> {
    vec![
        row("8.1 GET", request(1, GET), SERVED),
        row("8.1 POST", post(&[], &[b"test"]), SERVED),
        row("8.1 POST with a length", post(&[("content-length", "4")], &[b"te", b"st"]), SERVED),
        row(
            "8.1 POST with trailers",
            trailed(END_STREAM | END_HEADERS, &[("x-test", "ok")]),
            SERVED,
        ),
        row(
            "8.1 a second HEADERS that does not end the stream",
            trailed(END_HEADERS, &[("x-test", "ok")]),
            MALFORMED,
        ),
        row(
            "8.1 DATA without END_STREAM, then empty trailers",
            trailed(END_STREAM | END_HEADERS, &[]),
            &[Answer(200), Stream(&[PROTOCOL_ERROR]), Refusal],
        ),
        row(
            "8.1 OPTIONS *",
            request(
                1,
                &[
                    (":method", "OPTIONS"),
                    (":scheme", "http"),
                    (":path", "*"),
                    (":authority", "a.test"),
                ],
            ),
            &[Answer(200), Refusal, Answer(204)],
        ),
        row(
            "8.1.1 a length above the data",
            post(&[("content-length", "5")], &[b"test"]),
            MALFORMED,
        ),
        row(
            "8.1.1 a length below the data",
            post(&[("content-length", "3")], &[b"test"]),
            MALFORMED,
        ),
        row(
            "8.1.1 a length below the data of two frames",
            post(&[("content-length", "3")], &[b"te", b"st"]),
            MALFORMED,
        ),
        row(
            "8.1.1 a length of a request without data",
            with(&[("content-length", "4")]),
            MALFORMED,
        ),
        row(
            "8.1.1 two lengths",
            post(&[("content-length", "4"), ("content-length", "5")], &[b"test"]),
            MALFORMED,
        ),
        row(
            "8.1.1 a length that is no number",
            post(&[("content-length", "four")], &[b"test"]),
            MALFORMED,
        ),
        row("8.1.1 a length with a sign", post(&[("content-length", "+4")], &[b"test"]), MALFORMED),
        row("8.2 a name in upper case", with(&[("X-Test", "1")]), MALFORMED),
        row("8.2.1 an empty name", with(&[("", "1")]), MALFORMED),
        row("8.2.1 a blank in a name", with(&[("x test", "1")]), MALFORMED),
        row("8.2.1 a colon in a name", with(&[("x:test", "1")]), MALFORMED),
        row("8.2.1 a NUL in a name", with(&[("x\0", "1")]), MALFORMED),
        row("8.2.1 an octet above ASCII in a name", with(&[("caf\u{e9}", "1")]), MALFORMED),
        row("8.2.1 a CR LF in a name", with(&[("x: 1\r\nevil", "1")]), MALFORMED),
        row("8.2.1 a NUL in a value", with(&[("x", "a\0b")]), MALFORMED),
        row("8.2.1 a CR in a value", with(&[("x", "a\rb")]), MALFORMED),
        row("8.2.1 a LF in a value", with(&[("x", "a\nb")]), MALFORMED),
        row(
            "8.2.1 a request in a value",
            with(&[("x", "1\r\n\r\nGET /evil HTTP/1.1\r\nhost: a.test\r\n\r\n")]),
            MALFORMED,
        ),
        // Section 8.2.1 calls it malformed; that it is taken, trimmed, is what browsers' proxies do.
        row(
            "8.2.1 a blank before a value",
            with(&[("x", " 1")]),
            &[Stream(&[PROTOCOL_ERROR]), Refusal, Answer(200)],
        ),
        row("8.2.1 an empty value", with(&[("x", "")]), SERVED),
        row("8.2.2 connection", with(&[("connection", "keep-alive")]), MALFORMED),
        row(
            "8.2.2 transfer-encoding",
            post(&[("transfer-encoding", "chunked")], &[b"0\r\n\r\n"]),
            MALFORMED,
        ),
        row("8.2.2 keep-alive", with(&[("keep-alive", "timeout=5")]), MALFORMED),
        row("8.2.2 proxy-connection", with(&[("proxy-connection", "keep-alive")]), MALFORMED),
        row("8.2.2 upgrade", with(&[("upgrade", "websocket")]), MALFORMED),
        row("8.2.2 te with trailers", with(&[("te", "trailers")]), SERVED),
        row("8.2.2 te with more", with(&[("te", "trailers, deflate;q=0.5")]), MALFORMED),
        row("8.2.3 a cookie in crumbs", with(&[("cookie", "a=1"), ("cookie", "b=2")]), SERVED),
        row("8.3 an unknown pseudo-field", with(&[(":test", "1")]), MALFORMED),
        row("8.3 an answer's pseudo-field", with(&[(":status", "200")]), MALFORMED),
        row(
            "8.3 a pseudo-field behind a field",
            request(1, &[&[("x", "1")], GET].concat()),
            MALFORMED,
        ),
        row(
            "8.3 a pseudo-field in the trailers",
            trailed(END_STREAM | END_HEADERS, &[(":method", "GET")]),
            MALFORMED,
        ),
        row("8.3.1 no :method", without(":method"), MALFORMED),
        row("8.3.1 no :scheme", without(":scheme"), MALFORMED),
        row("8.3.1 no :path", without(":path"), MALFORMED),
        row("8.3.1 no :authority and no host", without(":authority"), MALFORMED),
        row(
            "8.3.1 host instead of :authority",
            request(1, &[&GET[..3], &[("host", "a.test")]].concat()),
            SERVED,
        ),
        row("8.3.1 an empty :path", instead(":path", ""), MALFORMED),
        row("8.3.1 an empty :method", instead(":method", ""), MALFORMED),
        row("8.3.1 an empty :scheme", instead(":scheme", ""), MALFORMED),
        row("8.3.1 an empty :authority", instead(":authority", ""), MALFORMED),
        row("8.3.1 two :method", with(&[(":method", "GET")]), MALFORMED),
        row("8.3.1 two :scheme", with(&[(":scheme", "http")]), MALFORMED),
        row("8.3.1 two :path", with(&[(":path", "/")]), MALFORMED),
        row("8.3.1 two :authority", with(&[(":authority", "a.test")]), MALFORMED),
        row(
            "8.3.1 host against :authority",
            with(&[("host", "b.test")]),
            &[Stream(&[PROTOCOL_ERROR]), Refusal],
        ),
        row("8.3.1 host twice", with(&[("host", "a.test"), ("host", "a.test")]), MALFORMED),
        row("8.3.1 host as :authority", with(&[("host", "a.test")]), SERVED),
        row("8.3.1 a user in :authority", instead(":authority", "user@a.test"), MALFORMED),
        row("8.3.1 a path in :authority", instead(":authority", "a.test/x"), MALFORMED),
        row("8.3.1 a blank in :authority", instead(":authority", "a test"), MALFORMED),
        row("8.3.1 a CR LF in :authority", instead(":authority", "a.test\r\nx: 1"), MALFORMED),
        row("8.3.1 :path without slash", instead(":path", "p"), MALFORMED),
        row("8.3.1 :path *", instead(":path", "*"), MALFORMED),
        row("8.3.1 :path in absolute-form", instead(":path", "http://b.test/"), MALFORMED),
        row("8.3.1 a blank in :path", instead(":path", "/a b"), MALFORMED),
        row(
            "8.3.1 a request in :path",
            instead(":path", "/ HTTP/1.1\r\nhost: b.test\r\n\r\nGET /evil"),
            MALFORMED,
        ),
        row("8.3.1 a NUL in :path", instead(":path", "/a\0b"), MALFORMED),
        row("8.3.1 :path above the root", instead(":path", "/../a"), MALFORMED),
        row(
            "8.3.1 a fragment in :path",
            instead(":path", "/a#b"),
            &[Stream(&[PROTOCOL_ERROR]), Refusal, Answer(200)],
        ),
        row("8.3.1 a blank in :method", instead(":method", "GET /evil HTTP/1.1"), MALFORMED),
        row("8.3.1 a LF in :method", instead(":method", "G\nT"), MALFORMED),
        row(
            "8.3.1 :method in lower case",
            instead(":method", "get"),
            &[Answer(200), Refusal, Stream(&[PROTOCOL_ERROR])],
        ),
        row("8.3.1 a blank in :scheme", instead(":scheme", "ht tp"), MALFORMED),
        row(
            "8.3.1 :scheme ftp",
            instead(":scheme", "ftp"),
            &[Answer(200), Refusal, Stream(&[PROTOCOL_ERROR])],
        ),
        row("8.3.1 TRACE", instead(":method", "TRACE"), MALFORMED),
        row(
            "8.5 CONNECT",
            request(1, &[(":method", "CONNECT"), (":authority", "a.test:80")]),
            MALFORMED,
        ),
        row("8.5 CONNECT with a path", instead(":method", "CONNECT"), MALFORMED),
        row(
            "8441 an unknown protocol",
            request(
                1,
                &[
                    (":method", "CONNECT"),
                    (":protocol", "nonsense"),
                    (":scheme", "http"),
                    (":path", "/p"),
                    (":authority", "a.test"),
                ],
            ),
            MALFORMED,
        ),
        row("8441 a protocol of another method", with(&[(":protocol", "websocket")]), MALFORMED),
        // Section 10.3: names and values that could not be said in HTTP/1.1 do not become it.
        row(
            "10.3 a field of 9 kB",
            with(&[("x", &"y".repeat(9000))]),
            &[
                Refusal,
                Stream(&[PROTOCOL_ERROR, super::ENHANCE_YOUR_CALM, super::REFUSED_STREAM]),
                Connection(&[COMPRESSION_ERROR, super::ENHANCE_YOUR_CALM]),
            ],
        ),
    ]
}
