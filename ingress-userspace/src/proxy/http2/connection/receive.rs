//! What comes in, frame by frame (RFC 9113, section 6).

use http::Method;

use super::{Connection, DRAIN_PING, Leaving, TOO_LARGE};
use crate::proxy::{
    http2::{
        error::{Code, Fault},
        flow::Overflow,
        frame::{self, Header, PREFACE, flag, kind, number, setting},
        head::{Discard, RequestReader, TrailersReader, Verdict, encode_response},
        hpack::Sink,
        stream::{Ended, Past, Request, Stream},
    },
    message::{Fields, Known, RequestHead, ResponseHead},
};

/// A block of fields that comes in several frames is no longer than this. What is in it may still
/// be more: that is counted when it is decoded. Bytes.
const BLOCK: usize = 48 * 1024;
/// Nor has it more CONTINUATION frames.
const CONTINUATIONS: u32 = 16;

/// Where in the input the connection is.
#[derive(Default)]
pub(super) struct Input {
    /// How much of the preface there was. Bytes.
    preface: usize,
    /// The first SETTINGS were there.
    pub(super) settled: bool,
    /// A block of fields that is not complete.
    block: Option<Block>,
    /// DATA that is not complete.
    data: Option<Data>,
}

struct Block {
    stream: u32,
    end: bool,
    /// The stream depends on itself.
    looped: bool,
    continuations: u32,
    bytes: Vec<u8>,
}

struct Data {
    stream: u32,
    /// To come, of data and of padding. Bytes.
    left: usize,
    padding: usize,
    end: bool,
    /// Nobody wants it.
    unwanted: bool,
}

impl Connection {
    /// Takes what can be taken from the front of `input`: whole frames, and any part of DATA.
    /// Returns how much that was. Bytes. The rest, less than a frame, is to come again with more.
    pub(crate) fn receive(&mut self, input: &[u8]) -> usize {
        let now = self.setup.deadlines.now();
        self.flood.tick(now);
        self.tell_allowance();
        let mut rest = input;
        while self.ended.is_none() && !rest.is_empty() {
            match self.step(&mut rest) {
                Ok(true) => {}
                Ok(false) => break,
                Err(Fault::Connection(code)) => self.fail(code),
                Err(Fault::Stream(id, code)) => self.stream_error(id, code),
            }
        }
        if self.ended.is_some() { input.len() } else { input.len() - rest.len() }
    }

    /// The input ends in the middle of the head of a request, or of the preface; `rest` is what
    /// was not taken.
    pub(crate) fn awaits_head(&self, rest: &[u8]) -> bool {
        let partial = rest.get(3).is_some_and(|kind| *kind == kind::HEADERS);
        !self.input.settled || self.input.block.is_some() || partial
    }

    fn stream_error(&mut self, id: u32, code: Code) {
        self.reset(id, code, Ended::Malformed);
        // Else a client could have as many requests begun as it likes, by errors in the next frame.
        if let Err(code) = self.flood.reset() {
            self.fail(code);
        }
    }

    /// Takes the next piece of input. False: more is needed.
    fn step(&mut self, rest: &mut &[u8]) -> Result<bool, Fault> {
        if let Some(data) = self.input.data.take() {
            self.data_piece(data, rest)?;
            return Ok(true);
        }
        if self.input.preface < PREFACE.len() {
            let expected = PREFACE.get(self.input.preface..).unwrap_or_default();
            let length = expected.len().min(rest.len());
            let (start, behind) = rest.split_at(length);
            if !expected.starts_with(start) {
                return Err(Code::Protocol.into());
            }
            self.input.preface += length;
            *rest = behind;
            return Ok(true);
        }
        let Some(header) = Header::parse(rest) else { return Ok(false) };
        if header.length > frame::LONGEST {
            return Err(Code::FrameSize.into());
        }
        self.check_order(header)?;
        let behind = rest.get(frame::HEADER..).unwrap_or_default();
        if header.kind == kind::DATA {
            return self.data(header, behind, rest);
        }
        let Some((payload, behind)) = behind.split_at_checked(header.length) else {
            return Ok(false);
        };
        *rest = behind;
        match header.kind {
            kind::HEADERS => self.headers(header, payload)?,
            kind::PRIORITY => self.priority(header, payload)?,
            kind::RST_STREAM => self.rst_stream(header, payload)?,
            kind::SETTINGS => self.settings(header, payload)?,
            kind::PING => self.ping(header, payload)?,
            kind::GOAWAY => self.goaway(header, payload)?,
            kind::WINDOW_UPDATE => self.window_update(header, payload)?,
            kind::CONTINUATION => self.continuation(header, payload)?,
            // Clients do not push (section 8.4), and servers were told not to.
            kind::PUSH_PROMISE => return Err(Code::Protocol.into()),
            // Unknown ones are ignored (section 4.1).
            _ => self.flood.idle()?,
        }
        Ok(true)
    }

