//! What is remembered of one request, for its line and for its spans.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use data_encoding::BASE64;

use crate::{
    model::{
        AccessLog, ConnectionVariable, HostName, LogPiece, LogVariable, Settings, Skipped, Variable,
    },
    proxy::{
        client::Client,
        counters::Subject,
        message::{Fields, Known, RequestHead, ResponseHead, Version},
        pipeline::{Origin, Seen, without_port},
        sides::Traffic,
        spans::Trace,
    },
};

/// What is remembered of a request from its beginning on, since stages change it on its way.
#[derive(Debug)]
pub(crate) struct Journal {
    /// `None`: no line is written.
    pub(super) log: Option<Arc<AccessLog>>,
    /// `None`: there are no spans.
    pub(crate) trace: Option<Box<Trace>>,
    pub(super) begun: Instant,
    /// Values that are known before the line is written, by the piece of the format.
    values: RefCell<Values>,
    pub(super) attempts: RefCell<Vec<Attempt>>,
    /// The answer reached its end.
    pub(super) complete: Cell<bool>,
    /// What became of it where the route limits requests, and connections.
    pub(super) limited: Cell<(Option<Limited>, Option<Limited>)>,
}

/// Some texts in one buffer.
#[derive(Debug, Default)]
struct Values {
    bytes: Vec<u8>,
    /// Where in `bytes` a piece's value is.
    places: Vec<Option<(usize, usize)>>,
}

/// Bytes of the values of a usual line: a request's target and what a browser says of itself.
const USUAL_VALUES: usize = 256;

/// One attempt at an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) address: SocketAddr,
    pub(super) begun: Instant,
    pub(super) connected: Option<Duration>,
    pub(super) answered: Option<Duration>,
    pub(super) ended: Option<Duration>,
    /// 0: none yet.
    pub(super) status: u16,
    /// Bytes of the body.
    pub(super) length: u64,
}

/// What a limit says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    Passed,
    Rejected,
}

/// How a request ended.
#[derive(Clone, Copy)]
pub(crate) struct Ending<'r> {
    pub(crate) client: &'r Client,
    pub(crate) subject: Subject<'r>,
    /// As the endpoint was asked.
    pub(crate) head: &'r RequestHead,
    pub(crate) status: u16,
    pub(crate) traffic: Traffic,
}

impl Journal {
    /// Begins with a request as it came. `None`: nothing is to be written about it.
    pub(crate) fn begin(
        client: &Client,
        head: &RequestHead,
        settings: &Settings,
    ) -> Option<Rc<Self>> {
        let is_wanted = |log: &&Arc<AccessLog>| {
            !log.skipped.iter().any(|skipped| is_skipped(skipped, &head.target))
        };
        let log = settings.access_log.as_ref().filter(is_wanted);
        let trace = Trace::begin(head, settings).map(Box::new);
        if log.is_none() && trace.is_none() {
            return None;
        }
        let journal = Self {
            log: log.cloned(),
            trace,
            begun: Instant::now(),
            values: RefCell::default(),
            attempts: RefCell::default(),
            complete: Cell::new(false),
            limited: Cell::default(),
        };
        let pieces = journal.pieces().len();
        if pieces > 0 {
            let mut values = journal.values.borrow_mut();
            values.places.resize(pieces, None);
            values.bytes.reserve(USUAL_VALUES);
        }
        journal.arrive(client, head, settings);
        Some(Rc::new(journal))
    }

    fn pieces(&self) -> &[LogPiece] {
        self.log.as_ref().map_or(&[], |log| &log.format.pieces)
    }

