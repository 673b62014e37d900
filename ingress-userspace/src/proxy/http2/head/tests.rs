use super::*;
use crate::proxy::{
    http2::hpack::{self, Decoder},
    message::{BodyLength, Fields, RequestHead, ResponseHead},
};

const LIST: usize = 32 * 1024;

/// A block of these fields, names as they are written here.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

fn request(fields: &[(&str, &str)], end: bool) -> (RequestHead, Verdict) {
    let mut head = RequestHead::default();
    let mut reader = RequestReader::new(&mut head, LIST);
    Decoder::default().decode(&block(fields), &mut reader).expect("the block is sound");
    let verdict = reader.finish(end);
    (head, verdict)
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":path", "/a?b"), (":authority", "a.example")];

fn with<'t>(more: &[(&'t str, &'t str)]) -> Vec<(&'t str, &'t str)> {
    [&GET[..], more].concat()
}

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    GET.into_iter().filter(|field| field.0 != name).collect()
}

#[test]
fn a_request_is_read() {
    let (head, verdict) =
        request(&with(&[("user-agent", "x"), ("x-own", "1"), ("te", "trailers")]), true);
    assert_eq!(verdict, Verdict::Sound);
    assert_eq!((head.method.as_str(), head.target.as_str()), ("GET", "/a?b"));
    assert_eq!(head.authority, "a.example");
    assert_eq!(head.fields.get(Known::UserAgent), Some(&b"x"[..]));
    assert_eq!(head.fields.get_named(b"x-own"), Some(&b"1"[..]));
    assert_eq!(head.body, BodyLength::None);
    assert_eq!(request(&GET, false).0.body, BodyLength::Unknown);
    assert_eq!(request(&with(&[("content-length", "7")]), false).0.body, BodyLength::Exact(7));
    assert_eq!(request(&with(&[("content-length", "0")]), true).0.body, BodyLength::Exact(0));
}

#[test]
fn crumbs_of_a_cookie_are_put_together() {
    let (head, _) = request(&with(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]), true);
    assert_eq!(head.fields.get_all(Known::Cookie).collect::<Vec<_>>(), [b"a=1; b=2"]);
}

#[test]
fn octets_that_are_no_text_become_escapes() {
    let mut fields = block(&without(":path"));
    fields.extend_from_slice(b"\x04\x04/\xff\xc3\xa4");
    let mut head = RequestHead::default();
    let mut reader = RequestReader::new(&mut head, LIST);
    Decoder::default().decode(&fields, &mut reader).expect("the block is sound");
    assert_eq!(reader.finish(true), Verdict::Sound);
    assert_eq!(head.target, "/%FF\u{e4}");
}

