//! The line that is made of a request.

use std::{borrow::Cow, cell::OnceCell, io::Write as _, net::SocketAddr, time::Duration};

use super::{
    clock::Clock,
    escape,
    journal::{Attempt, Ending, Journal, Limited, is_early, protocol},
};
use crate::{
    model::{
        BackendKey, ConnectionVariable, HostName, LogEscape, LogFormat, LogPiece, LogVariable,
        PortRef, Target, Variable,
    },
    proxy::{
        balance::View,
        http1::push_number,
        message::Version,
        pipeline::Seen,
        spans::{Attempted, Trace},
    },
    route::{normalize, octets},
};

impl Journal {
    /// Writes the line down, and hands the spans over.
    pub(crate) fn end(&self, view: &View, ending: Ending<'_>) {
        let Ending { client, subject, head, .. } = &ending;
        if let Some(trace) = &self.trace {
            trace.settle_late(client, subject, head, view);
        }
        let policies = subject.route.and_then(|route| route.policies.as_ref());
        if let Some(log) = &self.log
            && !policies.is_some_and(|own| own.silent)
        {
            let format = &log.format;
            client
                .worker
                .access_log
                .line(&log.destination, |line| self.write(view, &ending, format, line));
        }
        if let Some(trace) = &self.trace {
            self.trace(trace, view, &ending);
        }
    }

    fn trace(&self, trace: &Trace, view: &View, ending: &Ending<'_>) {
        let elapsed = self.begun.elapsed();
        let attempts = self.attempts.borrow();
        let attempts = attempts.iter().map(|attempt| {
            let begun = attempt.begun.duration_since(self.begun);
            let lasted = attempt.ended.or(attempt.answered);
            Attempted {
                address: attempt.address,
                begun,
                ended: lasted.map_or(elapsed, |lasted| begun + lasted),
                status: attempt.status,
                is_answered: attempt.answered.is_some(),
            }
        });
        trace.end(view, ending, elapsed, self.complete.get(), attempts);
    }

    fn write(&self, view: &View, ending: &Ending<'_>, format: &LogFormat, line: &mut Vec<u8>) {
        let now = Clock::now();
        let mut writing = Writing { line, escape: format.escape };
        for (index, piece) in format.pieces.iter().enumerate() {
            match piece {
                LogPiece::Text(text) => writing.line.extend_from_slice(text.as_bytes()),
                LogPiece::Variable(variable) => {
                    self.variable(index, variable, view, ending, now, &mut writing);
                }
            }
        }
    }

    fn variable(
        &self,
        index: usize,
        variable: &LogVariable,
        view: &View,
        ending: &Ending<'_>,
        now: Duration,
        to: &mut Writing<'_>,
    ) {
        let Ending { client, subject, head, status, traffic } = ending;
        let attempts = || self.attempts.borrow();
        match variable {
            // Decoded, as nginx has it; what of it is no text is escaped with all else.
            LogVariable::Request(Variable::Uri) => {
                let path = head.path();
                let path = normalize(path).unwrap_or(Cow::Borrowed(path));
                let value = octets(&path);
                to.value(Some(&*value).filter(|value| !value.is_empty() || is_field(variable)));
            }
            LogVariable::Request(own) if !is_early(own) => {
                let route = subject.route.map(|route| &**route);
                let service = match route.map(|route| &route.target) {
                    Some(Target::Backend(id)) => view.backend(*id),
                    _ => None,
                };
                let seen = Seen {
                    client,
                    fields: &head.fields,
                    method: &head.method,
                    target: &head.target,
                    path: head.path(),
                    host: "",
                    address: "",
                    server: subject.host.unwrap_or(&HostName::CatchAll),
                    route,
                    service: service.map(|service| &service.key),
                    request_id: OnceCell::new(),
                    trace: self.trace.as_deref(),
                };
                self.scratch(
                    |value| seen.variable(own, &mut |part| value.extend_from_slice(part)),
                    |value| {
                        to.value(Some(value).filter(|own| !own.is_empty() || is_field(variable)))
                    },
                );
            }
            LogVariable::Request(_)
            | LogVariable::RequestLine
            | LogVariable::RemoteUser
            | LogVariable::SentHeader(_)
            | LogVariable::UpstreamCookie(_)
            | LogVariable::UpstreamHeader(_) => {
                self.remembered(index, |value| {
                    to.value(value.filter(|value| !value.is_empty() || is_field(variable)));
                });
            }
            LogVariable::Protocol => to.plain(protocol(head.version)),
            LogVariable::TimeLocal => {
                client.worker.log_clock.local(now, |text| to.plain(text.as_bytes()));
            }
            LogVariable::TimeIso => {
                client.worker.log_clock.iso(now, |text| to.plain(text.as_bytes()));
            }
            LogVariable::Msec => to.seconds(now),
            LogVariable::Status => to.number(u64::from(*status)),
            LogVariable::BodyBytesSent => to.number(traffic.body_sent),
            LogVariable::BytesSent => to.number(u64::from(traffic.head_sent) + traffic.body_sent),
            LogVariable::RequestLength => {
                to.number(u64::from(traffic.head_received) + traffic.body_received);
            }
            LogVariable::RequestTime => to.seconds(self.begun.elapsed()),
            LogVariable::Completion => {
                to.plain(if self.complete.get() { b"OK" } else { b"" });
            }
            LogVariable::Upstream => match upstream(view, ending) {
                Some(key) => to.key(&key),
                None => to.value(None),
            },
            LogVariable::AlternativeUpstream => {
                if let Some(backend) = subject.canary {
                    to.key(&backend.key);
                }
            }
            LogVariable::UpstreamAddress => to.list(&attempts(), |attempt, line| {
                push_address(line, attempt.address);
            }),
            LogVariable::UpstreamStatus => {
                to.list(&attempts(), |attempt, line| match attempt.status {
                    0 => line.push(b'-'),
                    status => push_number(line, u64::from(status)),
                })
            }
            LogVariable::UpstreamConnectTime => to.times(&attempts(), |own| own.connected),
            LogVariable::UpstreamHeaderTime => to.times(&attempts(), |own| own.answered),
            LogVariable::UpstreamResponseTime => {
                to.times(&attempts(), |own| own.ended.or(own.answered));
            }
            LogVariable::UpstreamResponseLength => to.list(&attempts(), |attempt, line| {
                push_number(line, attempt.length);
            }),
            LogVariable::Http2 => to.plain(match (head.version, client.tls) {
                (Version::Http2, true) => b"h2",
                (Version::Http2, false) => b"h2c",
                _ => b"",
            }),
            LogVariable::LimitRequests => to.value(said(self.limited.get().0)),
            LogVariable::LimitConnections => to.value(said(self.limited.get().1)),
            LogVariable::Nothing => to.value(None),
        }
    }
}

