//! The answer's body on its way to the client, changed as it comes: texts replaced, then compressed.

use std::{
    io::{self, Write as _},
    mem,
};

use brotli::enc::BrotliEncoderParams;

use super::{Side, Substituter};
use crate::proxy::sides::UpstreamError;

/// How far back Brotli looks: 2 to the power of this in bytes, which are its memory too.
/// ngx_brotli's default.
const WINDOW: u64 = 19;
/// The least that it can.
const LEAST_WINDOW: u64 = 10;

/// Changes one body.
pub(in crate::proxy) struct Encoder {
    /// What is replaced before it is compressed.
    substituter: Option<Box<Substituter>>,
    /// It has more to do with what has come.
    behind: bool,
    coder: Coder,
    /// What is compressed may wait for more.
    hold: bool,
}

enum Coder {
    /// Bytes as they are.
    Plain(Vec<u8>),
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
}

impl Encoder {
    /// Level 1 to 9.
    pub(in crate::proxy) fn gzip(level: u32, hold: bool) -> Self {
        let level = flate2::Compression::new(level.min(9));
        let coder = flate2::write::GzEncoder::new(Vec::new(), level);
        Self::with(Coder::Gzip(Box::new(coder)), hold)
    }

    /// Level 0 to 11; `length` of the body in bytes, if it is known.
    pub(in crate::proxy) fn brotli(level: u32, length: Option<u64>, hold: bool) -> Self {
        // A small body needs no large window.
        let bits = length.map_or(WINDOW, |length| u64::from(64 - length.leading_zeros()));
        let window = bits.clamp(LEAST_WINDOW, WINDOW);
        let parameters = BrotliEncoderParams {
            quality: i32::try_from(level).unwrap_or(4),
            lgwin: i32::try_from(window).unwrap_or(18),
            ..BrotliEncoderParams::default()
        };
        let writer = brotli::CompressorWriter::with_params(Vec::new(), 4096, &parameters);
        Self::with(Coder::Brotli(Box::new(writer)), hold)
    }

    /// Compresses nothing.
    pub(in crate::proxy) fn plain() -> Self {
        Self::with(Coder::Plain(Vec::new()), false)
    }

    fn with(coder: Coder, hold: bool) -> Self {
        Self { substituter: None, behind: false, coder, hold }
    }

    /// Has texts replaced before anything is compressed.
    pub(in crate::proxy) fn substitute(&mut self, substituter: Substituter) {
        self.substituter = Some(Box::new(substituter));
    }

    /// These bytes come next. Not while it is [behind](Self::is_behind).
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match &mut self.substituter {
            Some(substituter) => {
                substituter.feed(data);
                self.catch_up()
            }
            None => self.coder.write(data),
        }
    }

    /// There is more to be made of what has come: what is out goes first.
    fn is_behind(&self) -> bool {
        self.behind
    }

    fn catch_up(&mut self) -> io::Result<()> {
        let Some(substituter) = &mut self.substituter else { return Ok(()) };
        let mut piece = Vec::new();
        self.behind = substituter.work(&mut piece);
        self.coder.write(&piece)
    }

    /// Nothing comes any more.
    fn end(&mut self) -> io::Result<()> {
        if let Some(substituter) = &mut self.substituter {
            substituter.end();
        }
        self.catch_up()
    }

    /// All that was written can be decompressed from what came out.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.coder {
            Coder::Plain(_) => Ok(()),
            Coder::Gzip(coder) => coder.flush(),
            Coder::Brotli(coder) => coder.flush(),
        }
    }

    /// Hands over what has come out; `empty` is written to next.
    fn swap(&mut self, empty: Vec<u8>) -> Vec<u8> {
        match &mut self.coder {
            Coder::Plain(out) => mem::replace(out, empty),
            Coder::Gzip(coder) => mem::replace(coder.get_mut(), empty),
            Coder::Brotli(coder) => mem::replace(coder.get_mut(), empty),
        }
    }

    /// The last that comes out.
    fn finish(self) -> io::Result<Vec<u8>> {
        match self.coder {
            Coder::Plain(out) => Ok(out),
            Coder::Gzip(coder) => coder.finish(),
            Coder::Brotli(coder) => Ok(coder.into_inner()),
        }
    }
}

impl Coder {
    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.write_all(data),
            Self::Gzip(coder) => coder.write_all(data),
            Self::Brotli(coder) => coder.write_all(data),
        }
    }
}

/// A body on its way through an encoder.
pub(super) struct Coding {
    /// `None` after its end.
    encoder: Option<Box<Encoder>>,
    /// What has come out of it, and how much of that is sent.
    out: Vec<u8>,
    sent: usize,
    /// Something was written that may not have come out.
    held: bool,
    /// What was written so far. Bytes.
    received: u64,
}

impl Coding {
    pub(super) fn new(encoder: Box<Encoder>) -> Box<Self> {
        Box::new(Self {
            encoder: Some(encoder),
            out: Vec::new(),
            sent: 0,
            held: false,
            received: 0,
        })
    }

    /// What has come out and is not sent.
    pub(super) fn out(&self) -> &[u8] {
        self.out.get(self.sent..).unwrap_or_default()
    }

    /// So much of that is sent.
    pub(super) fn sent(&mut self, length: usize) {
        self.sent += length;
        if self.sent >= self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
    }

    /// As much of the body has come. Bytes.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// More of the body.
    pub(super) fn write(&mut self, data: &[u8]) -> Result<(), Side> {
        self.received += data.len() as u64;
        let Some(encoder) = self.encoder.as_mut().filter(|_| !data.is_empty()) else {
            return Ok(());
        };
        encoder.write(data).map_err(broken)?;
        self.held = true;
        self.out = encoder.swap(mem::take(&mut self.out));
        Ok(())
    }

    /// The endpoint pauses: what it has sent the client gets at once, for it may be an event, unless
    /// the encoder may wait for more. True: there is something to be sent.
    pub(super) fn release(&mut self) -> Result<bool, Side> {
        if self.encoder.as_ref().is_some_and(|encoder| encoder.is_behind()) {
            return Ok(true);
        }
        let Some(encoder) = self.encoder.as_mut().filter(|own| self.held && !own.hold) else {
            return Ok(!self.out().is_empty());
        };
        self.held = false;
        encoder.flush().map_err(broken)?;
        self.out.append(&mut encoder.swap(Vec::new()));
        Ok(!self.out().is_empty())
    }

    /// Makes more of what has come, once what is out is sent. False: there is no more to be made.
    pub(super) fn catch_up(&mut self) -> Result<bool, Side> {
        let Some(encoder) = self.encoder.as_mut().filter(|encoder| encoder.is_behind()) else {
            return Ok(false);
        };
        encoder.catch_up().map_err(broken)?;
        self.out = encoder.swap(mem::take(&mut self.out));
        Ok(true)
    }

    /// Nothing comes any more; what has come may not be all out yet.
    pub(super) fn end(&mut self) -> Result<(), Side> {
        if let Some(encoder) = &mut self.encoder {
            encoder.end().map_err(broken)?;
            self.out.append(&mut encoder.swap(Vec::new()));
        }
        Ok(())
    }

    /// The last of it comes out.
    pub(super) fn finish(&mut self) -> Result<(), Side> {
        if let Some(encoder) = self.encoder.take() {
            self.out.append(&mut encoder.finish().map_err(broken)?);
        }
        Ok(())
    }
}

/// An encoder that writes to memory does not fail; were it to, the answer would break off.
fn broken(_error: io::Error) -> Side {
    Side::Upstream(UpstreamError::Malformed)
}