#[test]
fn malformed_requests_are_refused() {
    let cases: &[(&str, Vec<(&str, &str)>)] = &[
        ("8.2.1 a capital", with(&[("X-Own", "1")])),
        ("8.2.1 a space in a name", with(&[("x own", "1")])),
        ("8.2.1 an empty name", with(&[("", "1")])),
        ("8.2.1 a line feed in a value", with(&[("x", "a\nb")])),
        ("8.2.1 white space at an end", with(&[("x", " a")])),
        ("8.2.2 connection", with(&[("connection", "close")])),
        ("8.2.2 proxy-connection", with(&[("proxy-connection", "close")])),
        ("8.2.2 keep-alive", with(&[("keep-alive", "5")])),
        ("8.2.2 transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("8.2.2 upgrade", with(&[("upgrade", "websocket")])),
        ("8.2.2 te", with(&[("te", "trailers, deflate")])),
        ("8.3 behind a field", [&[("x", "y")], &GET[..]].concat()),
        ("8.3 unknown", with(&[(":own", "x")])),
        ("8.3 of an answer", with(&[(":status", "200")])),
        ("8.3.1 no method", without(":method")),
        ("8.3.1 no scheme", without(":scheme")),
        ("8.3.1 no path", without(":path")),
        ("8.3.1 two methods", with(&[(":method", "GET")])),
        ("8.3.1 two schemes", with(&[(":scheme", "https")])),
        ("8.3.1 two paths", with(&[(":path", "/")])),
        ("8.3.1 two authorities", with(&[(":authority", "a.example")])),
        ("8.3.1 an empty path", [&without(":path")[..], &[(":path", "")]].concat()),
        ("8.3.1 a path without slash", [&without(":path")[..], &[(":path", "a")]].concat()),
        ("8.3.1 an asterisk of GET", [&without(":path")[..], &[(":path", "*")]].concat()),
        ("8.3.1 a space in a path", [&without(":path")[..], &[(":path", "/a b")]].concat()),
        ("8.3.1 a fragment", [&without(":path")[..], &[(":path", "/a#b")]].concat()),
        ("8.3.1 user information", [&without(":authority")[..], &[(":authority", "u@a")]].concat()),
        ("8.3.1 another host", with(&[("host", "b.example")])),
        ("8.3.1 two hosts", with(&[("host", "a.example"), ("host", "a.example")])),
        ("8.3.1 no method at all", [&without(":method")[..], &[(":method", "")]].concat()),
        ("8.3.1 a method with a space", [&without(":method")[..], &[(":method", "G T")]].concat()),
        ("8.3.1 no scheme at all", [&without(":scheme")[..], &[(":scheme", "1:")]].concat()),
        ("8.5 CONNECT with a path", with_method("CONNECT")),
        ("8.5 CONNECT without authority", vec![(":method", "CONNECT")]),
        ("RFC 8441 a protocol of GET", with(&[(":protocol", "websocket")])),
        ("8.1.1 a length and no body", with(&[("content-length", "1")])),
        ("8.1.1 two lengths", with(&[("content-length", "0"), ("content-length", "0")])),
        ("8.1.1 no length at all", with(&[("content-length", "")])),
        ("8.1.1 a signed length", with(&[("content-length", "+0")])),
    ];
    for (case, fields) in cases {
        assert_eq!(request(fields, true).1, Verdict::Malformed, "{case}");
    }
}

fn with_method(method: &'static str) -> Vec<(&'static str, &'static str)> {
    [&[(":method", method)], &without(":method")[..]].concat()
}

#[test]
fn unusual_requests_are_taken() {
    for fields in [
        vec![(":method", "CONNECT"), (":authority", "a.example:443")],
        [&with_method("CONNECT")[..], &[(":protocol", "websocket")]].concat(),
        vec![(":method", "OPTIONS"), (":scheme", "https"), (":path", "*")],
        with(&[("host", "A.example:443")]),
        [&without(":authority")[..], &[("host", "a.example")]].concat(),
        with_method("M-SEARCH"),
    ] {
        assert_eq!(request(&fields, true).1, Verdict::Sound, "{fields:?}");
    }
}

#[test]
fn a_list_of_fields_is_too_large_by_its_text_and_by_its_number() {
    let long = "x".repeat(100);
    let many: Vec<_> = (0..250).map(|_| ("x", long.as_str())).collect();
    let (head, verdict) = request(&with(&many), true);
    assert_eq!(verdict, Verdict::TooLarge);
    assert_eq!(head.fields.len(), 200);
    let mut head = RequestHead::default();
    let mut reader = RequestReader::new(&mut head, 1000);
    Decoder::default().decode(&block(&with(&many)), &mut reader).expect("the block is sound");
    assert_eq!(reader.finish(true), Verdict::TooLarge);
    assert!(head.fields.len() < 1000 / (100 + 33));
}

#[test]
fn trailers_have_no_pseudo_fields() {
    let read = |fields: &[(&str, &str)]| {
        let mut trailers = Fields::default();
        let mut reader = TrailersReader::new(&mut trailers, LIST);
        Decoder::default().decode(&block(fields), &mut reader).expect("the block is sound");
        (reader.finish(), trailers)
    };
    let (verdict, trailers) = read(&[("grpc-status", "0"), ("content-length", "9")]);
    assert_eq!((verdict, trailers.len()), (Verdict::Sound, 1));
    assert_eq!(read(&[(":path", "/")]).0, Verdict::Malformed);
    assert_eq!(read(&[("connection", "x")]).0, Verdict::Malformed);
}

#[test]
fn an_answer_is_written_and_read() {
    let mut head = ResponseHead { status: 302, body: BodyLength::Exact(12), ..Default::default() };
    head.fields.push(b"Location", b"/x");
    head.fields.push(b"X-Own", b"1");
    head.fields.push(b"Connection", b"close");
    head.fields.push(b"content-length", b"99");
    let mut out = Vec::new();
    encode_response(&mut out, &head, head.status);
    let mut read = ResponseHead::default();
    let mut reader = ResponseReader::new(&mut read, LIST);
    Decoder::default().decode(&out, &mut reader).expect("the block is sound");
    assert_eq!(reader.finish(false, false), Verdict::Sound);
    assert_eq!((read.status, read.body), (302, BodyLength::Exact(12)));
    let mut text = Vec::new();
    read.fields.write(&mut text);
    assert_eq!(
        String::from_utf8_lossy(&text),
        "Location: /x\r\nx-own: 1\r\nContent-Length: 12\r\n"
    );
}

#[test]
fn the_length_of_a_body_that_is_left_out_is_kept() {
    for (status, kept) in [(200, true), (304, true), (204, false), (103, false)] {
        let mut head = ResponseHead { status, ..Default::default() };
        head.fields.push(b"content-length", b"99");
        let mut out = Vec::new();
        encode_response(&mut out, &head, status);
        let mut fields = ResponseHead::default();
        let mut reader = ResponseReader::new(&mut fields, LIST);
        Decoder::default().decode(&out, &mut reader).expect("the block is sound");
        assert_eq!(reader.finish(status >= 200, true), Verdict::Sound);
        assert_eq!(fields.fields.contains(Known::ContentLength), kept, "{status}");
    }
}

#[test]
fn malformed_answers_are_refused() {
    for fields in [
        &[("x", "y")][..],
        &[(":status", "20")],
        &[(":status", "2000")],
        &[(":status", "101")],
        &[(":status", "200"), (":status", "200")],
        &[("x", "y"), (":status", "200")],
        &[(":status", "200"), (":path", "/")],
        &[(":status", "200"), ("connection", "close")],
        &[(":status", "200"), ("content-length", "1"), ("content-length", "2")],
    ] {
        let mut head = ResponseHead::default();
        let mut reader = ResponseReader::new(&mut head, LIST);
        Decoder::default().decode(&block(fields), &mut reader).expect("the block is sound");
        assert_eq!(reader.finish(false, false), Verdict::Malformed, "{fields:?}");
    }
}

#[test]
fn a_request_is_written_as_http_2_says_it() {
    let (mut head, _) = request(&with(&[("host", "a.example"), ("te", "trailers")]), true);
    head.fields.push(b"Connection", b"close");
    let mut out = Vec::new();
    encode_request(&mut out, &head, true);
    let mut read = RequestHead::default();
    let mut reader = RequestReader::new(&mut read, LIST);
    Decoder::default().decode(&out, &mut reader).expect("the block is sound");
    assert_eq!(reader.finish(true), Verdict::Sound);
    assert_eq!((read.authority.as_str(), read.target.as_str()), ("a.example", "/a?b"));
    assert_eq!(read.fields.len(), 1, "te");
    let mut begun = Vec::new();
    hpack::Encoder::default().begin(&mut begun);
    assert!(begun.is_empty());
}
