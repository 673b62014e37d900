//! Robustness at the door: raw bytes in, and what may come of them. Each case is followed by a
//! marker request on the same connection; a request that ends elsewhere for the agent than for its
//! backend would hide the marker or show one request too many.

mod backends;
mod cases;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    recorder::{Recorder, Seen},
    report::Report,
    site::{Host, Site},
};

/// A row of the table.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// Any one of these is right.
    pub(crate) allowed: Vec<Outcome>,
    /// The connection ends after the case: no marker may be answered.
    pub(crate) closes: bool,
}

/// What may come of a case.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Refused with one of these (0: without an answer), nothing reached the backend whole, and
    /// the connection ends.
    Refused(&'static [u16]),
    /// Answered by the agent itself; the connection may go on.
    Own(&'static [u16]),
    /// Forwarded: what the backend must see of each request.
    As(Vec<Want>),
}

/// What the backend must see of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Want {
    /// The request line, one of these.
    pub(crate) lines: Vec<String>,
    /// Fields that must be there with exactly this value, and once.
    pub(crate) has: Vec<(&'static str, String)>,
    /// Fields that must not be there.
    pub(crate) lacks: Vec<&'static str>,
    pub(crate) body: Vec<u8>,
}

const MARKER: &[u8] = b"GET /marker HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
const MARKER_LINE: &str = "GET /marker HTTP/1.1";

/// What came back for some bytes.
pub(crate) struct Back {
    /// The final statuses, in order.
    pub(crate) statuses: Vec<u16>,
    /// All of it.
    pub(crate) bytes: Vec<u8>,
    /// The other side ended the connection.
    pub(crate) ended: bool,
}

impl Back {
    /// The values of a field of the answers, in order.
    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        let lines = text.split("\r\n");
        let fields = lines.filter_map(|line| line.split_once(": "));
        let same = fields.filter(|(own, _)| own.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.to_owned()).collect()
    }
}

/// Sends bytes and reads to the end of the connection, or until nothing comes any more.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> Back {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let _set = stream.set_nodelay(true);
    stream.set_read_timeout(Some(Duration::from_millis(1500))).expect("a timeout");
    // The other side may end the connection before it has all of it.
    let _sent = stream.write_all(bytes);
    let (mut back, mut buffer, mut ended) = (Vec::new(), [0; 16384], true);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => back.extend_from_slice(&buffer[..length]),
            Err(error) => {
                ended = error.kind() == std::io::ErrorKind::ConnectionReset;
                break;
            }
        }
    }
    let mut statuses = Vec::new();
    let begins = |window: &[u8]| window.starts_with(b"HTTP/1.") && window[8] == b' ';
    for (at, _) in back.windows(9).enumerate().filter(|(_, window)| begins(window)) {
        let digits = back.get(at + 9..at + 12).unwrap_or_default();
        let status = String::from_utf8_lossy(digits).parse().unwrap_or(0);
        if status >= 200 {
            statuses.push(status);
        }
    }
    Back { statuses, bytes: back, ended }
}

impl Case {
    /// Whether what was seen is allowed.
    fn judge(&self, back: &Back, seen: &[Seen]) -> Result<(), String> {
        let whole: Vec<&Seen> =
            seen.iter().filter(|seen| !seen.faults.iter().any(|f| f == "incomplete")).collect();
        let mut why = Vec::new();
        for outcome in &self.allowed {
            match self.is(outcome, back, &whole) {
                Ok(()) => return Ok(()),
                Err(error) => why.push(error),
            }
        }
        let lines: Vec<String> = whole.iter().take(4).map(|seen| cut(seen.line.clone())).collect();
        why.dedup();
        Err(format!("statuses {:?}, backend saw {lines:?}: {}", back.statuses, why.join("; or ")))
    }

    fn is(&self, outcome: &Outcome, back: &Back, whole: &[&Seen]) -> Result<(), String> {
        let first = back.statuses.first().copied().unwrap_or(0);
        match outcome {
            Outcome::Refused(statuses) => {
                require(statuses.contains(&first), || format!("{first} is not of {statuses:?}"))?;
                require(whole.is_empty(), || "it reached the backend".to_owned())?;
                require(back.statuses.len() < 2, || "the connection went on".to_owned())?;
                require(back.ended, || "the connection stayed open".to_owned())
            }
            Outcome::Own(statuses) => {
                require(statuses.contains(&first), || format!("{first} is not of {statuses:?}"))?;
                let marked = whole.len() == 1 && whole[0].line == MARKER_LINE;
                require(whole.is_empty() || marked, || "it reached the backend".to_owned())?;
                require(back.ended, || "the connection stayed open".to_owned())
            }
            Outcome::As(wanted) => {
                let marker = Want { lines: vec![MARKER_LINE.to_owned()], ..Want::default() };
                let mut all: Vec<&Want> = wanted.iter().collect();
                if !self.closes {
                    all.push(&marker);
                }
                let expected = vec![200; all.len()];
                require(back.statuses == expected, || format!("statuses are not {expected:?}"))?;
                require(whole.len() == all.len(), || format!("not {} requests", all.len()))?;
                require(back.ended, || "the connection stayed open".to_owned())?;
                all.iter().zip(whole).try_for_each(|(want, seen)| want.met_by(seen))
            }
        }
    }
}

