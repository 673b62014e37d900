//! Where a body ends, and what of its bytes is content (RFC 9112, sections 6 and 7).

use crate::proxy::{
    buffer::Buffer,
    message::{BodyLength, Fields, Known},
};

use super::parse;

/// The longest line of a chunked body: a size with extensions, or a trailer. Bytes.
const LINE: usize = 4096;
/// All trailers of a body. Bytes.
const TRAILERS: usize = 16 * 1024;
/// Bytes of chunk headers that may come beyond the content and what every chunk may have: a client
/// that sends a byte per chunk with long extensions is not worth its work.
const OVERHEAD: u64 = 16 * 1024;
/// The header of a chunk may be that long however small the chunk is: an answer that sends a byte now
/// and then goes on for hours. Bytes.
const HEADER: u64 = 18;

/// The framing breaks its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadBody;

/// What is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoder {
    /// Nothing.
    Ended,
    /// So many bytes; never 0.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// Everything until the connection ends.
    UntilClose,
}

/// The place in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunked {
    place: Place,
    /// Bytes of chunk headers beyond what is due, against what content came.
    overhead: u64,
    trailers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a chunk's size.
    Size,
    /// Within a chunk, so many bytes before its end.
    Data(u64),
    /// Before the CRLF after a chunk's data.
    DataEnd,
    /// Before a trailer, or the empty line that ends all.
    Trailer,
}

impl Decoder {
    /// For a body of this length.
    pub(crate) fn new(length: BodyLength, chunked: bool) -> Self {
        match length {
            BodyLength::None | BodyLength::Exact(0) => Self::Ended,
            BodyLength::Exact(length) => Self::Length(length),
            BodyLength::Unknown if chunked => {
                Self::Chunked(Chunked { place: Place::Size, overhead: 0, trailers: 0 })
            }
            BodyLength::Unknown => Self::UntilClose,
        }
    }

    /// Nothing of the body is left.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }

    /// How many bytes of content come next without anything between them: as many can be read to
    /// where they are wanted.
    pub(crate) fn run(&self) -> u64 {
        match self {
            Self::Ended => 0,
            Self::Length(length) => *length,
            Self::Chunked(Chunked { place: Place::Data(length), .. }) => *length,
            Self::Chunked(_) => 0,
            Self::UntilClose => u64::MAX,
        }
    }

    /// So many bytes of the [`run`](Self::run) were taken.
    pub(crate) fn took(&mut self, taken: usize) {
        let taken = taken as u64;
        match self {
            Self::Length(length) if *length <= taken => *self = Self::Ended,
            Self::Length(length) => *length -= taken,
            Self::Chunked(chunked) => {
                if let Place::Data(length) = chunked.place {
                    let left = length.saturating_sub(taken);
                    chunked.place = if left == 0 { Place::DataEnd } else { Place::Data(left) };
                    chunked.overhead = chunked.overhead.saturating_sub(taken);
                }
            }
            Self::Ended | Self::UntilClose => {}
        }
    }

    /// Moves content from the front of `from` to the end of `into`, as far as both allow, and puts
    /// trailers into `trailers`.
    ///
    /// # Errors
    /// The framing breaks its rules.
    pub(crate) fn decode(
        &mut self,
        from: &mut Buffer,
        into: &mut Buffer,
        trailers: &mut Fields,
    ) -> Result<(), BadBody> {
        loop {
            let run = usize::try_from(self.run()).unwrap_or(usize::MAX);
            if run > 0 {
                let available = from.filled();
                let taken = into.append(available.get(..run).unwrap_or(available));
                from.consume(taken);
                self.took(taken);
                if taken == 0 {
                    return Ok(());
                }
            } else if !self.step(from, trailers)? {
                return Ok(());
            }
        }
    }

    /// One line of a chunked body's framing. False: it is not there, or the body has ended.
    fn step(&mut self, from: &mut Buffer, trailers: &mut Fields) -> Result<bool, BadBody> {
        let Self::Chunked(chunked) = self else { return Ok(false) };
        let bytes = from.filled();
        let Some(feed) = memchr::memchr(b'\n', bytes.get(..LINE).unwrap_or(bytes)) else {
            return if bytes.len() >= LINE { Err(BadBody) } else { Ok(false) };
        };
        let line = bytes.get(..feed).and_then(|line| line.strip_suffix(b"\r")).ok_or(BadBody)?;
        match chunked.place {
            Place::Size => {
                chunked.overhead += (feed as u64).saturating_sub(HEADER);
                if chunked.overhead > OVERHEAD {
                    return Err(BadBody);
                }
                chunked.place = match size(line)? {
                    0 => Place::Trailer,
                    size => Place::Data(size),
                };
            }
            Place::DataEnd if line.is_empty() => chunked.place = Place::Size,
            Place::DataEnd | Place::Data(_) => return Err(BadBody),
            Place::Trailer if line.is_empty() => *self = Self::Ended,
            Place::Trailer => {
                chunked.trailers += feed;
                if chunked.trailers > TRAILERS {
                    return Err(BadBody);
                }
                let line = bytes.get(..=feed).ok_or(BadBody)?;
                parse::fields(line, trailers, Some(LINE)).map_err(|_refused| BadBody)?;
                // They say how a message is framed or where it goes, which was settled before (RFC
                // 9110, section 6.5.1).
                for known in
                    [Known::ContentLength, Known::TransferEncoding, Known::Connection, Known::Host]
                {
                    trailers.remove(known);
                }
            }
        }
        from.consume(feed + 1);
        Ok(true)
    }
}

/// A chunk's size, its extensions ignored (RFC 9112, section 7.1). No space before it, none but
/// before an extension after it.
fn size(line: &[u8]) -> Result<u64, BadBody> {
    let (digits, extension) = match memchr::memchr(b';', line) {
        Some(at) => line.split_at(at),
        None => (line, &[][..]),
    };
    let digits = if extension.is_empty() { digits } else { digits.trim_ascii_end() };
    if extension.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7F) {
        return Err(BadBody);
    }
    // 15 digits are less than 2^60: no sum of them overflows.
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(BadBody);
    }
    let digits = std::str::from_utf8(digits).map_err(|_ascii| BadBody)?;
    u64::from_str_radix(digits, 16).map_err(|_checked| BadBody)
}