    /// The first frame is SETTINGS (section 3.4), and nothing is between the frames of a block
    /// (section 4.3).
    fn check_order(&mut self, header: Header) -> Result<(), Code> {
        if !self.input.settled {
            if header.kind != kind::SETTINGS || header.has(flag::ACK) {
                return Err(Code::Protocol);
            }
            self.input.settled = true;
        }
        let expected = self.input.block.as_ref().map(|block| block.stream);
        let continues = (header.kind == kind::CONTINUATION).then_some(header.stream);
        if expected == continues { Ok(()) } else { Err(Code::Protocol) }
    }

    /// What a frame on a stream that is not open means, unless it is ignored.
    fn not_open(&mut self, id: u32, kind: u8) -> Result<(), Fault> {
        // Section 6.8: its HEADERS crossed our GOAWAY, and were not taken.
        let crossed = matches!(self.leaving, Leaving::Last(_));
        if crossed && id > self.highest && !id.is_multiple_of(2) {
            return Ok(self.flood.idle()?);
        }
        // Section 5.1: a stream that nobody has opened. Those of even numbers would be ours.
        if id > self.highest || id.is_multiple_of(2) {
            return Err(Code::Protocol.into());
        }
        match (kind, self.streams.past(id)) {
            (kind::DATA | kind::HEADERS, Past::ResetByUs) => Ok(self.flood.idle()?),
            (kind::DATA, _) => Err(Fault::Stream(id, Code::StreamClosed)),
            (kind::HEADERS, Past::Known) => Err(Code::StreamClosed.into()),
            // Section 5.1.1: a number that was passed over.
            (kind::HEADERS, Past::Forgotten) => Err(Code::Protocol.into()),
            _ => Ok(self.flood.idle()?),
        }
    }

