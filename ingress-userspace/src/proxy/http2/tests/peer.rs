//! A client that writes raw frames to a connection, and reads its answers as text.

use std::{
    cell::RefCell,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use crate::proxy::{
    buffer::Buffer,
    http2::{
        Http2Stream, Setup,
        connection::Connection,
        frame::{self, Header, PREFACE, flag, kind},
        hpack::{self, Decoded, Decoder, Sink},
    },
    message::{BodyLength, Known, RequestHead, ResponseHead},
    sides::{ClientError, Downstream as _, Read},
};

/// A connection, and its client.
pub(super) struct Peer {
    pub(super) connection: Rc<RefCell<Connection>>,
    pub(super) setup: Rc<Setup>,
    decoder: Decoder,
    /// What the connection did not take of what was sent.
    rest: Vec<u8>,
}

/// One frame.
pub(super) fn f(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(&mut out, kind, flags, stream, payload);
    out
}

/// HEADERS of a whole block.
pub(super) fn headers(stream: u32, end: bool, block: &[u8]) -> Vec<u8> {
    let flags = flag::END_HEADERS | if end { flag::END_STREAM } else { 0 };
    f(kind::HEADERS, flags, stream, block)
}

/// DATA.
pub(super) fn data(stream: u32, end: bool, payload: &[u8]) -> Vec<u8> {
    f(kind::DATA, u8::from(end), stream, payload)
}

/// `/` by GET.
pub(super) fn get(stream: u32) -> Vec<u8> {
    headers(stream, true, &fields(&GET))
}

/// `/` by POST, with a body to come.
pub(super) fn post(stream: u32) -> Vec<u8> {
    headers(stream, false, &fields(&POST))
}

/// One setting.
pub(super) fn setting(setting: u16, value: u32) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_settings(&mut out, &[(setting, value)]);
    out
}

pub(super) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.example")];
pub(super) const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a.example")];

/// A block of literals.
pub(super) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        hpack::field(&mut out, Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
    }
    out
}

/// The fields of a block as text.
#[derive(Default)]
struct Lines(String);

impl Sink for Lines {
    fn field(&mut self, field: Decoded<'_>) {
        let (name, value) =
            (String::from_utf8_lossy(field.name), String::from_utf8_lossy(field.value));
        self.0.push_str(&format!(" {name}={value}"));
    }

    fn oversized(&mut self) {
        self.0.push_str(" (oversized)");
    }
}

impl Peer {
    /// One that has sent its preface and SETTINGS, and read ours.
    pub(super) fn new() -> Self {
        Self::of(Setup::for_tests())
    }

    pub(super) fn of(setup: Rc<Setup>) -> Self {
        let mut peer = Self::silent(setup);
        peer.send(PREFACE);
        peer.send(&f(kind::SETTINGS, 0, 0, &[]));
        peer.send(&f(kind::SETTINGS, flag::ACK, 0, &[]));
        peer.frames();
        peer
    }

    /// One that has sent nothing.
    pub(super) fn silent(setup: Rc<Setup>) -> Self {
        let connection = Rc::new(RefCell::new(Connection::new(&setup)));
        Self { connection, setup, decoder: Decoder::default(), rest: Vec::new() }
    }

