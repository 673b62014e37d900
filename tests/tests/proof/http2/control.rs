//! Connection control and header blocks in pieces: RFC 9113, sections 6.5 to 6.10.

use super::{
    Answer, Case, Connection, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, Ignored, Outcome,
    PROTOCOL_ERROR, Stream,
    cases::{begun, data, rest, seq, set, window},
    frame::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, POST,
        PUSH_PROMISE, SETTINGS, WINDOW_UPDATE, block, frame, opening, request, settings,
    },
    row,
};

pub(super) fn control() -> Vec<Case> {
    let protocol: &[Outcome] = &[Connection(&[PROTOCOL_ERROR])];
    let size: &[Outcome] = &[Connection(&[FRAME_SIZE_ERROR])];
    let flow: &[Outcome] = &[Connection(&[FLOW_CONTROL_ERROR])];
    vec![
        row(
            "6.5 SETTINGS with ACK and a payload",
            frame(SETTINGS, ACK, 0, &settings(&[(1, 0)])),
            size,
        ),
        row("6.5 SETTINGS on a stream", frame(SETTINGS, 0, 1, &settings(&[(3, 100)])), protocol),
        row("6.5 SETTINGS of 3 octets", frame(SETTINGS, 0, 0, &[0, 3, 0]), size),
        row("6.5.2 ENABLE_PUSH 2", set(&[(2, 2)]), protocol),
        row("6.5.2 ENABLE_PUSH 0 and 1", seq(&[set(&[(2, 0)]), request(1, GET)]), &[Answer(200)]),
        row("6.5.2 INITIAL_WINDOW_SIZE above the most", set(&[(4, 0x8000_0000)]), flow),
        row("6.5.2 MAX_FRAME_SIZE below the least", set(&[(5, 16_383)]), protocol),
        row("6.5.2 MAX_FRAME_SIZE above the most", set(&[(5, 0x0100_0000)]), protocol),
        row("6.5.2 an unknown setting", set(&[(0x99, 1)]), &[Ignored]),
        row(
            "6.5.2 settings at their limits",
            seq(&[
                set(&[
                    (1, 0xffff_ffff),
                    (3, 0),
                    (4, 0x7fff_ffff),
                    (5, 0x00ff_ffff),
                    (6, 0xffff_ffff),
                ]),
                request(1, GET),
            ]),
            &[Answer(200)],
        ),
        // RFC 8441, section 3: only a server tells it, but a client may not take it back.
        row(
            "8441 ENABLE_CONNECT_PROTOCOL 2",
            set(&[(8, 2)]),
            &[Connection(&[PROTOCOL_ERROR]), Ignored],
        ),
        row("6.7 PING on a stream", frame(PING, 0, 1, b"on one.."), protocol),
        row("6.7 PING of 6 octets", frame(PING, 0, 0, b"short!"), size),
        row("6.7 PING of 9 octets", frame(PING, 0, 0, b"too long!"), size),
        row("6.7 PING with ACK is not answered", frame(PING, ACK, 0, b"nobody's"), &[Ignored]),
        row("6.8 GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), protocol),
        row("6.8 GOAWAY of 4 octets", frame(GOAWAY, 0, 0, &[0; 4]), size),
        row("6.9 WINDOW_UPDATE of 0 for the connection", window(0, 0), protocol),
        row(
            "6.9 WINDOW_UPDATE of 0 for a stream",
            seq(&[opening(1, POST), window(1, 0)]),
            &[Stream(&[PROTOCOL_ERROR])],
        ),
        row("6.9 WINDOW_UPDATE of 3 octets", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]), size),
        row(
            "6.9.1 a connection's window above the most",
            seq(&[window(0, 0x7fff_ffff), window(0, 0x7fff_ffff)]),
            flow,
        ),
        row(
            "6.9.1 a stream's window above the most",
            seq(&[opening(1, POST), window(1, 0x7fff_ffff), window(1, 0x7fff_ffff)]),
            &[Stream(&[FLOW_CONTROL_ERROR])],
        ),
        row(
            "6.9.2 a change of settings that takes a window above the most",
            seq(&[opening(1, POST), window(1, 0x7fff_ffff - 65_535), set(&[(4, 65_536)])]),
            &[Connection(&[FLOW_CONTROL_ERROR])],
        ),
        row(
            "6.6 PUSH_PROMISE from a client",
            seq(&[
                opening(1, POST),
                frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &block(GET)].concat()),
            ]),
            protocol,
        ),
    ]
}

pub(super) fn continuation() -> Vec<Case> {
    let protocol: &[Outcome] = &[Connection(&[PROTOCOL_ERROR])];
    let halves = block(GET);
    let (first, second) = halves.split_at(7);
    vec![
        row(
            "6.10 a header block in three",
            seq(&[begun(1, GET), rest(1, 0), rest(1, END_HEADERS)]),
            &[Answer(200)],
        ),
        row(
            "6.10 a field in two",
            seq(&[
                frame(HEADERS, END_STREAM, 1, first),
                frame(CONTINUATION, END_HEADERS, 1, second),
            ]),
            &[Answer(200)],
        ),
        row(
            "6.10 empty pieces",
            seq(&[
                begun(1, GET),
                frame(CONTINUATION, 0, 1, &[]),
                frame(CONTINUATION, END_HEADERS, 1, &[]),
            ]),
            &[Answer(200)],
        ),
        row(
            "6.10 a header block and then DATA",
            seq(&[frame(HEADERS, 0, 1, &block(POST)), data(1, 4)]),
            protocol,
        ),
        row("6.10 CONTINUATION on stream 0", seq(&[begun(1, GET), rest(0, END_HEADERS)]), protocol),
        row(
            "6.10 CONTINUATION of another stream",
            seq(&[begun(1, GET), rest(3, END_HEADERS)]),
            protocol,
        ),
        row(
            "6.10 CONTINUATION behind whole HEADERS",
            seq(&[opening(1, POST), rest(1, END_HEADERS)]),
            protocol,
        ),
        row(
            "6.10 CONTINUATION behind a whole block",
            seq(&[frame(HEADERS, 0, 1, &block(POST)), rest(1, END_HEADERS), rest(1, END_HEADERS)]),
            protocol,
        ),
        row(
            "6.10 CONTINUATION behind DATA",
            seq(&[opening(1, POST), frame(DATA, 0, 1, b"x"), rest(1, END_HEADERS)]),
            protocol,
        ),
    ]
}
