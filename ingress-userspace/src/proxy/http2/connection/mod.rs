//! The state of one connection, without its transport: bytes come in by [`Connection::receive`],
//! streams and their answers go through it, and what is to be written is in its output. What it
//! answers to which frame is in `receive`, what the handlers of requests do to streams in `send`.

mod receive;
mod send;

use std::{collections::VecDeque, rc::Rc, task::Waker};

use super::{
    error::Code,
    flood::Flood,
    flow::{self, ReceiveWindow, SendWindow},
    frame::{self, MAX_ID, flag, kind, setting},
    hpack::{Decoder, Encoder},
    output::Output,
    setup::Setup,
    stream::{Ended, Streams, WINDOW},
};
use crate::proxy::message::RequestHead;

/// What the window of a client's connection is for what it sends. Bytes.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Data of answers is queued while less than this is. Bytes.
const OUTPUT: usize = 64 * 1024;
/// What a stream may queue in one turn while others wait. Bytes.
const SHARE: usize = frame::LONGEST;
/// While more than this waits to be written, nothing is read: what is read may have to be answered.
/// Bytes.
const FULL: usize = 256 * 1024;

/// The status of a request whose head is too large (RFC 6585, section 5).
pub(super) const TOO_LARGE: u16 = 431;

/// What the PING says that measures a round trip before the connection is left.
const DRAIN_PING: [u8; 8] = *b"penstock";

/// One connection.
pub(crate) struct Connection {
    setup: Rc<Setup>,
    out: Output,
    input: receive::Input,
    decoder: Decoder,
    encoder: Encoder,
    streams: Streams,
    /// What the client allows.
    peer: Peer,
    allowance: Allowance,
    send: SendWindow,
    receive: ReceiveWindow,
    flood: Flood,
    leaving: Leaving,
    /// The highest identifier of a stream that was opened.
    highest: u32,
    requests: u32,
    /// Heads that were refused, and of which nobody was told yet.
    refused: u32,
    /// Requests that nobody works for yet.
    accepted: VecDeque<(usize, Box<RequestHead>)>,
    /// Streams that wait for their turn to send.
    waiting: VecDeque<usize>,
    turn: u32,
    ended: Option<End>,
    /// Of the task that owns the transport.
    driver: Option<Waker>,
    /// It is awake, or will be.
    kicked: bool,
    /// Someone was woken by what came in.
    stirred: bool,
}

/// What SETTINGS of the other end say.
#[derive(Clone, Copy, Debug)]
struct Peer {
    window: u32,
    frame: usize,
    table: u32,
}

/// How many streams at once the client may have. One that was told of fewer may have more until it
/// says that it knows (RFC 9113, section 6.5.3).
#[derive(Clone, Copy, Debug)]
struct Allowance {
    streams: u32,
    /// What our last SETTINGS say, and whether the client has acknowledged them.
    told: u32,
    known: bool,
}

/// How far the connection is in being left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// GOAWAY announced it; requests that are on their way are still taken.
    Announced,
    /// GOAWAY said which stream was the last.
    Last(u32),
}

/// Why a connection takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client broke the rules; GOAWAY says which.
    Failed(Code),
    /// The transport is closed.
    Lost,
}

impl Connection {
    /// A client's connection, whose SETTINGS are queued.
    pub(crate) fn new(setup: &Rc<Setup>) -> Self {
        let streams = setup.limits.get().streams;
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, streams),
            (setting::INITIAL_WINDOW_SIZE, WINDOW),
            (setting::MAX_HEADER_LIST_SIZE, setup.limits.get().list as u32),
            (setting::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        let mut out = Output::new(setup);
        frame::write_settings(out.queue(), &settings);
        let window = CONNECTION_WINDOW.max(flow::INITIAL);
        frame::write_window(out.queue(), 0, window - flow::INITIAL);
        Self {
            setup: Rc::clone(setup),
            out,
            input: receive::Input::default(),
            decoder: Decoder::default(),
            encoder: Encoder::default(),
            streams: Streams::default(),
            peer: Peer { window: flow::INITIAL, frame: frame::LONGEST, table: 4096 },
            allowance: Allowance { streams, told: streams, known: false },
            send: SendWindow::new(flow::INITIAL),
            receive: ReceiveWindow::new(window),
            flood: Flood::default(),
            leaving: Leaving::No,
            highest: 0,
            requests: 0,
            refused: 0,
            accepted: VecDeque::new(),
            waiting: VecDeque::new(),
            turn: 0,
            ended: None,
            driver: None,
            kicked: false,
            stirred: false,
        }
    }

    /// The next request, and the stream that it came on.
    pub(super) fn next_request(&mut self) -> Option<(usize, Box<RequestHead>)> {
        loop {
            let (key, head) = self.accepted.pop_front()?;
            if self.streams.get(key).is_some_and(|stream| stream.ended.is_none()) {
                return Some((key, head));
            }
            // Reset before anyone began: it cost no more than its head.
            self.release(key);
            self.setup.heads.give(head);
        }
    }

    /// How many requests were answered 431 since the last call.
    pub(super) fn take_refused(&mut self) -> u32 {
        std::mem::take(&mut self.refused)
    }

    /// What is to be written.
    pub(super) fn output(&mut self) -> &mut Output {
        &mut self.out
    }

    /// Whether there is room for what may have to be answered.
    pub(super) fn takes_input(&self) -> bool {
        self.ended.is_none() && self.out.len() < FULL
    }

    pub(super) fn ended(&self) -> Option<End> {
        self.ended
    }

    /// No request is being worked for.
    pub(super) fn is_idle(&self) -> bool {
        self.streams.len() == 0
    }

