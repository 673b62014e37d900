//! Floods: whoever sends too much of what costs nothing to send is cut off or slowed down, the
//! agent's memory stays bounded, and others are served meanwhile.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::frame::{
    ACK, CONTINUATION, DATA, GET, Got, HEADERS, PING, POST, PRIORITY, RST_STREAM, SETTINGS, Wire,
    block, frame, indexed_literal, literal, opening, request, settings,
};
use crate::{
    recorder::Recorder,
    report::Report,
    site::{Host, Site},
};

/// How long each flood goes on unless it is cut off.
const TIME: Duration = Duration::from_secs(2);
/// What a flood may add to the agent's memory.
const BOUND: u64 = 24 << 20;
/// The longest that a request beside the flood may take: far above a debug build's on a busy machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// A flood: frames by number, each time as many as one write holds.
struct Flood {
    name: &'static str,
    settings: &'static [(u16, u32)],
    frames: fn(u32) -> Vec<u8>,
    /// What comes back is read. Otherwise the agent has to keep it, or to stop reading.
    reads: bool,
    /// The one who floods must be cut off: what it does has no lawful use.
    cut: bool,
}

const FLOODS: &[Flood] = &[
    Flood { name: "rapid reset", settings: &[], reads: true, frames: rapid_reset, cut: true },
    Flood {
        name: "rapid reset by a window of 0",
        settings: &[],
        reads: true,
        frames: self_reset,
        cut: true,
    },
    Flood {
        name: "CONTINUATION without end",
        settings: &[],
        reads: true,
        frames: continuation,
        cut: true,
    },
    Flood {
        name: "empty CONTINUATION without end",
        settings: &[],
        reads: true,
        frames: empty_continuation,
        cut: true,
    },
    Flood {
        name: "SETTINGS",
        settings: &[],
        reads: true,
        frames: |_| frame(SETTINGS, 0, 0, &settings(&[(3, 100)])).repeat(100),
        cut: false,
    },
    Flood {
        name: "empty SETTINGS",
        settings: &[],
        reads: true,
        frames: |_| frame(SETTINGS, 0, 0, &[]).repeat(100),
        cut: false,
    },
    Flood {
        name: "PING",
        settings: &[],
        reads: true,
        frames: |_| frame(PING, 0, 0, b"flooded!").repeat(100),
        cut: false,
    },
    Flood {
        name: "SETTINGS whose acknowledgements nobody reads",
        settings: &[],
        reads: false,
        frames: |_| frame(SETTINGS, 0, 0, &[]).repeat(1000),
        cut: false,
    },
    Flood {
        name: "PING whose answers nobody reads",
        settings: &[],
        reads: false,
        frames: |_| frame(PING, 0, 0, b"flooded!").repeat(1000),
        cut: false,
    },
    Flood {
        name: "rapid reset whose answers nobody reads",
        settings: &[],
        reads: false,
        frames: rapid_reset,
        cut: false,
    },
    Flood {
        name: "acknowledgements",
        settings: &[],
        reads: true,
        frames: |_| frame(PING, ACK, 0, b"flooded!").repeat(100),
        cut: false,
    },
    Flood {
        name: "PRIORITY",
        settings: &[],
        reads: true,
        frames: |n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 9]).repeat(100),
        cut: false,
    },
    Flood { name: "empty DATA", settings: &[], reads: true, frames: empty_data, cut: true },
    Flood {
        name: "answers that nobody takes",
        settings: &[(4, 0)],
        reads: true,
        frames: untaken,
        cut: false,
    },
    Flood {
        name: "a table that is filled and named",
        settings: &[],
        reads: true,
        frames: bomb,
        cut: true,
    },
    Flood {
        name: "fields of 1 MB in one request",
        settings: &[],
        reads: true,
        frames: large,
        cut: true,
    },
    Flood {
        name: "unknown frames",
        settings: &[],
        reads: true,
        frames: |_| frame(0x77, 0, 0, &[7; 100]).repeat(100),
        cut: false,
    },
];

fn rapid_reset(number: u32) -> Vec<u8> {
    let stream = |n: u32| 2 * (number * 100 + n) + 1;
    let one =
        |n| [request(stream(n), GET), frame(RST_STREAM, 0, stream(n), &[0, 0, 0, 8])].concat();
    (0..100).flat_map(one).collect()
}

/// The server resets each stream for a window update of 0 ("MadeYouReset").
fn self_reset(number: u32) -> Vec<u8> {
    let stream = |n: u32| 2 * (number * 100 + n) + 1;
    let one = |n| [opening(stream(n), POST), frame(8, 0, stream(n), &[0; 4])].concat();
    (0..100).flat_map(one).collect()
}

