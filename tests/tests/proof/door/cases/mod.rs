//! The rows. Where a standard leaves a choice both are allowed; where it says MAY and nginx refuses,
//! refusing is asked for. Sources: RFC 9110, RFC 9112, nginx 1.22 as ingress-nginx runs it.

mod framing;
mod heads;
mod limits;
mod targets;

use super::{Case, Outcome, Want};

const REFUSE: &[u16] = &[400];
/// nginx answers 501 to codings that it does not know (RFC 9112, section 6.1).
const CODING: &[u16] = &[400, 501];
const VERSION: &[u16] = &[400, 505];
const TOO_LARGE: &[u16] = &[400, 431];

/// Names that a trailer must never bring (RFC 9110, section 6.5.1).
pub(in crate::door) const NEVER_TRAILERS: &[&str] = &[
    "content-length",
    "transfer-encoding",
    "host",
    "authorization",
    "x-real-ip",
    "x-forwarded-for",
    "connection",
    "cookie",
];

fn refused(statuses: &'static [u16]) -> Outcome {
    Outcome::Refused(statuses)
}

fn want(lines: &[&str], body: &[u8]) -> Want {
    Want {
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        has: vec![("host", "a.test".to_owned())],
        lacks: Vec::new(),
        body: body.to_vec(),
    }
}

impl Want {
    fn has(mut self, name: &'static str, value: &str) -> Self {
        self.has.retain(|(own, _)| *own != name);
        self.has.push((name, value.to_owned()));
        self
    }

    fn lacks(mut self, names: &[&'static str]) -> Self {
        self.lacks.extend(names);
        self
    }

    fn only(self) -> Outcome {
        Outcome::As(vec![self])
    }
}

fn case(name: impl Into<String>, bytes: impl Into<Vec<u8>>, allowed: Vec<Outcome>) -> Case {
    Case { name: name.into(), bytes: bytes.into(), allowed, closes: false }
}

fn closing(name: &str, bytes: &str, allowed: Vec<Outcome>) -> Case {
    Case { closes: true, ..case(name, bytes, allowed) }
}

/// Every row.
pub(in crate::door) fn all() -> Vec<Case> {
    let parts: [fn() -> Vec<Case>; 12] = [
        framing::lengths,
        framing::codings,
        framing::chunks,
        framing::trailers,
        heads::lines,
        heads::fields,
        heads::hops,
        targets::targets,
        targets::hosts,
        limits::versions,
        limits::sizes,
        limits::sequences,
    ];
    parts.iter().flat_map(|part| part()).collect()
}

/// A POST of these framing fields and this body.
fn post(fields: &str, body: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n{body}")
}

fn posted(body: &[u8]) -> Want {
    want(&["POST /p HTTP/1.1"], body)
}