fn said(limited: Option<Limited>) -> Option<&'static [u8]> {
    Some(match limited? {
        Limited::Passed => b"PASSED",
        Limited::Rejected => b"REJECTED",
    })
}

/// An empty field is one, an empty query is none; two are empty where nginx has them so.
fn is_field(variable: &LogVariable) -> bool {
    matches!(
        variable,
        LogVariable::Request(
            Variable::Header(_)
                | Variable::QuestionMark
                | Variable::Connection(ConnectionVariable::Https),
        ) | LogVariable::SentHeader(_)
            | LogVariable::UpstreamHeader(_)
    )
}

/// What `$proxy_upstream_name` names: the Service that the path leads to.
fn upstream(view: &View, ending: &Ending<'_>) -> Option<BackendKey> {
    match ending.subject.route.map(|route| &route.target)? {
        Target::Backend(id) => view.backend(*id).map(|backend| backend.key.clone()),
        _ => None,
    }
}

/// A line while it is written.
pub(super) struct Writing<'l> {
    pub(super) line: &'l mut Vec<u8>,
    pub(super) escape: LogEscape,
}

impl Writing<'_> {
    /// What a client or an endpoint may have made up.
    pub(super) fn value(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => escape::push(self.escape, value, self.line),
            None => self.line.extend_from_slice(escape::missing(self.escape)),
        }
    }

    /// What nobody made up.
    pub(super) fn plain(&mut self, value: &[u8]) {
        self.line.extend_from_slice(value);
    }

    pub(super) fn number(&mut self, number: u64) {
        push_number(self.line, number);
    }

    pub(super) fn seconds(&mut self, time: Duration) {
        push_seconds(self.line, time);
    }

    pub(super) fn key(&mut self, key: &BackendKey) {
        for part in [&key.namespace, &key.service] {
            self.line.extend_from_slice(part.as_bytes());
            self.line.push(b'-');
        }
        match &key.port {
            PortRef::Number(number) => self.number(u64::from(*number)),
            PortRef::Name(name) => self.line.extend_from_slice(name.as_bytes()),
        }
    }

    fn list(&mut self, attempts: &[Attempt], write: impl Fn(&Attempt, &mut Vec<u8>)) {
        if attempts.is_empty() {
            self.value(None);
        }
        for (index, attempt) in attempts.iter().enumerate() {
            if index > 0 {
                self.line.extend_from_slice(b", ");
            }
            write(attempt, self.line);
        }
    }

    fn times(&mut self, attempts: &[Attempt], time: impl Fn(&Attempt) -> Option<Duration>) {
        self.list(attempts, |attempt, line| match time(attempt) {
            Some(time) => push_seconds(line, time),
            None => line.push(b'-'),
        });
    }
}

// Numbers are written without `core::fmt`, which takes ten times as long: a line has a dozen.

/// Seconds, cut to three decimals.
fn push_seconds(line: &mut Vec<u8>, time: Duration) {
    push_number(line, time.as_secs());
    line.push(b'.');
    let millis = time.subsec_millis();
    if millis < 100 {
        line.push(b'0');
    }
    if millis < 10 {
        line.push(b'0');
    }
    push_number(line, u64::from(millis));
}

fn push_address(line: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(own) => {
            for (at, octet) in own.ip().octets().into_iter().enumerate() {
                if at > 0 {
                    line.push(b'.');
                }
                push_number(line, u64::from(octet));
            }
            line.push(b':');
            push_number(line, u64::from(own.port()));
        }
        SocketAddr::V6(own) => {
            let _infallible = write!(line, "{own}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_written_as_the_library_writes_them(
            seconds in any::<u32>(), nanos in 0..1_000_000_000_u32, address in any::<SocketAddr>(),
        ) {
            let time = Duration::new(u64::from(seconds), nanos);
            let mut line = Vec::new();
            push_seconds(&mut line, time);
            line.push(b' ');
            push_address(&mut line, address);
            let expected = format!("{seconds}.{:03} {address}", time.subsec_millis());
            prop_assert_eq!(String::from_utf8(line).expect("text"), expected);
        }
    }
}
