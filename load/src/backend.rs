//! The backend: one thread, answers out of constants. Reads of a request no more than it must know:
//! the proxies in front of it are what is measured, and they write HTTP that is well formed.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::Result;
use slab::Slab;

use crate::poll::{Interest, Poll, listen};

/// The accept key that RFC 6455 section 1.3 gives for the key of its example, which is the one that
/// our client sends.
pub(crate) const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The number that stands for the listener.
const LISTENER: usize = usize::MAX;

/// Answers until it is killed.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    let listener = listen(address)?;
    let mut poll = Poll::new()?;
    poll.add(&listener, LISTENER, Interest::Read)?;
    let answers = Answers { small: answer(1024), large: answer(1 << 20) };
    let mut connections: Slab<Connection<'_>> = Slab::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut ready = Vec::new();
    loop {
        poll.wait(None, &mut ready)?;
        for &token in &ready {
            if token == LISTENER {
                if let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let entry = connections.vacant_entry();
                    poll.add(&stream, entry.key(), Interest::Read)?;
                    entry.insert(Connection::new(stream));
                }
                continue;
            }
            let Some(connection) = connections.get_mut(token) else { continue };
            match connection.turn(&answers, &mut buffer) {
                Ok(interest) if interest == connection.interest => {}
                Ok(interest) => {
                    connection.interest = interest;
                    poll.change(&connection.stream, token, interest)?;
                }
                // Closing takes it out of epoll.
                Err(_gone) => drop(connections.remove(token)),
            }
        }
    }
}

/// The answers, whole.
struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
}

fn answer(length: usize) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nServer: backend\r\nContent-Type: text/plain\r\n\
         Content-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    answer.resize(answer.len() + length, b'x');
    answer
}

/// A connection of the proxy's.
struct Connection<'a> {
    stream: TcpStream,
    /// Bytes of a head that has not come whole.
    head: Vec<u8>,
    body: Body,
    /// What is to be written.
    output: VecDeque<&'a [u8]>,
    interest: Interest,
}

/// What follows of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// Nothing: the next thing is a head.
    None,
    /// So many bytes.
    Length(usize),
    /// Chunks; with the last bytes that came.
    Chunked([u8; 5]),
    /// WebSocket frames, for ever.
    Frames,
}

/// How a chunked body ends that has no trailers. Bodies are made of `x`, which this is not in.
const LAST_CHUNK: [u8; 5] = *b"0\r\n\r\n";

/// The connection has ended.
struct Gone;

impl<'a> Connection<'a> {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            head: Vec::new(),
            body: Body::None,
            output: VecDeque::new(),
            interest: Interest::Read,
        }
    }

    /// Does what can be done without waiting, and says what to wait for.
    fn turn(&mut self, answers: &'a Answers, buffer: &mut [u8]) -> Result<Interest, Gone> {
        if self.interest == Interest::Read {
            match self.stream.read(buffer) {
                Ok(0) => return Err(Gone),
                Ok(count) => self.take(buffer.get(..count).ok_or(Gone)?, answers)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Err(Gone),
            }
        }
        while let Some(bytes) = self.output.front_mut() {
            match self.stream.write(bytes) {
                Ok(count) if count == bytes.len() => drop(self.output.pop_front()),
                Ok(count) => *bytes = bytes.get(count..).ok_or(Gone)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Interest::Write),
                Err(_) => return Err(Gone),
            }
        }
        Ok(Interest::Read)
    }

    fn take(&mut self, mut bytes: &[u8], answers: &'a Answers) -> Result<(), Gone> {
        while !bytes.is_empty() {
            match &mut self.body {
                Body::None => {
                    let seen = self.head.len();
                    self.head.extend_from_slice(bytes);
                    let Some(end) = end_of_head(&self.head) else { return Ok(()) };
                    bytes = bytes.get(end.saturating_sub(seen)..).ok_or(Gone)?;
                    self.head.truncate(end);
                    self.begin(answers);
                    self.head.clear();
                }
                Body::Length(left) => {
                    let now = bytes.len().min(*left);
                    *left -= now;
                    bytes = bytes.get(now..).ok_or(Gone)?;
                    if *left == 0 {
                        self.finish(answers);
                    }
                }
                Body::Chunked(last) => {
                    for byte in bytes.iter().rev().take(5).rev() {
                        last.rotate_left(1);
                        last[4] = *byte;
                    }
                    bytes = &[];
                    if *last == LAST_CHUNK {
                        self.finish(answers);
                    }
                }
                Body::Frames => bytes = &[],
            }
        }
        Ok(())
    }

    /// The head is whole.
    fn begin(&mut self, answers: &'a Answers) {
        if value(&self.head, "upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
        {
            self.body = Body::Frames;
            self.output.push_back(SWITCHING);
            return;
        }
        if value(&self.head, "transfer-encoding").is_some() {
            self.body = Body::Chunked([0; 5]);
            return;
        }
        match value(&self.head, "content-length").and_then(|value| value.parse().ok()) {
            Some(length) if length > 0 => self.body = Body::Length(length),
            _ if self.head.starts_with(b"GET /1m ") => self.output.push_back(&answers.large),
            _ => self.output.push_back(&answers.small),
        }
    }

    /// The body is whole.
    fn finish(&mut self, answers: &'a Answers) {
        self.body = Body::None;
        self.output.push_back(&answers.small);
    }
}

/// Where the head ends, after its empty line.
pub(crate) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The value of the header with this name, in lower case, in a head that is whole.
pub(crate) fn value<'h>(head: &'h [u8], name: &str) -> Option<&'h str> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (found, rest) = line.split_at_checked(name.len())?;
        let value = rest.strip_prefix(b":")?;
        found.eq_ignore_ascii_case(name.as_bytes()).then_some(())?;
        str::from_utf8(value).ok().map(str::trim)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_whatever_their_case() {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-LENGTH: 12 \r\n\r\n";
        assert_eq!(value(head, "content-length"), Some("12"));
        assert_eq!(value(head, "length"), None);
        assert_eq!(end_of_head(head), Some(head.len()));
        assert_eq!(end_of_head(&head[..head.len() - 1]), None);
    }

    #[test]
    fn every_request_is_answered_however_it_is_cut() {
        let answers = Answers { small: answer(1024), large: answer(4096) };
        let requests = b"GET / HTTP/1.1\r\n\r\nGET /1m HTTP/1.1\r\n\r\n\
            POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\nxxxxxxx\
            POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxxx\r\n0\r\n\r\n";
        for size in [1, 2, 7, 40] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut connection = Connection::new(stream);
            for piece in requests.chunks(size) {
                connection.take(piece, &answers).ok().unwrap();
            }
            let lengths: Vec<usize> = connection.output.iter().map(|answer| answer.len()).collect();
            let (small, large) = (answers.small.len(), answers.large.len());
            assert_eq!(lengths, [small, large, small, small], "cut in pieces of {size}");
            assert_eq!(connection.body, Body::None);
        }
    }
}
