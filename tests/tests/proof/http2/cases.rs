//! Frames and streams: RFC 9113, sections 3.4 to 6.4, as h2spec orders them.

use super::{
    Answer, COMPRESSION_ERROR, Case, Connection, FRAME_SIZE_ERROR, Ignored, PROTOCOL_ERROR,
    REFUSED_STREAM, Refusal, STREAM_CLOSED, Stream, bare,
    frame::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PADDED, PING, POST,
        PREFACE, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block, frame,
        literal, opening, request, settings,
    },
    greeting, row, unfinished,
};

pub(super) fn seq(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

pub(super) fn data(stream: u32, length: usize) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, &vec![b'x'; length])
}

pub(super) fn window(stream: u32, size: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &size.to_be_bytes())
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

pub(super) fn set(pairs: &[(u16, u32)]) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &settings(pairs))
}

/// A header block in pieces: HEADERS with `END_STREAM` but without `END_HEADERS`.
pub(super) fn begun(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM, stream, &block(fields))
}

pub(super) fn rest(stream: u32, flags: u8) -> Vec<u8> {
    frame(CONTINUATION, flags, stream, &literal("x-rest", "1"))
}

/// Rows of sections 3 to 7.
pub(super) fn all() -> Vec<Case> {
    [
        preface(),
        framing(),
        states(),
        errors(),
        data_and_headers(),
        super::control::control(),
        super::control::continuation(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn preface() -> Vec<Case> {
    let protocol: &[super::Outcome] = &[Connection(&[PROTOCOL_ERROR])];
    vec![
        bare("3.4 preface, settings, request", seq(&[greeting(), request(1, GET)]), &[Answer(200)]),
        bare(
            "3.4 a request before the answer to our settings",
            seq(&[PREFACE.to_vec(), set(&[(3, 100), (4, 65_535)]), request(1, GET)]),
            &[Answer(200)],
        ),
        bare(
            "3.4 no settings behind the preface",
            seq(&[PREFACE.to_vec(), request(1, GET)]),
            protocol,
        ),
        bare("3.4 PING before settings", PREFACE.to_vec(), protocol),
        // Whatever it is, it is not served: HTTP/1.1's 400, GOAWAY or the end.
        bare(
            "3.4 a preface gone wrong",
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
            protocol,
        ),
        bare(
            "3.4 a preface with a wrong last byte",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r\0\0\0\x04\0\0\0\0\0".to_vec(),
            protocol,
        ),
        bare(
            "3.4 settings with ACK as the first frame",
            seq(&[PREFACE.to_vec(), frame(SETTINGS, ACK, 0, &[])]),
            &[Connection(&[PROTOCOL_ERROR]), Ignored],
        ),
    ]
}

fn framing() -> Vec<Case> {
    let size: &[super::Outcome] = &[Connection(&[FRAME_SIZE_ERROR])];
    let fields = block(GET);
    vec![
        row("4.1 a frame of an unknown type", frame(0x16, 0xff, 0, b"unknown"), &[Ignored]),
        row(
            "4.1 a frame of an unknown type on an idle stream",
            frame(0x16, 0, 1, b"unknown"),
            &[Ignored],
        ),
        row("4.1 undefined flags", frame(PING, 0x16, 0, b"flagged!"), &[Ignored]),
        row("4.1 the reserved bit", frame(PING, 0, 0x8000_0000, b"reserved"), &[Ignored]),
        row(
            "4.1 the reserved bit of a request",
            frame(HEADERS, END_STREAM | END_HEADERS, 0x8000_0001, &fields),
            &[Answer(200)],
        ),
        row("4.2 DATA of 16384 octets", seq(&[opening(1, POST), data(1, 16_384)]), &[Answer(200)]),
        row(
            "4.2 DATA of 16385 octets",
            seq(&[opening(1, POST), data(1, 16_385)]),
            &[Stream(&[FRAME_SIZE_ERROR])],
        ),
        row(
            "4.2 HEADERS of 16385 octets",
            frame(
                HEADERS,
                END_STREAM | END_HEADERS,
                1,
                &[block(GET), literal("x", &"y".repeat(16_385))].concat()[..16_385],
            ),
            size,
        ),
        unfinished(
            "4.2 a length of 2^24-1",
            seq(&[opening(1, POST), vec![0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]]),
            &[Stream(&[FRAME_SIZE_ERROR])],
        ),
        row("4.2 SETTINGS of 16386 octets", set(&vec![(0x99, 1); 2731]), size),
        row(
            "4.3 a broken header block",
            frame(
                HEADERS,
                END_STREAM | END_HEADERS,
                1,
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            ),
            &[Connection(&[COMPRESSION_ERROR])],
        ),
        row(
            "4.3 PRIORITY within a header block",
            seq(&[begun(1, GET), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 255]), rest(1, END_HEADERS)]),
            &[Connection(&[PROTOCOL_ERROR])],
        ),
        row(
            "4.3 HEADERS of another stream within a header block",
            seq(&[begun(1, GET), request(3, GET)]),
            &[Connection(&[PROTOCOL_ERROR])],
        ),
        row(
            "4.3 an empty header block",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[]),
            &[Stream(&[PROTOCOL_ERROR]), Refusal],
        ),
    ]
}

