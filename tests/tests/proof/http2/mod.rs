//! HTTP/2 as its frames are: the cases that h2spec covers and the floods, in clear and over TLS.

mod cases;
mod control;
mod flood;
mod frame;
mod hpack;
mod messages;
mod window;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::ClientConfig;

use crate::{
    recorder::Recorder,
    report::Report,
    site::{Host, Site},
};
use frame::{
    ACK, END_STREAM, GOAWAY, Got, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, Wire, frame,
};

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

/// How long a case may take to come to its end.
const LIMIT: Duration = Duration::from_secs(3);
/// The data of the PING that is sent behind each case, to know when its frames have been read.
const PROBE: &[u8; 8] = b"a probe!";

/// A row: frames, and what may come of them.
struct Case {
    /// Section of RFC 9113, or of RFC 7541 with an `H` before it, and what is sent.
    name: &'static str,
    /// What is sent behind the preface and our SETTINGS.
    bytes: Vec<u8>,
    allowed: &'static [Outcome],
    /// Nothing has been sent before.
    bare: bool,
    /// No PING may follow, for it would be an error itself.
    unfinished: bool,
}

/// What may come of the frames.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// A connection error with one of these codes, or the connection's end.
    Connection(&'static [u32]),
    /// A stream error with one of these codes; a connection error of the same code is as good.
    Stream(&'static [u32]),
    /// This final status on the last stream that was opened.
    Answer(u16),
    /// A status that refuses the request.
    Refusal,
    /// Nothing: the connection goes on.
    Ignored,
}
use Outcome::{Answer, Connection, Ignored, Refusal, Stream};

fn row(name: &'static str, bytes: Vec<u8>, allowed: &'static [Outcome]) -> Case {
    Case { name, bytes, allowed, bare: false, unfinished: false }
}

fn unfinished(name: &'static str, bytes: Vec<u8>, allowed: &'static [Outcome]) -> Case {
    Case { unfinished: true, ..row(name, bytes, allowed) }
}

fn bare(name: &'static str, bytes: Vec<u8>, allowed: &'static [Outcome]) -> Case {
    Case { bare: true, ..row(name, bytes, allowed) }
}

impl Case {
    fn run(&self, address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<(), String> {
        let mut wire =
            if self.bare { Wire::open(address, tls) } else { Wire::greeted(address, tls, &[]) };
        let probe = frame(PING, 0, 0, PROBE);
        let probe = if self.unfinished { &[][..] } else { &probe };
        wire.send(&[&self.bytes, probe].concat());
        // An error may come behind the answer to the PING; only what is to be ignored ends with it.
        let may_ignore = self.allowed.iter().any(|outcome| matches!(outcome, Ignored));
        let mut got = Vec::new();
        while let Some(next) = wire.next(LIMIT) {
            got.push(next);
            let others = self.allowed.iter().filter(|outcome| !matches!(outcome, Ignored));
            let held = others.clone().any(|outcome| outcome.is(&got, &wire));
            if held || may_ignore && got.iter().any(is_probe) {
                break;
            }
        }
        let held = self.allowed.iter().any(|outcome| outcome.is(&got, &wire));
        held.then_some(()).ok_or_else(|| {
            let frames: Vec<String> = got.iter().map(shown).collect();
            let end = if wire.ended() { "closed" } else { "open" };
            let rest = String::from_utf8_lossy(&wire.rest()[..wire.rest().len().min(40)]);
            format!("{frames:?} {rest:?}, {end}; allowed: {:?}", self.allowed)
        })
    }
}

impl Outcome {
    fn is(self, got: &[Got], wire: &Wire) -> bool {
        let goaway = got.iter().find(|got| got.kind == GOAWAY).and_then(Got::code);
        let reset = got.iter().find(|got| got.kind == RST_STREAM).and_then(Got::code);
        let status = got.iter().filter_map(Got::status).find(|status| *status >= 200);
        match self {
            Connection(codes) => match goaway {
                Some(code) => codes.contains(&code),
                // Before the preface is whole it may be HTTP/1.1 that is refused.
                None => wire.ended() || wire.rest().starts_with(b"HTTP/1.1 400 "),
            },
            Stream(codes) => match reset.or(goaway) {
                Some(code) => codes.contains(&code),
                None => wire.ended(),
            },
            Answer(wanted) => status == Some(wanted) && goaway.is_none_or(|code| code == NO_ERROR),
            Refusal => status.is_some_and(|status| (400..600).contains(&status)),
            Ignored => got.iter().any(is_probe) && goaway.is_none() && reset.is_none(),
        }
    }
}

fn is_probe(got: &Got) -> bool {
    got.kind == PING && got.flags & ACK != 0 && got.payload == PROBE
}

fn shown(got: &Got) -> String {
    let kinds = [
        "DATA",
        "HEADERS",
        "PRIORITY",
        "RST_STREAM",
        "SETTINGS",
        "PUSH_PROMISE",
        "PING",
        "GOAWAY",
        "WINDOW_UPDATE",
        "CONTINUATION",
    ];
    let kind = kinds.get(usize::from(got.kind)).copied().unwrap_or("?");
    match (got.code(), got.status()) {
        (Some(code), _) => format!("{kind}({}, code {code})", got.stream),
        (_, Some(status)) => format!("{kind}({}, {status})", got.stream),
        _ => format!("{kind}({}, {} bytes)", got.stream, got.payload.len()),
    }
}

/// Runs all cases against one agent, which must serve others to the end.
fn table(test: &str, suite: &'static str, tls: bool) {
    let recorder = Recorder::start();
    let Some(site) = Site::start(test, &[Host::new("a.test", recorder.address)]) else { return };
    let config = tls.then(|| site.tls(&[b"h2"]));
    let address = if tls { site.https } else { site.http };
    let mut report = Report::new(suite);
    for case in cases::all().iter().chain(&messages::all()).chain(&hpack::all()) {
        report.row(case.name, case.run(address, config.as_ref()));
    }
    for (name, run) in window::ALL {
        report.row(name, run(address, config.as_ref()));
    }
    report.end();
}

#[test]
fn frames_in_clear_are_judged_as_the_standard_says() {
    table("frames_in_clear_are_judged_as_the_standard_says", "h2-clear", false);
}

#[test]
fn frames_over_tls_are_judged_as_the_standard_says() {
    table("frames_over_tls_are_judged_as_the_standard_says", "h2-tls", true);
}

/// The preface and empty SETTINGS.
fn greeting() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// Whether a frame ends its stream with data or fields.
fn ends(got: &Got) -> bool {
    (got.kind == HEADERS || got.kind == frame::DATA) && got.flags & END_STREAM != 0
}
