//! HTTP/2 frames and header blocks, written from RFC 9113 and RFC 7541 alone: nothing here is
//! shared with the agent, and everything can be written wrong on purpose.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, StreamOwned};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const WITH_PRIORITY: u8 = 0x20;

/// RFC 9113, section 3.4.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The payload of SETTINGS.
pub(super) fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let pair = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    pairs.iter().flat_map(pair).collect()
}

/// A literal field without indexing and without Huffman code (RFC 7541, section 6.2.2).
pub(super) fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &string(name.as_bytes()), &string(value.as_bytes())].concat()
}

/// A literal field that is added to the table (RFC 7541, section 6.2.1).
pub(super) fn indexed_literal(name: &str, value: &str) -> Vec<u8> {
    [&[0x40][..], &string(name.as_bytes()), &string(value.as_bytes())].concat()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&integer(0, 7, bytes.len())[..], bytes].concat()
}

/// An integer behind a prefix (RFC 7541, section 5.1).
pub(super) fn integer(first: u8, prefix: u32, value: usize) -> Vec<u8> {
    let most = (1usize << prefix) - 1;
    if value < most {
        return vec![first | value as u8];
    }
    let (mut bytes, mut rest) = (vec![first | most as u8], value - most);
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}

/// A header block of these fields.
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// What every GET begins with.
pub(super) const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/p"), (":authority", "a.test")];
/// What every POST begins with.
pub(super) const POST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "http"), (":path", "/p"), (":authority", "a.test")];

/// A HEADERS frame that ends the stream.
pub(super) fn request(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields))
}

/// A HEADERS frame with a body to follow.
pub(super) fn opening(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(fields))
}

/// A frame that came.
#[derive(Clone, Debug)]
pub(super) struct Got {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Got {
    /// The error code of RST_STREAM and GOAWAY.
    pub(super) fn code(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().ok()?))
    }

    /// The status that HEADERS begin with: its field comes first, and the peer was told to keep no
    /// table, so that it is an index or a literal by an index of the static table.
    pub(super) fn status(&self) -> Option<u16> {
        if self.kind != HEADERS {
            return None;
        }
        let padding = usize::from(self.flags & PADDED != 0)
            + if self.flags & WITH_PRIORITY != 0 { 5 } else { 0 };
        let mut block = self.payload.get(padding..)?;
        // A change of the table's size may come before.
        while block.first()? & 0xe0 == 0x20 {
            let mut length = 1;
            if block[0] & 0x1f == 0x1f {
                while block.get(length)? & 0x80 != 0 {
                    length += 1;
                }
                length += 1;
            }
            block = block.get(length..)?;
        }
        let first = *block.first()?;
        if first & 0x80 != 0 {
            return [200, 204, 206, 304, 400, 404, 500]
                .get(usize::from(first & 0x7f).checked_sub(8)?)
                .copied();
        }
        let length = *block.get(1)?;
        let text = block.get(2..2 + usize::from(length & 0x7f))?;
        if length & 0x80 == 0 {
            return String::from_utf8_lossy(text).parse().ok();
        }
        huffman_digits(text)
    }
}

/// A number of three digits in the Huffman code of RFC 7541, appendix B.
fn huffman_digits(bytes: &[u8]) -> Option<u16> {
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let mut number = 0;
    for _ in 0..3 {
        let mut code = 0u16;
        for _ in 0..5 {
            code = code << 1 | u16::from(bits.next()?);
        }
        // 0, 1 and 2 have five bits, 3 (011001) to 9 (011111) have six.
        let digit = if code < 3 { code } else { (code << 1 | u16::from(bits.next()?)) - 22 };
        number = number * 10 + digit;
    }
    Some(number)
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection on which every byte is the test's.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    socket: TcpStream,
    buffer: Vec<u8>,
    ended: bool,
}

impl Wire {
    /// In clear or over TLS.
    pub(super) fn open(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Self {
        let socket = TcpStream::connect(address).expect("it listens");
        socket.set_nodelay(true).expect("a TCP socket");
        socket.set_write_timeout(Some(Duration::from_secs(10))).expect("a TCP socket");
        let own = socket.try_clone().expect("a second handle");
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(own),
            Some(config) => {
                let name = "a.test".try_into().expect("a name");
                let tls = ClientConnection::new(Arc::clone(config), name).expect("a client");
                Box::new(StreamOwned::new(tls, own))
            }
        };
        Self { stream, socket, buffer: Vec::new(), ended: false }
    }

    /// The same after the preface, with our settings sent: no table, and these.
    pub(super) fn greeted(
        address: SocketAddr,
        tls: Option<&Arc<ClientConfig>>,
        more: &[(u16, u32)],
    ) -> Self {
        let mut wire = Self::open(address, tls);
        let own = [&[(1, 0)], more].concat();
        wire.send(&[PREFACE, &frame(SETTINGS, 0, 0, &settings(&own))].concat());
        wire
    }

    /// How long sending waits for the other side to read.
    pub(super) fn patience(&self, limit: Duration) {
        self.socket.set_write_timeout(Some(limit)).expect("a TCP socket");
    }

    /// Sends bytes; false if the other side has ended the connection.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    /// The next frame; `None` at the end of the connection or when none comes in time.
    pub(super) fn next(&mut self, limit: Duration) -> Option<Got> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(got) = self.buffered() {
                return Some(got);
            }
            if self.ended {
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.socket.set_read_timeout(Some(left)).expect("a TCP socket");
            let mut bytes = [0; 32768];
            match self.stream.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(length) => self.buffer.extend_from_slice(&bytes[..length]),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return None,
                    io::ErrorKind::Interrupted => {}
                    _ => self.ended = true,
                },
            }
        }
    }

    fn buffered(&mut self) -> Option<Got> {
        let head: [u8; 9] = self.buffer.get(..9)?.try_into().ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = self.buffer.get(9..9 + length)?.to_vec();
        self.buffer.drain(..9 + length);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Some(Got { kind: head[3], flags: head[4], stream, payload })
    }

    /// Whether the other side has ended the connection.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Bytes that are no frame, at the end.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer
    }
}
