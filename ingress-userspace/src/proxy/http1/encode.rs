//! The framing of bodies that are written (RFC 9112, sections 6 and 7).

use std::io::Write as _;

use crate::proxy::message::{BodyLength, Fields};

/// How a body is framed, and where in it the writer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoder {
    /// There is none, or it has ended.
    Ended,
    /// So many bytes are to come.
    Length(u64),
    /// Chunks; so many bytes of the present one are to come.
    Chunked(u64),
    /// Bytes until the connection is closed, or those of a tunnel.
    Raw,
}

impl Encoder {
    /// The framing of a body of this length whose reader knows chunks; queues the field that says
    /// it.
    pub(super) fn announce(body: BodyLength, queue: &mut Vec<u8>) -> Self {
        match body {
            BodyLength::None => Self::Ended,
            BodyLength::Exact(length) => {
                content_length(queue, length);
                Self::Length(length)
            }
            BodyLength::Unknown => {
                queue.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                Self::Chunked(0)
            }
        }
    }

    /// How many of `length` bytes can be written next; queues what must precede them. 0 of a body
    /// that is complete: what is beyond its length is not written.
    pub(crate) fn admit(&mut self, length: usize, queue: &mut Vec<u8>) -> usize {
        match self {
            Self::Ended => 0,
            Self::Length(left) => usize::try_from(*left).map_or(length, |left| left.min(length)),
            Self::Chunked(0) if length == 0 => 0,
            Self::Chunked(left) => {
                if *left == 0 {
                    *left = length as u64;
                    // Writing to a vector cannot fail.
                    let _infallible = write!(queue, "{length:x}\r\n");
                }
                usize::try_from(*left).map_or(length, |left| left.min(length))
            }
            Self::Raw => length,
        }
    }

    /// So many of the bytes that were admitted are written or queued.
    pub(crate) fn wrote(&mut self, length: usize, queue: &mut Vec<u8>) {
        let length = length as u64;
        match self {
            Self::Length(left) => *left = left.saturating_sub(length),
            Self::Chunked(left) if length > 0 => {
                *left = left.saturating_sub(length);
                if *left == 0 {
                    queue.extend_from_slice(b"\r\n");
                }
            }
            Self::Ended | Self::Chunked(_) | Self::Raw => {}
        }
    }

    /// Ends the body. False: it is shorter than announced.
    pub(crate) fn finish(&mut self, trailers: Option<&Fields>, queue: &mut Vec<u8>) -> bool {
        let whole = match self {
            Self::Ended | Self::Raw | Self::Length(0) => true,
            Self::Length(_) => false,
            Self::Chunked(left) => {
                queue.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers {
                    trailers.write(queue);
                }
                queue.extend_from_slice(b"\r\n");
                *left == 0
            }
        };
        *self = Self::Ended;
        whole
    }
}

/// Appends `Content-Length`.
pub(super) fn content_length(queue: &mut Vec<u8>, length: u64) {
    queue.extend_from_slice(b"Content-Length: ");
    push_number(queue, length);
    queue.extend_from_slice(b"\r\n");
}

/// Appends a number in decimal digits.
pub(in crate::proxy) fn push_number(queue: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        // A digit is below 10.
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    queue.extend_from_slice(digits.get(at..).unwrap_or_default());
}