    /// Remembers what is asked of the request as it came.
    fn arrive(&self, client: &Client, head: &RequestHead, settings: &Settings) {
        let mut address = None;
        self.remember(|variable, take| match variable {
            LogVariable::RequestLine => {
                if head.target.is_empty() {
                    return;
                }
                take(head.method.as_str().as_bytes());
                take(b" ");
                take(head.target.as_bytes());
                take(b" ");
                take(protocol(head.version));
            }
            LogVariable::RemoteUser => {
                if let Some(user) = user(&head.fields) {
                    take(&user);
                }
            }
            LogVariable::Request(own) if is_early(own) => {
                let address = address.get_or_insert_with(|| match own {
                    Variable::RemoteAddr | Variable::BinaryRemoteAddr | Variable::ForwardedFor => {
                        Origin::of(client, &head.fields, settings).address.into_owned()
                    }
                    _ => String::new(),
                });
                let host = match head.authority.as_str() {
                    "" => head.fields.get(Known::Host).unwrap_or_default(),
                    named => named.as_bytes(),
                };
                let seen = Seen {
                    client,
                    fields: &head.fields,
                    method: &head.method,
                    target: &head.target,
                    path: head.path(),
                    host: without_port(std::str::from_utf8(host).unwrap_or_default()),
                    address,
                    server: &HostName::CatchAll,
                    route: None,
                    service: None,
                    request_id: Default::default(),
                    trace: None,
                };
                seen.variable(own, take);
            }
            _ => {}
        });
    }

    /// Remembers what is asked of an endpoint's answer.
    pub(crate) fn upstream_answer(&self, head: &ResponseHead) {
        self.remember(|variable, take| match variable {
            LogVariable::UpstreamHeader(name) => lines(&head.fields, name, take),
            LogVariable::UpstreamCookie(name) => {
                if let Some(value) = head.fields.set_cookie(name.as_bytes()) {
                    take(value);
                }
            }
            _ => {}
        });
    }

    /// Remembers what is asked of the answer that the client gets.
    pub(crate) fn answer(&self, head: &ResponseHead) {
        self.remember(|variable, take| {
            if let LogVariable::SentHeader(name) = variable {
                lines(&head.fields, name, take);
            }
        });
    }

    /// Goes through the variables of the format; what `value` hands over is remembered.
    fn remember(&self, mut value: impl FnMut(&LogVariable, &mut dyn FnMut(&[u8]))) {
        let mut values = self.values.borrow_mut();
        let Values { bytes, places } = &mut *values;
        for (piece, place) in self.pieces().iter().zip(places) {
            let LogPiece::Variable(variable) = piece else { continue };
            let before = bytes.len();
            let mut any = false;
            value(variable, &mut |part| {
                any = true;
                bytes.extend_from_slice(part);
            });
            if any {
                *place = Some((before, bytes.len()));
            }
        }
    }

    /// Runs `with` with what is remembered for a piece of the format.
    pub(super) fn remembered<T>(&self, piece: usize, with: impl FnOnce(Option<&[u8]>) -> T) -> T {
        let values = self.values.borrow();
        let place = values.places.get(piece).copied().flatten();
        with(place.and_then(|(from, to)| values.bytes.get(from..to)))
    }

    /// Makes a value behind those that are remembered, in memory that is there, and forgets it.
    pub(super) fn scratch<T>(
        &self,
        make: impl FnOnce(&mut Vec<u8>),
        with: impl FnOnce(&[u8]) -> T,
    ) -> T {
        let mut values = self.values.borrow_mut();
        let before = values.bytes.len();
        make(&mut values.bytes);
        let said = with(values.bytes.get(before..).unwrap_or_default());
        values.bytes.truncate(before);
        said
    }

    /// An endpoint is asked.
    pub(crate) fn attempt(&self, address: SocketAddr) {
        self.attempts.borrow_mut().push(Attempt {
            address,
            begun: Instant::now(),
            connected: None,
            answered: None,
            ended: None,
            status: 0,
            length: 0,
        });
    }

    /// The last attempt was none: its connection had been closed while it was idle.
    pub(crate) fn forget_attempt(&self) {
        self.attempts.borrow_mut().pop();
        if let Some(trace) = &self.trace {
            trace.forget_attempt();
        }
    }

    /// Of the addresses of a name that was asked, this one took the connection.
    pub(crate) fn attempt_is_at(&self, address: SocketAddr) {
        self.last(|attempt, _since| attempt.address = address);
    }