fn states() -> Vec<Case> {
    let protocol: &[super::Outcome] = &[Connection(&[PROTOCOL_ERROR])];
    let closed: &[super::Outcome] = &[Stream(&[STREAM_CLOSED])];
    // RFC 9113, section 5.1: frames that the other side may not have seen the end of are ignored for a
    // while.
    let closed_or_late: &[super::Outcome] = &[Stream(&[STREAM_CLOSED, PROTOCOL_ERROR]), Ignored];
    let ended = || request(1, GET);
    vec![
        row("5.1 idle: DATA", data(1, 4), &[Connection(&[PROTOCOL_ERROR, STREAM_CLOSED])]),
        row("5.1 idle: RST_STREAM", reset(1), protocol),
        row("5.1 idle: WINDOW_UPDATE", window(1, 100), protocol),
        row("5.1 idle: CONTINUATION", rest(1, END_HEADERS), protocol),
        row("5.1 half closed: DATA", seq(&[ended(), data(1, 4)]), closed),
        row(
            "5.1 half closed: HEADERS",
            seq(&[ended(), request(1, GET)]),
            &[Stream(&[STREAM_CLOSED, PROTOCOL_ERROR])],
        ),
        row(
            "5.1 half closed: CONTINUATION",
            seq(&[ended(), rest(1, END_HEADERS)]),
            &[Connection(&[PROTOCOL_ERROR, STREAM_CLOSED])],
        ),
        row("5.1 half closed: WINDOW_UPDATE", seq(&[ended(), window(1, 100)]), &[Answer(200)]),
        row(
            "5.1 half closed: PRIORITY",
            seq(&[ended(), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])]),
            &[Answer(200)],
        ),
        row("5.1 reset: DATA", seq(&[opening(1, POST), reset(1), data(1, 4)]), closed_or_late),
        row(
            "5.1 reset: HEADERS",
            seq(&[opening(1, POST), reset(1), request(1, GET)]),
            &[Stream(&[STREAM_CLOSED, PROTOCOL_ERROR])],
        ),
        row(
            "5.1 reset: CONTINUATION",
            seq(&[opening(1, POST), reset(1), rest(1, END_HEADERS)]),
            &[Connection(&[PROTOCOL_ERROR, STREAM_CLOSED])],
        ),
        row(
            "5.1 reset: PRIORITY",
            seq(&[opening(1, POST), reset(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])]),
            &[Ignored],
        ),
        row(
            "5.1 reset: WINDOW_UPDATE",
            seq(&[opening(1, POST), reset(1), window(1, 100)]),
            &[Ignored],
        ),
        row("5.1 reset: RST_STREAM", seq(&[opening(1, POST), reset(1), reset(1)]), &[Ignored]),
        row("5.1.1 an even stream", request(2, GET), protocol),
        row(
            "5.1.1 a stream below the last",
            seq(&[request(5, GET), request(3, GET)]),
            &[Connection(&[PROTOCOL_ERROR, STREAM_CLOSED])],
        ),
        row("5.1.1 streams may be left out", seq(&[request(101, GET)]), &[Answer(200)]),
        row("5.1.1 the last stream number", seq(&[request(0x7fff_ffff, GET)]), &[Answer(200)]),
        // The agent allows 128 (reference section 5.4); a thousand is over any limit it may tell.
        row(
            "5.1.2 more streams than are allowed",
            (0..1000).flat_map(|n| opening(2 * n + 1, POST)).collect(),
            &[Stream(&[REFUSED_STREAM, PROTOCOL_ERROR, super::ENHANCE_YOUR_CALM])],
        ),
        // RFC 7540's error; RFC 9113 has no priorities any more.
        row(
            "5.3.1 HEADERS that depend on themselves",
            frame(
                HEADERS,
                END_STREAM | END_HEADERS | WITH_PRIORITY,
                1,
                &[&[0, 0, 0, 1, 9][..], &block(GET)].concat(),
            ),
            &[Stream(&[PROTOCOL_ERROR]), Answer(200)],
        ),
        row(
            "5.3.1 PRIORITY that depends on itself",
            frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 9]),
            &[Stream(&[PROTOCOL_ERROR]), Ignored],
        ),
    ]
}

