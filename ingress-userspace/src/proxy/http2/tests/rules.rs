//! What RFC 9113 asks of a server, by section.

use super::peer::*;
use crate::proxy::http2::{
    Setup,
    frame::{PREFACE, flag, kind, setting},
    stream::WINDOW,
};

/// Frames of a client that is settled, and what they are answered.
struct Case(&'static str, Vec<Vec<u8>>, &'static [&'static str]);

const CONNECTION_PROTOCOL: &[&str] = &["GOAWAY 0 PROTOCOL_ERROR"];
const CONNECTION_PROTOCOL_1: &[&str] = &["GOAWAY 1 PROTOCOL_ERROR"];
const STREAM_PROTOCOL: &[&str] = &["RST_STREAM 1 PROTOCOL_ERROR"];
const FRAME_SIZE: &[&str] = &["GOAWAY 0 FRAME_SIZE_ERROR"];

fn check(cases: Vec<Case>) {
    for Case(name, frames, expected) in cases {
        let mut peer = Peer::new();
        let whole = frames.concat();
        peer.send(&whole);
        assert_eq!(peer.frames(), expected, "{name}");
        // The same byte by byte.
        let mut peer = Peer::new();
        whole.chunks(1).for_each(|byte| peer.send(byte));
        assert_eq!(peer.frames(), expected, "{name}, byte by byte");
    }
}

fn request(more: &[(&str, &str)]) -> Vec<u8> {
    headers(1, true, &fields(&[&GET[..], more].concat()))
}

fn reset(stream: u32) -> Vec<u8> {
    f(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

fn window(stream: u32, increment: u32) -> Vec<u8> {
    f(kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes())
}

#[test]
fn section_3_4_preface() {
    let mut peer = Peer::silent(Setup::for_tests());
    assert_eq!(peer.frames(), ["SETTINGS 4", "WINDOW_UPDATE 0 983041"]);
    assert!(peer.ask(PREFACE).is_empty());
    assert_eq!(peer.ask(&f(kind::SETTINGS, 0, 0, &[])), ["SETTINGS ack"]);
    for start in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"[..], b"GET / HTTP/1.1\r\n"] {
        let mut peer = Peer::silent(Setup::for_tests());
        peer.frames();
        assert_eq!(peer.ask(start), CONNECTION_PROTOCOL, "an invalid preface");
    }
    for first in [get(1), f(kind::SETTINGS, flag::ACK, 0, &[]), f(kind::PING, 0, 0, &[0; 8])] {
        let mut peer = Peer::silent(Setup::for_tests());
        peer.frames();
        peer.send(PREFACE);
        assert_eq!(peer.ask(&first), CONNECTION_PROTOCOL, "another frame than SETTINGS first");
    }
}

#[test]
fn section_4_frames() {
    check(vec![
        Case("4.1 an unknown type", vec![f(0x16, 0xff, 0, b"x"), f(0x16, 0, 7, b"")], &[]),
        Case("4.1 unknown flags", vec![f(kind::PING, 0x16, 0, &[0; 8])], &["PING ack"]),
        Case("4.1 the reserved bit", vec![f(kind::PING, 0, 1 << 31, &[0; 8])], &["PING ack"]),
        Case("4.2 DATA of 2^14", vec![post(1), data(1, false, &[0; 16_384])], &[]),
        Case(
            "4.2 a longer DATA",
            vec![post(1), data(1, false, &[0; 16_385])],
            &["GOAWAY 1 FRAME_SIZE_ERROR"],
        ),
        Case("4.2 a longer HEADERS", vec![headers(1, true, &[0; 16_385])], FRAME_SIZE),
        Case(
            "4.3 a block that cannot be decoded",
            vec![headers(1, true, b"\x40")],
            &["GOAWAY 1 COMPRESSION_ERROR"],
        ),
        Case(
            "4.3 PRIORITY within a block",
            vec![
                f(kind::HEADERS, flag::END_STREAM, 1, &fields(&GET)),
                f(kind::PRIORITY, 0, 1, &[0; 5]),
            ],
            CONNECTION_PROTOCOL,
        ),
        Case(
            "4.3 HEADERS within a block",
            vec![f(kind::HEADERS, flag::END_STREAM, 1, &fields(&GET)), get(3)],
            CONNECTION_PROTOCOL,
        ),
        Case(
            "4.3 an unknown frame within a block",
            vec![f(kind::HEADERS, flag::END_STREAM, 1, &fields(&GET)), f(0x16, 0, 1, b"")],
            CONNECTION_PROTOCOL,
        ),
    ]);
}

#[test]
fn section_5_1_states() {
    let closed = |last: Vec<u8>| vec![post(1), reset(1), last];
    check(vec![
        Case("idle: DATA", vec![data(1, true, b"x")], CONNECTION_PROTOCOL),
        Case("idle: RST_STREAM", vec![reset(1)], CONNECTION_PROTOCOL),
        Case("idle: WINDOW_UPDATE", vec![window(1, 100)], CONNECTION_PROTOCOL),
        Case("idle: PRIORITY", vec![f(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 9])], &[]),
        Case("idle: CONTINUATION", vec![f(kind::CONTINUATION, 4, 1, &[])], CONNECTION_PROTOCOL),
        Case(
            "half-closed: DATA",
            vec![get(1), data(1, true, b"x")],
            &["RST_STREAM 1 STREAM_CLOSED"],
        ),
        Case("half-closed: HEADERS", vec![get(1), get(1)], &["RST_STREAM 1 STREAM_CLOSED"]),
        Case("half-closed: WINDOW_UPDATE", vec![get(1), window(1, 1)], &[]),
        Case("half-closed: PRIORITY", vec![get(1), f(kind::PRIORITY, 0, 1, &[0; 5])], &[]),
        Case("half-closed: RST_STREAM", vec![get(1), reset(1)], &[]),
        Case(
            "half-closed: CONTINUATION",
            vec![get(1), f(kind::CONTINUATION, 4, 1, &[])],
            CONNECTION_PROTOCOL_1,
        ),
        Case("closed: DATA", closed(data(1, true, b"x")), &["RST_STREAM 1 STREAM_CLOSED"]),
        Case("closed: HEADERS", closed(get(1)), &["GOAWAY 1 STREAM_CLOSED"]),
        Case("closed: WINDOW_UPDATE", closed(window(1, 1)), &[]),
        Case("closed: RST_STREAM", closed(reset(1)), &[]),
        Case("closed: PRIORITY", closed(f(kind::PRIORITY, 0, 1, &[0; 5])), &[]),
        Case(
            "closed: CONTINUATION",
            closed(f(kind::CONTINUATION, 4, 1, &[])),
            CONNECTION_PROTOCOL_1,
        ),
        Case("5.1.1 an even number", vec![get(2)], CONNECTION_PROTOCOL),
        Case("5.1.1 a smaller number", vec![get(5), get(3)], &["GOAWAY 5 PROTOCOL_ERROR"]),
        Case("5.1.1 a larger number", vec![get(1), get(2_147_483_647)], &[]),
    ]);
}

#[test]
fn section_5_3_priority() {
    check(vec![
        Case(
            "5.3.1 HEADERS that depends on itself",
            vec![f(kind::HEADERS, 0x25, 1, &[&[0, 0, 0, 1, 9], &fields(&GET)[..]].concat())],
            STREAM_PROTOCOL,
        ),
        Case(
            "5.3.1 PRIORITY that depends on itself",
            vec![post(1), f(kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 9])],
            STREAM_PROTOCOL,
        ),
        Case(
            "5.3.2 HEADERS with a priority",
            vec![f(kind::HEADERS, 0x25, 1, &[&[0x80, 0, 0, 3, 9], &fields(&GET)[..]].concat())],
            &[],
        ),
        Case(
            "5.3.2 HEADERS too short for one",
            vec![f(kind::HEADERS, 0x25, 1, &[0; 4])],
            FRAME_SIZE,
        ),
    ]);
}

#[test]
fn section_6_1_data() {
    check(vec![
        Case("of no stream", vec![data(0, true, b"x")], CONNECTION_PROTOCOL),
        Case("padded", vec![post(1), f(kind::DATA, 9, 1, &[2, b'x', 0, 0])], &[]),
        Case("padding only", vec![post(1), f(kind::DATA, 9, 1, &[0])], &[]),
        Case(
            "more padding than payload",
            vec![post(1), f(kind::DATA, 9, 1, &[3, b'x', 0])],
            CONNECTION_PROTOCOL_1,
        ),
        Case(
            "padded and empty",
            vec![post(1), f(kind::DATA, 9, 1, &[])],
            &["GOAWAY 1 FRAME_SIZE_ERROR"],
        ),
    ]);
}

#[test]
fn section_6_2_headers() {
    let padded = |length| {
        let payload = [&[length][..], &fields(&GET), &[0; 3]].concat();
        f(kind::HEADERS, 0x0d, 1, &payload)
    };
    check(vec![
        Case("of no stream", vec![get(0)], CONNECTION_PROTOCOL),
        Case("padded", vec![padded(3)], &[]),
        Case("more padding than payload", vec![padded(250)], CONNECTION_PROTOCOL),
    ]);
}

#[test]
fn section_6_3_and_6_4_priority_and_rst_stream() {
    check(vec![
        Case("PRIORITY of no stream", vec![f(kind::PRIORITY, 0, 0, &[0; 5])], CONNECTION_PROTOCOL),
        Case(
            "PRIORITY of a wrong length",
            vec![post(1), f(kind::PRIORITY, 0, 1, &[0; 4])],
            &["RST_STREAM 1 FRAME_SIZE_ERROR"],
        ),
        Case(
            "PRIORITY of a wrong length, idle",
            vec![f(kind::PRIORITY, 0, 1, &[0; 4])],
            FRAME_SIZE,
        ),
        Case("RST_STREAM of no stream", vec![reset(0)], CONNECTION_PROTOCOL),
        Case(
            "RST_STREAM of a wrong length",
            vec![post(1), f(kind::RST_STREAM, 0, 1, &[0; 3])],
            &["GOAWAY 1 FRAME_SIZE_ERROR"],
        ),
    ]);
}

#[test]
fn section_6_5_settings() {
    check(vec![
        Case("an acknowledgement with payload", vec![f(kind::SETTINGS, 1, 0, &[0; 6])], FRAME_SIZE),
        Case("of a stream", vec![f(kind::SETTINGS, 0, 1, &[])], CONNECTION_PROTOCOL),
        Case("of a wrong length", vec![f(kind::SETTINGS, 0, 0, &[0; 5])], FRAME_SIZE),
        Case("ENABLE_PUSH 2", vec![setting(setting::ENABLE_PUSH, 2)], CONNECTION_PROTOCOL),
        Case("ENABLE_PUSH 0", vec![setting(setting::ENABLE_PUSH, 0)], &["SETTINGS ack"]),
        Case(
            "INITIAL_WINDOW_SIZE 2^31",
            vec![setting(setting::INITIAL_WINDOW_SIZE, 1 << 31)],
            &["GOAWAY 0 FLOW_CONTROL_ERROR"],
        ),
        Case(
            "MAX_FRAME_SIZE 2^14-1",
            vec![setting(setting::MAX_FRAME_SIZE, 16_383)],
            CONNECTION_PROTOCOL,
        ),
        Case(
            "MAX_FRAME_SIZE 2^24",
            vec![setting(setting::MAX_FRAME_SIZE, 1 << 24)],
            CONNECTION_PROTOCOL,
        ),
        Case(
            "MAX_FRAME_SIZE 2^24-1",
            vec![setting(setting::MAX_FRAME_SIZE, (1 << 24) - 1)],
            &["SETTINGS ack"],
        ),
        Case("unknown", vec![setting(0xff, 1)], &["SETTINGS ack"]),
    ]);
}

#[test]
fn section_6_6_to_6_8_push_ping_and_goaway() {
    let goaway = |stream, payload: &[u8]| f(kind::GOAWAY, 0, stream, payload);
    check(vec![
        Case(
            "PUSH_PROMISE",
            vec![post(1), f(kind::PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])],
            CONNECTION_PROTOCOL_1,
        ),
        Case("PING", vec![f(kind::PING, 0, 0, b"12345678")], &["PING ack"]),
        Case("PING acknowledged", vec![f(kind::PING, 1, 0, b"12345678")], &[]),
        Case("PING of a stream", vec![f(kind::PING, 0, 1, &[0; 8])], CONNECTION_PROTOCOL),
        Case("PING of a wrong length", vec![f(kind::PING, 0, 0, &[0; 7])], FRAME_SIZE),
        Case("GOAWAY of a stream", vec![goaway(1, &[0; 8])], CONNECTION_PROTOCOL),
        Case("GOAWAY too short", vec![goaway(0, &[0; 7])], FRAME_SIZE),
        Case("7 GOAWAY of an unknown code", vec![goaway(0, &[0xff; 8])], &["GOAWAY 0 NO_ERROR"]),
        Case(
            "7 RST_STREAM of an unknown code",
            vec![post(1), f(kind::RST_STREAM, 0, 1, &[0xff; 4])],
            &[],
        ),
    ]);
}

