//! Records, parameters and heads, as bytes.

use proptest::prelude::*;

use super::{
    answer::{self, BadAnswer},
    parameters,
    record::{self, BadRecord, Ending, Header, Kind},
};
use crate::proxy::message::{BodyLength, Fields, Known, RequestHead, ResponseHead};

/// The pairs of names and values, taken apart as the specification says (section 3.4).
fn pairs(mut bytes: &[u8]) -> Vec<(String, String)> {
    fn length(bytes: &mut &[u8]) -> usize {
        let (first, rest) = bytes.split_first().expect("a length");
        if *first < 0x80 {
            *bytes = rest;
            return usize::from(*first);
        }
        let (long, rest) = bytes.split_first_chunk::<4>().expect("a long length");
        *bytes = rest;
        usize::try_from(u32::from_be_bytes(*long) & 0x7FFF_FFFF).expect("it fits")
    }
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (name, value) = (length(&mut bytes), length(&mut bytes));
        let (own, rest) = bytes.split_at(name);
        let (said, rest) = rest.split_at(value);
        bytes = rest;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        all.push((text(own), text(said)));
    }
    all
}

/// What an application is told of these fields beside these parameters.
fn told(fields: &[(&str, &str)], own: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut head = RequestHead::default();
    for (name, value) in fields {
        head.fields.push(name.as_bytes(), value.as_bytes());
    }
    let mut parameters = Box::<Fields>::default();
    for (name, value) in own {
        parameters.push(name.as_bytes(), value.as_bytes());
    }
    head.parameters = Some(parameters);
    pairs(&parameters::of(&head))
}

fn expect(told: &[(String, String)], expected: &[(&str, &str)]) {
    let told: Vec<_> = told.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(told, expected);
}

#[test]
fn fields_are_told_as_cgi_has_them() {
    let fields =
        [("Accept", "a"), ("x-own", "1"), ("Cookie", "a=1"), ("accept", "b"), ("cookie", "b")];
    expect(
        &told(&fields, &[("SCRIPT_NAME", "/a")]),
        &[
            ("SCRIPT_NAME", "/a"),
            ("CONTENT_LENGTH", ""),
            ("HTTP_ACCEPT", "a, b"),
            ("HTTP_X_OWN", "1"),
            ("HTTP_COOKIE", "a=1; b"),
        ],
    );
}

#[test]
fn no_field_stands_for_another() {
    let fields = [
        ("X_Real_Ip", "forged"),
        ("X-Real-IP", "192.0.2.1"),
        ("x-real_ip", "forged"),
        ("Proxy", "evil"),
        ("x.dot", "1"),
        ("under_score", "1"),
        ("x-mine", "client"),
    ];
    expect(
        &told(&fields, &[("HTTP_X_MINE", "ours")]),
        &[
            ("HTTP_X_MINE", "ours"),
            ("CONTENT_LENGTH", ""),
            ("HTTP_X_REAL_IP", "192.0.2.1"),
            ("HTTP_UNDER_SCORE", "1"),
        ],
    );
}

#[test]
fn long_values_and_lengths_are_told() {
    let long = "x".repeat(70_000);
    let told = told(&[("x-long", &long)], &[(&"N".repeat(127), "v"), (&"N".repeat(128), "v")]);
    assert_eq!(told.len(), 4);
    assert_eq!(told[3].1.len(), 70_000);
    let head = RequestHead { body: BodyLength::Exact(17), ..RequestHead::default() };
    expect(&pairs(&parameters::of(&head)), &[("CONTENT_LENGTH", "17")]);
}