impl Want {
    fn met_by(&self, seen: &Seen) -> Result<(), String> {
        require(self.lines.contains(&seen.line), || {
            cut(format!("line {:?} is not of {:?}", seen.line, self.lines))
        })?;
        require(seen.faults.is_empty(), || format!("forwarded with faults {:?}", seen.faults))?;
        require(seen.body == self.body, || {
            format!("body {:?}", String::from_utf8_lossy(&seen.body))
        })?;
        for (name, value) in &self.has {
            let values = seen.values(name);
            require(values == [value], || cut(format!("{name} is {values:?}, not {value:?}")))?;
        }
        for name in &self.lacks {
            let values = seen.values(name);
            require(values.is_empty(), || format!("{name}: {values:?} was forwarded"))?;
        }
        // RFC 9110, section 6.5.1: framing, routing and authentication never come from a trailer.
        for line in &seen.trailers {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            require(!cases::NEVER_TRAILERS.contains(&name.as_str()), || format!("trailer {line}"))?;
        }
        // RFC 9110, section 7.6.1: what is said to the next hop alone.
        for name in ["keep-alive", "proxy-connection", "http2-settings", "trailer"] {
            require(seen.values(name).is_empty(), || format!("{name} was forwarded"))?;
        }
        Ok(())
    }
}

/// The beginning of a text that may be very long.
fn cut(text: String) -> String {
    if text.len() > 200 { text.chars().take(200).chain(['…']).collect() } else { text }
}

fn require(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

/// Runs the table; gives back each request that the backend took, byte for byte.
fn run(site: &Site, recorder: &Recorder, report: &mut Report) -> Vec<(String, Seen)> {
    let mut taken = Vec::new();
    for case in cases::all() {
        recorder.take();
        let back = exchange(site.http, &[&case.bytes, MARKER].concat());
        let seen = recorder.take();
        report.row(&case.name, case.judge(&back, &seen));
        let whole = |seen: &Seen| !seen.faults.iter().any(|fault| fault == "incomplete");
        let forwarded = seen.into_iter().filter(|seen| whole(seen) && seen.line != MARKER_LINE);
        // A case of a hundred requests says no more to a backend than one of a few.
        taken.extend(forwarded.take(4).map(|seen| (case.name.clone(), seen)));
    }
    taken
}

#[test]
fn what_is_routed_is_what_the_backend_sees() {
    let recorder = Recorder::start();
    let hosts = [Host::new("a.test", recorder.address)];
    let Some(site) = Site::start("what_is_routed_is_what_the_backend_sees", &hosts) else { return };
    let mut report = Report::new("door");
    run(&site, &recorder, &mut report);
    report.end();
}

#[test]
fn real_backends_read_what_we_forward_as_we_do() {
    let test = "real_backends_read_what_we_forward_as_we_do";
    let recorder = Recorder::start();
    let Some(site) = Site::start(test, &[Host::new("a.test", recorder.address)]) else { return };
    let taken = run(&site, &recorder, &mut Report::new(""));
    let backends = backends::all(test, &recorder);
    if backends.is_empty() {
        // Each has said that it is skipped, or failed where it is required.
        return;
    }
    let mut report = Report::new("door-backends");
    for mut backend in backends {
        for (name, seen) in &taken {
            let row = format!("{}: {name}", backend.name);
            report.row(&row, backends::judge(&mut backend, seen));
        }
    }
    report.end();
}

#[test]
fn a_client_that_expects_100_gets_it_before_it_sends() {
    let test = "a_client_that_expects_100_gets_it_before_it_sends";
    let recorder = Recorder::start();
    let Some(site) = Site::start(test, &[Host::new("a.test", recorder.address)]) else { return };
    let mut stream = TcpStream::connect(site.http).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let head = "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\
                Connection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("open");
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").expect("open");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("an answer");
    assert!(rest.starts_with("HTTP/1.1 200 "), "{rest}");
    assert_eq!(recorder.take()[0].body, b"hello");
}

#[test]
fn a_body_cut_short_never_looks_whole_to_the_backend() {
    let test = "a_body_cut_short_never_looks_whole_to_the_backend";
    let recorder = Recorder::start();
    let Some(site) = Site::start(test, &[Host::new("a.test", recorder.address)]) else { return };
    for head in
        ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
    {
        let mut stream = TcpStream::connect(site.http).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let request = format!("POST /x HTTP/1.1\r\nHost: a.test\r\n{head}");
        stream.write_all(request.as_bytes()).expect("open");
        stream.shutdown(std::net::Shutdown::Write).expect("open");
        let mut rest = Vec::new();
        let _reset = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{head:?}");
        assert!(recorder.take().iter().all(|seen| seen.faults == ["incomplete"]), "{head:?}");
    }
}