#[test]
fn section_6_9_window_update() {
    check(vec![
        Case("0 of the connection", vec![window(0, 0)], CONNECTION_PROTOCOL),
        Case("0 of a stream", vec![post(1), window(1, 0)], STREAM_PROTOCOL),
        Case("of a wrong length", vec![f(kind::WINDOW_UPDATE, 0, 0, &[0; 3])], FRAME_SIZE),
        Case("6.9.1 beyond 2^31-1", vec![window(0, 0x7fff_ffff)], &["GOAWAY 0 FLOW_CONTROL_ERROR"]),
        Case(
            "6.9.1 beyond 2^31-1 of a stream",
            vec![post(1), window(1, 0x7fff_ffff)],
            &["RST_STREAM 1 FLOW_CONTROL_ERROR"],
        ),
        Case(
            "6.9.2 beyond 2^31-1 by SETTINGS",
            vec![
                post(1),
                window(1, 0x7fff_0000),
                setting(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff),
            ],
            &["GOAWAY 1 FLOW_CONTROL_ERROR"],
        ),
    ]);
}

#[test]
fn section_6_9_1_data_beyond_the_window() {
    let mut peer = Peer::new();
    peer.send(&post(1));
    let _stream = peer.stream();
    for _ in 0..WINDOW / 16_384 {
        assert!(peer.ask(&data(1, false, &[0; 16_384])).is_empty());
    }
    assert_eq!(peer.ask(&data(1, false, b"x")), ["RST_STREAM 1 FLOW_CONTROL_ERROR"]);
    let mut peer = Peer::new();
    let mut streams = Vec::new();
    for stream in 0..16 {
        peer.send(&post(2 * stream + 1));
        streams.push(peer.stream());
        for _ in 0..4 {
            assert!(peer.ask(&data(2 * stream + 1, false, &[0; 16_384])).is_empty());
        }
    }
    peer.send(&post(41));
    assert_eq!(peer.ask(&data(41, false, b"x")), ["GOAWAY 41 FLOW_CONTROL_ERROR"]);
}