fn errors() -> Vec<Case> {
    vec![
        row(
            "5.4.1 an invalid PING ends the connection",
            frame(PING, 0, 0, b"short"),
            &[Connection(&[FRAME_SIZE_ERROR])],
        ),
        row(
            "5.5 an unknown frame within a header block",
            seq(&[begun(1, GET), frame(0x16, 0, 0, b"x"), rest(1, END_HEADERS)]),
            &[Connection(&[PROTOCOL_ERROR])],
        ),
        row(
            "7 GOAWAY with an unknown code",
            frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff]),
            &[Ignored, Connection(&[super::NO_ERROR])],
        ),
        row(
            "7 RST_STREAM with an unknown code",
            seq(&[opening(1, POST), frame(RST_STREAM, 0, 1, &[0, 0, 0, 0xff])]),
            &[Ignored],
        ),
    ]
}

fn data_and_headers() -> Vec<Case> {
    let protocol: &[super::Outcome] = &[Connection(&[PROTOCOL_ERROR])];
    let padded = |pad: u8, body: &[u8], zeros: usize| [&[pad][..], body, &vec![0; zeros]].concat();
    vec![
        row("6.1 DATA on stream 0", data(0, 4), protocol),
        row(
            "6.1 padded DATA",
            seq(&[opening(1, POST), frame(DATA, END_STREAM | PADDED, 1, &padded(6, b"hello", 6))]),
            &[Answer(200)],
        ),
        row(
            "6.1 DATA that is all padding",
            seq(&[opening(1, POST), frame(DATA, END_STREAM | PADDED, 1, &padded(6, b"", 6))]),
            &[Answer(200)],
        ),
        row(
            "6.1 DATA with padding as long as the frame",
            seq(&[opening(1, POST), frame(DATA, END_STREAM | PADDED, 1, &padded(6, b"hello", 0))]),
            protocol,
        ),
        row(
            "6.1 padded DATA without a length",
            seq(&[opening(1, POST), frame(DATA, END_STREAM | PADDED, 1, &[])]),
            &[Connection(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR])],
        ),
        row(
            "6.1 DATA without content",
            seq(&[opening(1, POST), frame(DATA, 0, 1, &[]), data(1, 0)]),
            &[Answer(200)],
        ),
        row(
            "6.2 padded HEADERS",
            frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, &padded(6, &block(GET), 6)),
            &[Answer(200)],
        ),
        row(
            "6.2 padded HEADERS with a priority",
            frame(
                HEADERS,
                END_STREAM | END_HEADERS | PADDED | WITH_PRIORITY,
                1,
                &padded(6, &[&[0, 0, 0, 0, 9][..], &block(GET)].concat(), 6),
            ),
            &[Answer(200)],
        ),
        row(
            "6.2 HEADERS with a priority",
            frame(
                HEADERS,
                END_STREAM | END_HEADERS | WITH_PRIORITY,
                1,
                &[&[0x80, 0, 0, 0, 9][..], &block(GET)].concat(),
            ),
            &[Answer(200)],
        ),
        row("6.2 HEADERS on stream 0", request(0, GET), protocol),
        row(
            "6.2 HEADERS with padding as long as the frame",
            frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, &padded(255, &block(GET), 0)),
            protocol,
        ),
        row(
            "6.2 HEADERS too short for their priority",
            frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, &[0, 0]),
            &[Connection(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR])],
        ),
        row(
            "6.2 unknown flags of HEADERS",
            frame(HEADERS, END_STREAM | END_HEADERS | 0x12, 1, &block(GET)),
            &[Answer(200)],
        ),
        row("6.3 PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9]), &[Ignored]),
        row("6.3 PRIORITY on stream 0", frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 9]), protocol),
        row(
            "6.3 PRIORITY of 4 octets",
            seq(&[opening(1, POST), frame(PRIORITY, 0, 1, &[0, 0, 0, 0])]),
            &[Stream(&[FRAME_SIZE_ERROR])],
        ),
        row("6.4 RST_STREAM on stream 0", reset(0), protocol),
        row(
            "6.4 RST_STREAM of 3 octets",
            seq(&[opening(1, POST), frame(RST_STREAM, 0, 1, &[0, 0, 0])]),
            &[Connection(&[FRAME_SIZE_ERROR])],
        ),
    ]
}