    /// A round trip is waited for before the last GOAWAY.
    pub(super) fn is_announced(&self) -> bool {
        self.leaving == Leaving::Announced
    }

    /// No request will be taken, and none is there.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.leaving, Leaving::Last(_)) && self.is_idle()
    }

    /// Remembers the task that is to be woken when there is something to write.
    pub(super) fn attend(&mut self, waker: &Waker) {
        super::stream::register(&mut self.driver, waker);
        self.kicked = false;
    }

    /// Someone was woken since the last call who may have something to write.
    pub(super) fn take_stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred)
    }

    /// There is something to write.
    fn kick(&mut self) {
        if !std::mem::replace(&mut self.kicked, true)
            && let Some(driver) = &self.driver
        {
            driver.wake_by_ref();
        }
    }

    /// Begins a turn: what was queued is written as far as the transport takes it. Wakes those that
    /// wait, as many as can send something. True: others still wait, and another turn is due when
    /// those had theirs.
    pub(super) fn begin_turn(&mut self) -> bool {
        self.turn = self.turn.wrapping_add(1);
        let mut room = OUTPUT.saturating_sub(self.out.len()).min(self.send.room());
        while room > 0 {
            let Some(key) = self.waiting.pop_front() else { return false };
            if let Some(stream) = self.streams.get(key) {
                stream.waits = false;
                self.stirred |= stream.wake_writer();
            }
            room = room.saturating_sub(SHARE);
        }
        !self.waiting.is_empty() && self.send.room() > 0 && self.out.len() < OUTPUT
    }

    /// Begins to leave: GOAWAY announces it, and a PING finds out when the client knows.
    pub(super) fn announce(&mut self) {
        if self.leaving == Leaving::No && self.ended.is_none() {
            self.leaving = Leaving::Announced;
            let queue = self.out.queue();
            frame::write_goaway(queue, MAX_ID, Code::NoError);
            frame::write(queue, kind::PING, 0, 0, &DRAIN_PING);
        }
    }

    /// Leaves: requests after the last that came are not taken (RFC 9113, section 6.8).
    pub(super) fn leave(&mut self) {
        if !matches!(self.leaving, Leaving::Last(_)) && self.ended.is_none() {
            let last = self.highest;
            self.leaving = Leaving::Last(last);
            frame::write_goaway(self.out.queue(), last, Code::NoError);
        }
    }

    /// Ends the connection for what the client did.
    pub(super) fn fail(&mut self, code: Code) {
        if self.ended.is_none() {
            let last = self.highest;
            frame::write_goaway(self.out.queue(), last, code);
            self.end(End::Failed(code));
        }
    }

    /// The transport is closed.
    pub(super) fn lose(&mut self) {
        if self.ended != Some(End::Lost) {
            self.end(End::Lost);
        }
    }

    fn end(&mut self, end: End) {
        self.ended = Some(end);
        self.waiting.clear();
        for stream in self.streams.iter_mut() {
            stream.waits = false;
            stream.ended.get_or_insert(Ended::Gone);
            stream.wake_reader();
            stream.wake_writer();
        }
    }

    /// Resets a stream. What ended it, as its handler is told.
    fn reset(&mut self, id: u32, code: Code, ended: Ended) {
        frame::write_reset(self.out.queue(), id, code);
        match self.streams.find(id) {
            Some((_, stream)) => {
                stream.ended = Some(ended);
                self.stirred |= stream.wake_reader();
                self.stirred |= stream.wake_writer();
                self.streams.close(id, true);
            }
            None => self.streams.remember(id, true),
        }
    }

    /// Tells the client how many streams it may have, if that has changed.
    fn tell_allowance(&mut self) {
        let streams = self.setup.limits.get().streams;
        let Allowance { streams: now, told, known } = self.allowance;
        if known && told != streams && self.ended.is_none() {
            let settings = [(setting::MAX_CONCURRENT_STREAMS, streams)];
            frame::write_settings(self.out.queue(), &settings);
            self.allowance = Allowance { streams: now.max(streams), told: streams, known: false };
        }
    }

    /// So many bytes of data were used up, or nobody wants them: the client may send as many more.
    fn credit(&mut self, length: usize) {
        if let Some(increment) = self.receive.consume(length) {
            frame::write_window(self.out.queue(), 0, increment);
            self.kick();
        }
    }

    /// Queues a block of fields that `encode` writes, as HEADERS and CONTINUATION.
    fn write_block(&mut self, id: u32, end: bool, encode: impl FnOnce(&mut Vec<u8>)) {
        let most = self.peer.frame.min(frame::LONGEST);
        let queue = self.out.queue();
        let start = queue.len();
        let mut header = frame::Header {
            length: 0,
            kind: kind::HEADERS,
            flags: flag::END_HEADERS | if end { flag::END_STREAM } else { 0 },
            stream: id,
        };
        header.write(queue);
        let block = start + frame::HEADER;
        self.encoder.begin(queue);
        encode(queue);
        header.length = queue.len() - block;
        if header.length <= most {
            let [_, length @ ..] = (header.length as u32).to_be_bytes();
            if let Some(place) = queue.get_mut(start..start + 3) {
                place.copy_from_slice(&length);
            }
            return;
        }
        let fields = queue.split_off(block);
        queue.truncate(start);
        let mut pieces = fields.chunks(most).peekable();
        header.flags &= !flag::END_HEADERS;
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() { flag::END_HEADERS } else { 0 };
            frame::write(queue, header.kind, header.flags | last, id, piece);
            header.kind = kind::CONTINUATION;
            header.flags = 0;
        }
    }

    /// Gives back memory, as nothing happens for a while.
    pub(super) fn trim(&mut self) {
        self.streams.trim();
        self.accepted.shrink_to_fit();
        self.waiting.shrink_to_fit();
    }
}