fn continuation(number: u32) -> Vec<u8> {
    let first = if number == 0 { frame(HEADERS, 1, 1, &block(GET)) } else { Vec::new() };
    [first, frame(CONTINUATION, 0, 1, &literal("x", &"y".repeat(8000))).repeat(4)].concat()
}

fn empty_continuation(number: u32) -> Vec<u8> {
    let first = if number == 0 { frame(HEADERS, 1, 1, &block(GET)) } else { Vec::new() };
    [first, frame(CONTINUATION, 0, 1, &[]).repeat(100)].concat()
}

fn empty_data(number: u32) -> Vec<u8> {
    let first = if number == 0 { opening(1, POST) } else { Vec::new() };
    [first, frame(DATA, 0, 1, &[]).repeat(100)].concat()
}

fn untaken(number: u32) -> Vec<u8> {
    (0..10).flat_map(|n| request(2 * (number * 10 + n) + 1, GET)).collect()
}

/// A field of 3 kB that each request names a thousand times in as many octets.
fn bomb(number: u32) -> Vec<u8> {
    let add = if number == 0 { indexed_literal("x", &"y".repeat(3000)) } else { Vec::new() };
    let fields = [&block(GET)[..], &add, &vec![0xbe; 15_000 - add.len()]];
    frame(HEADERS, 5, 2 * number + 1, &fields.concat()[..16_000.min(fields.concat().len())])
}

fn large(number: u32) -> Vec<u8> {
    let piece = literal("x", &"y".repeat(16_000));
    let mut bytes = frame(HEADERS, 1, 2 * number + 1, &block(GET));
    for last in 0..64 {
        bytes.extend(frame(CONTINUATION, if last == 63 { 4 } else { 0 }, 2 * number + 1, &piece));
    }
    bytes
}

impl Flood {
    /// Whether the agent cut it off.
    fn run(&self, address: SocketAddr) -> bool {
        let mut wire = Wire::greeted(address, None, self.settings);
        wire.patience(TIME);
        let start = Instant::now();
        let mut number = 0;
        while start.elapsed() < TIME {
            if !wire.send(&(self.frames)(number)) {
                // Or it is not read from any more, which is as good.
                return true;
            }
            number += 1;
            while self.reads
                && let Some(got) = wire.next(Duration::from_micros(1))
            {
                if Got::code(&got).is_some_and(|code| got.kind == super::GOAWAY && code != 0) {
                    return true;
                }
            }
            if wire.ended() {
                return true;
            }
        }
        false
    }
}

/// Asks for something in HTTP/1.1 on a connection of its own, and tells how long it took.
fn other(address: SocketAddr) -> Result<Duration, String> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    let request = b"GET /other HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";
    stream.write_all(request).map_err(|error| error.to_string())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.starts_with("HTTP/1.1 200 ") { Ok(start.elapsed()) } else { Err(text) }
}

#[test]
fn floods_are_cut_off_and_others_are_served() {
    let test = "floods_are_cut_off_and_others_are_served";
    let recorder = Recorder::start();
    let mut report = Report::new("h2-floods");
    for flood in FLOODS {
        // An agent each, for memory that one has taken is seldom given back.
        let hosts = [Host::new("a.test", recorder.address)];
        let Some(mut site) = Site::start(test, &hosts) else { return };
        other(site.http).expect("it serves");
        let before = site.agent.memory().0;
        let over = AtomicBool::new(false);
        let (cut, beside) = thread::scope(|scope| {
            let beside = scope.spawn(|| {
                let mut slowest = other(site.http);
                while !over.load(Ordering::Relaxed) && slowest.is_ok() {
                    slowest = slowest.and_then(|slowest| Ok(slowest.max(other(site.http)?)));
                }
                slowest
            });
            let cut = flood.run(site.http);
            over.store(true, Ordering::Relaxed);
            (cut, beside.join().expect("no panic"))
        });
        recorder.take();
        let name = |what: &str| format!("{}: {what}", flood.name);
        report
            .row(&name("the agent lives"), site.agent.runs().then_some(()).ok_or_else(String::new));
        let grown = site.agent.memory().1.saturating_sub(before);
        let bounded = (grown < BOUND).then_some(());
        report.row(&name("memory is bounded"), bounded.ok_or(format!("{} kB more", grown >> 10)));
        report.row(
            &name("others are served"),
            match beside {
                Ok(slowest) if slowest < PATIENCE => Ok(()),
                other => Err(format!("{other:?}")),
            },
        );
        if flood.cut {
            report.row(&name("is cut off"), cut.then_some(()).ok_or("it went on".to_owned()));
        }
    }
    report.end();
}