    /// There is a connection to it.
    pub(crate) fn connected(&self) {
        self.last(|attempt, since| attempt.connected = Some(since));
    }

    /// The head of its answer is there.
    pub(crate) fn answered(&self, status: u16) {
        self.last(|attempt, since| {
            attempt.answered = Some(since);
            attempt.status = status;
        });
    }

    /// The attempt came to its end without an answer, and counts as this status.
    pub(crate) fn failed(&self, status: u16) {
        self.last(|attempt, since| {
            attempt.ended = Some(since);
            attempt.status = status;
        });
    }

    /// The last answer came to its end.
    pub(crate) fn ended(&self, length: u64) {
        self.last(|attempt, since| {
            attempt.ended = Some(since);
            attempt.length = length;
        });
    }

    /// Who was asked last, and how many were.
    pub(crate) fn last_endpoint(&self) -> (Option<SocketAddr>, usize) {
        let attempts = self.attempts.borrow();
        (attempts.last().map(|attempt| attempt.address), attempts.len())
    }

    /// What limits of requests, and of connections, say of it.
    pub(crate) fn limits(&self, requests: Option<Limited>, connections: Option<Limited>) {
        self.limited.set((requests, connections));
    }

    /// The client has all of its answer.
    pub(crate) fn completed(&self) {
        self.complete.set(true);
    }

    fn last(&self, change: impl FnOnce(&mut Attempt, Duration)) {
        if let Some(attempt) = self.attempts.borrow_mut().last_mut() {
            let since = attempt.begun.elapsed();
            change(attempt, since);
        }
    }
}

fn is_skipped(skipped: &Skipped, target: &str) -> bool {
    match skipped {
        Skipped::Target(own) => own.eq_ignore_ascii_case(target),
        // What cannot be said is written down.
        Skipped::Matching(expression) => expression.is_match(target).unwrap_or(false),
    }
}

/// The value has to be looked at before the stages change the request.
pub(super) fn is_early(variable: &Variable) -> bool {
    match variable {
        Variable::RequestUri
        | Variable::EscapedRequestUri
        | Variable::Args
        | Variable::Host
        | Variable::RemoteAddr
        | Variable::BinaryRemoteAddr
        | Variable::RemotePort
        | Variable::ForwardedFor
        | Variable::Scheme
        | Variable::ServerPort
        | Variable::RequestMethod
        | Variable::Header(_)
        | Variable::Cookie(_)
        | Variable::Argument(_)
        | Variable::QuestionMark
        // These look at the host that was asked for.
        | Variable::Connection(
            ConnectionVariable::ClientVerified
            | ConnectionVariable::ClientSubject
            | ConnectionVariable::ClientIssuer,
        ) => true,
        Variable::Uri
        | Variable::ServerName
        | Variable::RequestId
        | Variable::Namespace
        | Variable::IngressName
        | Variable::ServiceName
        | Variable::ServicePort
        | Variable::LocationPath
        | Variable::TraceId
        | Variable::SpanId
        | Variable::TraceContext(_)
        | Variable::Snippet(_)
        | Variable::Connection(_) => false,
    }
}

pub(super) fn protocol(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"HTTP/1.0",
        Version::Http11 => b"HTTP/1.1",
        Version::Http2 => b"HTTP/2.0",
    }
}

/// The name that a request gives in `Authorization: Basic`.
fn user(fields: &Fields) -> Option<Vec<u8>> {
    let value = fields.get(Known::Authorization)?;
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let mut user = BASE64.decode(rest.trim_ascii()).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    user.truncate(colon);
    Some(user)
}

fn lines(fields: &Fields, name: &str, take: &mut dyn FnMut(&[u8])) {
    let named = fields.iter().filter(|field| field.is_named(name.as_bytes()));
    for (index, field) in named.enumerate() {
        if index > 0 {
            take(b", ");
        }
        take(field.value);
    }
}