#[test]
fn section_6_10_continuation() {
    let block = fields(&GET);
    let (start, end) = block.split_at(9);
    let begin = f(kind::HEADERS, flag::END_STREAM, 1, start);
    check(vec![
        Case(
            "several",
            vec![
                begin.clone(),
                f(kind::CONTINUATION, 0, 1, &end[..3]),
                f(kind::CONTINUATION, 0, 1, &[]),
                f(kind::CONTINUATION, 4, 1, &end[3..]),
            ],
            &[],
        ),
        Case(
            "of no stream",
            vec![begin.clone(), f(kind::CONTINUATION, 4, 0, end)],
            CONNECTION_PROTOCOL,
        ),
        Case(
            "of another stream",
            vec![begin, f(kind::CONTINUATION, 4, 3, end)],
            CONNECTION_PROTOCOL,
        ),
        Case(
            "behind a whole block",
            vec![get(1), f(kind::CONTINUATION, 4, 1, &[])],
            CONNECTION_PROTOCOL_1,
        ),
        Case(
            "behind DATA",
            vec![post(1), data(1, false, b"x"), f(kind::CONTINUATION, 4, 1, &[])],
            CONNECTION_PROTOCOL_1,
        ),
    ]);
    let mut peer = Peer::new();
    peer.send(&f(kind::HEADERS, flag::END_STREAM, 1, start));
    peer.send(&f(kind::CONTINUATION, 4, 1, end));
    assert_eq!(peer.request().expect("it came").0.authority, "a.example");
}