    fn data<'i>(
        &mut self,
        header: Header,
        behind: &'i [u8],
        rest: &mut &'i [u8],
    ) -> Result<bool, Fault> {
        let id = header.stream;
        let (padding, start) = match (header.has(flag::PADDED), behind.first()) {
            (false, _) => (0, 0),
            (true, _) if header.length == 0 => return Err(Code::FrameSize.into()),
            (true, None) => return Ok(false),
            (true, Some(padding)) => (usize::from(*padding), 1),
        };
        *rest = behind.get(start..).unwrap_or_default();
        let left = (header.length - start).checked_sub(padding).ok_or(Code::Protocol)?;
        if id == 0 {
            return Err(Code::Protocol.into());
        }
        if !self.receive.receive(header.length) {
            return Err(Code::FlowControl.into());
        }
        let end = header.has(flag::END_STREAM);
        if left == 0 && !end {
            self.flood.idle()?;
        } else {
            self.flood.useful();
        }
        let mut data = Data { stream: id, left, padding, end, unwanted: false };
        let fault = self.admit(&data, header.length).err();
        data.unwanted = fault.is_some() || self.streams.find(id).is_none();
        // The padding, and its length, are used up at once.
        let overhead = header.length - left;
        self.credit(overhead);
        if !data.unwanted && overhead > 0 {
            self.credit_stream(id, overhead);
        }
        match fault {
            Some(Fault::Connection(code)) => return Err(code.into()),
            Some(Fault::Stream(id, code)) => self.stream_error(id, code),
            None => {}
        }
        self.data_piece(data, rest)?;
        Ok(true)
    }

    /// Whether a stream may get this.
    fn admit(&mut self, data: &Data, length: usize) -> Result<(), Fault> {
        let id = data.stream;
        let Some((_, stream)) = self.streams.find(id) else {
            return self.not_open(id, kind::DATA);
        };
        if stream.received_end {
            return Err(Fault::Stream(id, Code::StreamClosed));
        }
        if !stream.receive.receive(length) {
            return Err(Fault::Stream(id, Code::FlowControl));
        }
        if let Some(expected) = &mut stream.expected {
            // Section 8.1.1.
            let left = expected.checked_sub(data.left as u64);
            *expected = left
                .filter(|left| *left == 0 || !data.end)
                .ok_or(Fault::Stream(id, Code::Protocol))?;
        }
        Ok(())
    }

    /// Takes what there is of DATA.
    fn data_piece(&mut self, mut data: Data, rest: &mut &[u8]) -> Result<(), Fault> {
        let (piece, behind) = rest.split_at(data.left.min(rest.len()));
        let (padding, behind) = behind.split_at(data.padding.min(behind.len()));
        *rest = behind;
        data.left -= piece.len();
        data.padding -= padding.len();
        let complete = data.left == 0 && data.padding == 0;
        match self.streams.find(data.stream) {
            Some((_, stream)) if !data.unwanted => {
                stream.body.push(piece);
                stream.received_end |= complete && data.end;
                if !piece.is_empty() || stream.received_end {
                    self.stirred |= stream.wake_reader();
                }
                if stream.is_closed() {
                    self.streams.close(data.stream, false);
                }
            }
            _ => self.credit(piece.len()),
        }
        if !complete {
            self.input.data = Some(data);
        }
        Ok(())
    }

    fn headers(&mut self, header: Header, payload: &[u8]) -> Result<(), Fault> {
        let id = header.stream;
        if id == 0 {
            return Err(Code::Protocol.into());
        }
        let mut fields = frame::without_padding(header, payload)?;
        let mut looped = false;
        if header.has(flag::PRIORITY) {
            let dependency = number(fields, 0).filter(|_| fields.len() >= 5);
            looped = dependency.ok_or(Code::FrameSize)? & frame::MAX_ID == id;
            fields = fields.get(5..).unwrap_or_default();
        }
        let end = header.has(flag::END_STREAM);
        if header.has(flag::END_HEADERS) {
            return self.block(id, end, looped, fields);
        }
        let bytes = fields.to_vec();
        self.input.block = Some(Block { stream: id, end, looped, continuations: 0, bytes });
        Ok(())
    }

    fn continuation(&mut self, header: Header, payload: &[u8]) -> Result<(), Fault> {
        let mut block = self.input.block.take().ok_or(Code::Protocol)?;
        block.continuations += 1;
        block.bytes.extend_from_slice(payload);
        if block.bytes.len() > BLOCK || block.continuations > CONTINUATIONS {
            return Err(Code::EnhanceYourCalm.into());
        }
        if header.has(flag::END_HEADERS) {
            return self.block(block.stream, block.end, block.looped, &block.bytes);
        }
        self.input.block = Some(block);
        Ok(())
    }

    /// A whole block of fields.
    fn block(&mut self, id: u32, end: bool, looped: bool, block: &[u8]) -> Result<(), Fault> {
        if let Some((_, stream)) = self.streams.find(id) {
            if stream.received_end {
                self.decode(block, &mut Discard)?;
                return Err(Fault::Stream(id, Code::StreamClosed));
            }
            return self.trailers(id, end, block);
        }
        if id.is_multiple_of(2) {
            return Err(Code::Protocol.into());
        }
        if id > self.highest {
            return self.request(id, end, looped, block);
        }
        self.decode(block, &mut Discard)?;
        self.not_open(id, kind::HEADERS)
    }

    pub(super) fn decode(&mut self, block: &[u8], sink: &mut impl Sink) -> Result<(), Code> {
        self.decoder.decode(block, sink).map_err(|error| {
            tracing::debug!(%error, "a client's fields cannot be decoded");
            Code::Compression
        })
    }

    fn request(&mut self, id: u32, end: bool, looped: bool, block: &[u8]) -> Result<(), Fault> {
        let limits = self.setup.limits.get();
        if let Leaving::Last(_) = self.leaving {
            // The client knows, or will soon, that nobody looks at it.
            self.decode(block, &mut Discard)?;
            return Ok(self.flood.idle()?);
        }
        self.highest = id;
        self.flood.opened();
        // Those that were reset count while someone works for them.
        let most = self.allowance.streams as usize;
        let refused = self.streams.open() >= most || self.streams.len() >= 2 * most;
        if refused {
            self.decode(block, &mut Discard)?;
            return Err(Fault::Stream(id, Code::RefusedStream));
        }
        let mut head = self.setup.heads.take();
        let mut reader = RequestReader::new(&mut head, limits.list);
        self.decode(block, &mut reader)?;
        let mut verdict = reader.finish(end);
        if looped {
            verdict = Verdict::Malformed;
        }
        match verdict {
            Verdict::Sound => self.accept(id, end, head),
            Verdict::Malformed => {
                self.setup.heads.give(head);
                return Err(Fault::Stream(id, Code::Protocol));
            }
            Verdict::TooLarge => {
                self.setup.heads.give(head);
                self.refuse_head(id, end)?;
            }
        }
        self.requests = self.requests.saturating_add(1);
        if self.requests >= limits.requests {
            self.announce();
        }
        Ok(())
    }

    fn accept(&mut self, id: u32, end: bool, head: Box<RequestHead>) {
        let mut stream = Stream::new(id, self.peer.window);
        stream.received_end = end;
        stream.expected = head
            .fields
            .get(Known::ContentLength)
            .and_then(|value| std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()));
        let expects = head.fields.get(Known::Expect);
        stream.request = Request {
            head: head.method == Method::HEAD,
            connect: head.method == Method::CONNECT,
            extended: !head.protocol.is_empty(),
            expects: !end
                && expects.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue")),
        };
        if stream.request.connect {
            // What follows are the bytes of a tunnel.
            stream.expected = None;
        }
        let key = self.streams.insert(stream);
        self.accepted.push_back((key, head));
        self.stirred = true;
    }

    /// 431, without anyone's work.
    fn refuse_head(&mut self, id: u32, end: bool) -> Result<(), Code> {
        let head = ResponseHead::default();
        self.write_block(id, true, |queue| encode_response(queue, &head, TOO_LARGE));
        self.refused = self.refused.saturating_add(1);
        if end {
            self.streams.remember(id, false);
        } else {
            self.reset(id, Code::NoError, Ended::Gone);
        }
        self.flood.reset()
    }

    fn trailers(&mut self, id: u32, end: bool, block: &[u8]) -> Result<(), Fault> {
        let mut fields = Fields::default();
        let mut reader = TrailersReader::new(&mut fields, self.setup.limits.get().list);
        self.decode(block, &mut reader)?;
        let sound = reader.finish() == Verdict::Sound;
        let Some((_, stream)) = self.streams.find(id) else { return Ok(()) };
        // Section 8.1: they end the stream; the data is as long as was said.
        if !sound || !end || stream.expected.is_some_and(|left| left > 0) {
            return Err(Fault::Stream(id, Code::Protocol));
        }
        stream.received_end = true;
        if !fields.is_empty() {
            stream.trailers = Some(Box::new(fields));
        }
        self.stirred |= stream.wake_reader();
        if stream.is_closed() {
            self.streams.close(id, false);
        }
        Ok(())
    }

    /// Ignored but for its form (section 5.3.2).
    fn priority(&mut self, header: Header, payload: &[u8]) -> Result<(), Fault> {
        let id = header.stream;
        self.flood.idle()?;
        let code = if payload.len() != 5 {
            Code::FrameSize
        } else if number(payload, 0).is_some_and(|on| on & frame::MAX_ID == id) {
            Code::Protocol
        } else {
            Code::NoError
        };
        match code {
            _ if id == 0 => Err(Code::Protocol.into()),
            Code::NoError => Ok(()),
            code if self.streams.find(id).is_some() => Err(Fault::Stream(id, code)),
            // A stream that is idle cannot be reset.
            code => Err(code.into()),
        }
    }

    fn rst_stream(&mut self, header: Header, payload: &[u8]) -> Result<(), Fault> {
        let id = header.stream;
        if payload.len() != 4 {
            return Err(Code::FrameSize.into());
        }
        let Some((_, stream)) = self.streams.find(id) else {
            return self.not_open(id, kind::RST_STREAM);
        };
        stream.ended = Some(Ended::Gone);
        self.stirred |= stream.wake_reader();
        self.stirred |= stream.wake_writer();
        self.streams.close(id, false);
        Ok(self.flood.reset()?)
    }

    fn settings(&mut self, header: Header, payload: &[u8]) -> Result<(), Fault> {
        self.flood.idle()?;
        if header.stream != 0 {
            return Err(Code::Protocol.into());
        }
        if header.has(flag::ACK) {
            if !payload.is_empty() {
                return Err(Code::FrameSize.into());
            }
            self.allowance.known = true;
            self.allowance.streams = self.allowance.told;
            return Ok(());
        }
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Code::FrameSize.into());
        }
        let before = self.peer;
        for [a, b, value @ ..] in settings {
            self.setting(u16::from_be_bytes([*a, *b]), u32::from_be_bytes(*value))?;
        }
        if self.peer.table < before.table {
            self.encoder.resize();
        }
        let by = i64::from(self.peer.window) - i64::from(before.window);
        if by != 0 {
            for stream in self.streams.iter_mut() {
                stream.send.change(by).map_err(|Overflow| Code::FlowControl)?;
                if by > 0 {
                    self.stirred |= stream.wake_writer();
                }
            }
        }
        frame::write(self.out.queue(), kind::SETTINGS, flag::ACK, 0, &[]);
        Ok(())
    }

    fn setting(&mut self, setting: u16, value: u32) -> Result<(), Code> {
        match (setting, value) {
            (setting::ENABLE_PUSH | setting::ENABLE_CONNECT_PROTOCOL, 2..) => Err(Code::Protocol),
            (setting::INITIAL_WINDOW_SIZE, 0x8000_0000..) => Err(Code::FlowControl),
            (setting::INITIAL_WINDOW_SIZE, window) => {
                self.peer.window = window;
                Ok(())
            }
            (setting::MAX_FRAME_SIZE, length @ 0x4000..=0xFF_FFFF) => {
                self.peer.frame = length as usize;
                Ok(())
            }
            (setting::MAX_FRAME_SIZE, _) => Err(Code::Protocol),
            (setting::HEADER_TABLE_SIZE, size) => {
                self.peer.table = size;
                Ok(())
            }
            // Unknown ones are ignored (section 6.5.2).
            _ => Ok(()),
        }
    }

    fn ping(&mut self, header: Header, payload: &[u8]) -> Result<(), Fault> {
        self.flood.idle()?;
        if header.stream != 0 {
            return Err(Code::Protocol.into());
        }
        if payload.len() != 8 {
            return Err(Code::FrameSize.into());
        }
        if !header.has(flag::ACK) {
            frame::write(self.out.queue(), kind::PING, flag::ACK, 0, payload);
        } else if payload == DRAIN_PING && self.leaving == Leaving::Announced {
            self.leave();
        }
        Ok(())
    }

    /// The other end leaves: no more streams are opened, and those that there are go on.
    fn goaway(&mut self, header: Header, payload: &[u8]) -> Result<(), Fault> {
        if header.stream != 0 {
            return Err(Code::Protocol.into());
        }
        if payload.len() < 8 {
            return Err(Code::FrameSize.into());
        }
        self.leave();
        Ok(self.flood.idle()?)
    }

    fn window_update(&mut self, header: Header, payload: &[u8]) -> Result<(), Fault> {
        let id = header.stream;
        self.flood.idle()?;
        let increment = match payload.len() {
            4 => number(payload, 0).map_or(0, |increment| increment & frame::MAX_ID),
            _ => return Err(Code::FrameSize.into()),
        };
        if id == 0 {
            self.send.change(increment.into()).map_err(|Overflow| Code::FlowControl)?;
            return if increment == 0 { Err(Code::Protocol.into()) } else { Ok(()) };
        }
        let Some((_, stream)) = self.streams.find(id) else {
            return self.not_open(id, kind::WINDOW_UPDATE);
        };
        if increment == 0 {
            return Err(Fault::Stream(id, Code::Protocol));
        }
        stream
            .send
            .change(increment.into())
            .map_err(|Overflow| Fault::Stream(id, Code::FlowControl))?;
        if !stream.waits {
            self.stirred |= stream.wake_writer();
        }
        Ok(())
    }
}