    /// Sends bytes, in any pieces.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let taken = self.connection.borrow_mut().receive(&self.rest);
        self.rest.drain(..taken);
    }

    /// What the connection wrote since the last call, a line per frame.
    pub(super) fn frames(&mut self) -> Vec<String> {
        let bytes = {
            let mut connection = self.connection.borrow_mut();
            let output = connection.output();
            let bytes = output.pending().to_vec();
            output.wrote(bytes.len());
            connection.begin_turn();
            bytes
        };
        let mut rest = &bytes[..];
        let mut lines = Vec::new();
        let mut block = Vec::new();
        while let Some(header) = Header::parse(rest) {
            let (payload, behind) = rest[frame::HEADER..].split_at(header.length);
            lines.push(self.line(header, payload, &mut block));
            rest = behind;
        }
        assert!(rest.is_empty(), "a frame is cut off");
        lines
    }

    fn line(&mut self, header: Header, payload: &[u8], block: &mut Vec<u8>) -> String {
        let id = header.stream;
        let end = if header.has(flag::END_STREAM) { " end" } else { "" };
        let number = |at| frame::number(payload, at).unwrap_or_default();
        match header.kind {
            kind::DATA => format!("DATA {id} {}{end}", payload.len()),
            kind::HEADERS | kind::CONTINUATION => {
                block.extend_from_slice(payload);
                let name = if header.kind == kind::HEADERS { "HEADERS" } else { "CONTINUATION" };
                if !header.has(flag::END_HEADERS) {
                    return format!("{name} {id}{end} ...");
                }
                let mut lines = Lines::default();
                let whole = std::mem::take(block);
                self.decoder.decode(&whole, &mut lines).expect("we write sound blocks");
                let end = if header.kind == kind::HEADERS { end } else { "" };
                format!("{name} {id}{end}{}", lines.0)
            }
            kind::RST_STREAM => format!("RST_STREAM {id} {}", code(number(0))),
            kind::SETTINGS if header.has(flag::ACK) => "SETTINGS ack".to_owned(),
            kind::SETTINGS => format!("SETTINGS {}", payload.len() / 6),
            kind::PING if header.has(flag::ACK) => "PING ack".to_owned(),
            kind::PING => "PING".to_owned(),
            kind::GOAWAY => format!("GOAWAY {} {}", number(0), code(number(4))),
            kind::WINDOW_UPDATE => format!("WINDOW_UPDATE {id} {}", number(0)),
            other => format!("{other}?"),
        }
    }

    /// What the connection answers to this.
    pub(super) fn ask(&mut self, bytes: &[u8]) -> Vec<String> {
        self.send(bytes);
        self.frames()
    }

    /// The next request that came, and its stream.
    pub(super) fn request(&self) -> Option<(Box<RequestHead>, Http2Stream)> {
        let (key, head) = self.connection.borrow_mut().next_request()?;
        let stream = Http2Stream::new(Rc::clone(&self.connection), Rc::clone(&self.setup), key);
        Some((head, stream))
    }

    /// The stream of the next request, which is there.
    pub(super) fn stream(&self) -> Http2Stream {
        self.request().expect("a request came").1
    }
}

fn code(code: u32) -> &'static str {
    match code {
        0 => "NO_ERROR",
        1 => "PROTOCOL_ERROR",
        2 => "INTERNAL_ERROR",
        3 => "FLOW_CONTROL_ERROR",
        5 => "STREAM_CLOSED",
        6 => "FRAME_SIZE_ERROR",
        7 => "REFUSED_STREAM",
        8 => "CANCEL",
        9 => "COMPRESSION_ERROR",
        11 => "ENHANCE_YOUR_CALM",
        _ => "?",
    }
}

/// The head of an answer.
pub(super) fn answer(status: u16, body: BodyLength) -> ResponseHead {
    ResponseHead { status, body, ..ResponseHead::default() }
}

/// Polls with a waker that does nothing.
pub(super) fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Queues as much as is taken at once.
pub(super) fn write(stream: &mut Http2Stream, mut data: &[u8]) -> usize {
    let all = data.len();
    while !data.is_empty() {
        match stream.poll_write(&mut context(), data) {
            Poll::Ready(Ok(length)) => data = &data[length..],
            Poll::Ready(Err(error)) => panic!("{error:?}"),
            Poll::Pending => break,
        }
    }
    all - data.len()
}

/// Reads what is there of a body.
pub(super) fn read(stream: &mut Http2Stream, into: &mut Buffer) -> Poll<Result<Read, ClientError>> {
    loop {
        let outcome = stream.poll_body(&mut context(), into);
        if outcome != Poll::Ready(Ok(Read::Data)) || into.room().is_empty() {
            return outcome;
        }
    }
}