#[test]
fn parameters_are_cut_into_records() {
    let mut queue = Vec::new();
    record::parameters(&mut queue, &vec![7; 70_000]);
    assert_eq!(queue.len(), 70_000 + 3 * record::HEADER);
    assert_eq!(queue[..8], [1, 4, 0, 1, 0xFF, 0xFF, 0, 0]);
    assert_eq!(queue[65_543..65_551], [1, 4, 0, 1, 0x11, 0x71, 0, 0]);
    assert_eq!(queue[queue.len() - 8..], [1, 4, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn headers_of_records_are_read_strictly() {
    let expected = Header { kind: Kind::Output, length: 258, padding: 3 };
    assert_eq!(Header::read([1, 6, 0, 1, 1, 2, 3, 0]), Ok(expected));
    for bad in [
        // Another version, another request, what only servers send, an end of another length.
        [2, 6, 0, 1, 1, 2, 3, 0],
        [1, 6, 0, 2, 1, 2, 3, 0],
        [1, 6, 1, 1, 1, 2, 3, 0],
        [1, 5, 0, 1, 1, 2, 3, 0],
        [1, 10, 0, 0, 0, 2, 0, 0],
        [1, 3, 0, 1, 0, 7, 0, 0],
        *b"HTTP/1.1",
    ] {
        assert_eq!(Header::read(bad), Err(BadRecord), "{bad:?}");
    }
    let endings = [0, 1, 2, 3, 9].map(|status| Ending::read([0, 0, 0, 5, status, 0, 0, 0]));
    let (refused, unfit) = (Ending::Refused, Ending::Unfit);
    assert_eq!(endings, [Ending::Complete, refused, refused, unfit, unfit]);
}

fn head(text: &str) -> Result<Option<(u16, BodyLength, usize)>, BadAnswer> {
    let mut head = ResponseHead::default();
    let length = answer::read(text.as_bytes(), &mut head, false)?;
    assert!(head.fields.get_named(b"status").is_none());
    assert!(!head.fields.contains(Known::TransferEncoding));
    Ok(length.map(|length| (head.status, head.body, length)))
}

#[test]
fn heads_are_read_as_by_nginx() {
    use BodyLength::{Exact, None as Nothing, Unknown};
    for (text, status, body) in [
        ("Content-Type: text/plain\r\n\r\nbody", 200, Unknown),
        ("Content-Type: text/plain\n\nbody", 200, Unknown),
        ("Status: 404 Not Found\r\nX: 1\r\n\r\n", 404, Unknown),
        ("Status: 404\r\n\r\n", 404, Unknown),
        ("Location: /x\r\n\r\n", 302, Unknown),
        ("status: 201\r\nLocation: /x\r\nContent-Length: 3\r\n\r\n", 201, Exact(3)),
        ("Status: 204 No Content\r\n\r\n", 204, Nothing),
        ("Transfer-Encoding: chunked\r\n\r\n", 200, Unknown),
    ] {
        let length =
            text.find("\n\r\n").map_or_else(|| text.find("\n\n").unwrap() + 2, |at| at + 3);
        assert_eq!(head(text), Ok(Some((status, body, length))), "{text}");
    }
    assert_eq!(head("Content-Type: text/pl"), Ok(None));
    assert_eq!(head(""), Ok(None));
}

#[test]
fn heads_that_are_none_are_refused() {
    for text in [
        "\r\n\r\n",
        "\n",
        "no field\r\n\r\n",
        " X: 1\r\n\r\n",
        "X: \0\r\n\r\n",
        "X: a\rb\r\n\r\n",
        "X\x01: 1\r\n\r\n",
        "Status: 20\r\n\r\n",
        "Status: 2000\r\n\r\n",
        "Status: OK\r\n\r\n",
        "Status: 100 Continue\r\n\r\n",
        "Status: 101 Switching Protocols\r\n\r\n",
        "Status: 200\r\nStatus: 404\r\n\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
    ] {
        assert_eq!(head(text), Err(BadAnswer), "{text:?}");
    }
}

proptest! {
    #[test]
    fn heads_of_any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut head = ResponseHead::default();
        if let Ok(Some(length)) = answer::read(&bytes, &mut head, false) {
            prop_assert!(length <= bytes.len() && (200..1000).contains(&head.status));
        }
    }
}