#[test]
fn section_8_1_messages() {
    let long = |more: Vec<u8>| {
        let block = fields(&[&POST[..], &[("content-length", "3")]].concat());
        vec![headers(1, false, &block), more]
    };
    let trailers = |end, more: &[(&str, &str)]| headers(1, end, &fields(more));
    check(vec![
        Case(
            "8.1 HEADERS that ends nothing",
            vec![post(1), trailers(false, &[("x", "y")])],
            STREAM_PROTOCOL,
        ),
        Case("8.1 trailers", vec![post(1), trailers(true, &[("x", "y")])], &[]),
        Case(
            "8.1 trailers behind the end",
            vec![get(1), trailers(true, &[("x", "y")])],
            &["RST_STREAM 1 STREAM_CLOSED"],
        ),
        Case(
            "8.1 a pseudo-field as trailer",
            vec![post(1), trailers(true, &[(":path", "/")])],
            STREAM_PROTOCOL,
        ),
        Case("8.1.1 less than Content-Length", long(data(1, true, b"xx")), STREAM_PROTOCOL),
        Case("8.1.1 more than Content-Length", long(data(1, true, b"xxxx")), STREAM_PROTOCOL),
        Case("8.1.1 less, then trailers", long(trailers(true, &[])), STREAM_PROTOCOL),
        Case("8.1.1 as much", long(data(1, true, b"xxx")), &[]),
        Case(
            "8.2.1 a capital",
            vec![headers(1, true, &[&fields(&GET)[..], b"\0\x01X\x01y"].concat())],
            STREAM_PROTOCOL,
        ),
        Case(
            "8.2.2 a connection-specific field",
            vec![request(&[("connection", "x")])],
            STREAM_PROTOCOL,
        ),
        Case("8.2.2 TE", vec![request(&[("te", "gzip")])], STREAM_PROTOCOL),
        Case("8.3 an unknown pseudo-field", vec![request(&[(":x", "y")])], STREAM_PROTOCOL),
        Case("8.3 one of answers", vec![request(&[(":status", "200")])], STREAM_PROTOCOL),
        Case(
            "8.3 one behind a field",
            vec![request(&[("x", "y"), (":path", "/")])],
            STREAM_PROTOCOL,
        ),
        Case("8.3.1 one twice", vec![request(&[(":path", "/")])], STREAM_PROTOCOL),
        Case(
            "8.3.1 one that is missing",
            vec![headers(1, true, &fields(&GET[..2]))],
            STREAM_PROTOCOL,
        ),
    ]);
}

#[test]
fn a_malformed_request_does_no_harm_to_the_next() {
    let mut peer = Peer::new();
    assert_eq!(peer.ask(&request(&[("connection", "x")])), STREAM_PROTOCOL);
    assert!(peer.request().is_none());
    peer.send(&get(3));
    assert!(peer.request().is_some());
}
