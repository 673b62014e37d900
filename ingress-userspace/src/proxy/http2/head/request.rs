use http::Method;

use super::{Budget, Verdict, is_of_connection, length};
use crate::proxy::{
    http2::hpack::{Decoded, Kind, Sink},
    message::{BodyLength, Known, RequestHead, Version},
};

/// More fields than this are refused, as of HTTP/1: a client gains nothing from them.
const FIELDS: usize = 200;
/// The longest field, name and value: a line of HTTP/1 has no more room (one of nginx's
/// `large-client-header-buffers`). Bytes.
const LONGEST: usize = 8 * 1024;

/// Reads the head of a request from a block (RFC 9113, section 8.3.1).
pub(crate) struct RequestReader<'h> {
    head: &'h mut RequestHead,
    budget: Budget,
    verdict: Verdict,
    seen: Seen,
    /// The crumbs of `Cookie`, put together (section 8.2.3).
    cookie: Vec<u8>,
    length: Option<u64>,
}

/// What was there already.
#[derive(Debug, Default)]
struct Seen {
    method: bool,
    scheme: bool,
    authority: bool,
    path: bool,
    protocol: bool,
    /// A field, behind which no pseudo-field may be.
    field: bool,
    cookie: bool,
}

impl<'h> RequestReader<'h> {
    /// Fills `head`, which is empty, with at most `list` bytes of fields.
    pub(crate) fn new(head: &'h mut RequestHead, list: usize) -> Self {
        head.version = Version::Http2;
        Self {
            head,
            budget: Budget(list),
            verdict: Verdict::Sound,
            seen: Seen::default(),
            cookie: Vec::new(),
            length: None,
        }
    }

    /// The block has ended, and with it the stream's side of the client (`end`) or not.
    pub(crate) fn finish(mut self, end: bool) -> Verdict {
        if self.seen.cookie {
            self.head.fields.push_known(Known::Cookie, &self.cookie);
        }
        if !self.is_complete() || !self.names_one_host() {
            self.verdict.worsen(Verdict::Malformed);
        }
        self.head.body = match (self.length, end) {
            (None, true) => BodyLength::None,
            (None, false) => BodyLength::Unknown,
            (Some(length), _) => BodyLength::Exact(length),
        };
        // Section 8.1.1: the length and the data are not the same.
        if end && self.length.is_some_and(|length| length > 0) {
            self.verdict.worsen(Verdict::Malformed);
        }
        self.verdict
    }

    /// All pseudo-fields that there have to be, and none that must not.
    fn is_complete(&self) -> bool {
        let seen = &self.seen;
        let target = &self.head.target;
        if self.head.method == Method::CONNECT && !seen.protocol {
            // Section 8.5.
            return seen.method && seen.authority && !seen.scheme && !seen.path;
        }
        let target =
            target.starts_with('/') || (target == "*" && self.head.method == Method::OPTIONS);
        let protocol = !seen.protocol || self.head.method == Method::CONNECT && seen.authority;
        seen.method && seen.scheme && seen.path && target && protocol
    }

    /// `Host` occurs once at most, and says what `:authority` says (section 8.3.1).
    fn names_one_host(&self) -> bool {
        let mut hosts = self.head.fields.get_all(Known::Host);
        match (hosts.next(), hosts.next()) {
            (None, _) => true,
            (Some(host), None) => {
                let authority = self.head.authority.as_bytes();
                !self.seen.authority
                    || without_port(host).eq_ignore_ascii_case(without_port(authority))
            }
            (Some(_), Some(_)) => false,
        }
    }

    fn pseudo(&mut self, field: &Decoded<'_>) -> bool {
        let seen = match field.kind {
            Kind::Method => &mut self.seen.method,
            Kind::Scheme => &mut self.seen.scheme,
            Kind::Authority => &mut self.seen.authority,
            Kind::Path => &mut self.seen.path,
            Kind::Protocol => &mut self.seen.protocol,
            Kind::Status | Kind::Malformed | Kind::Field(_) => return false,
        };
        if std::mem::replace(seen, true) || self.seen.field {
            return false;
        }
        let value = field.value;
        match field.kind {
            Kind::Method => self.method(value),
            Kind::Scheme => is_scheme(value),
            Kind::Authority => {
                let bad =
                    |byte: &u8| matches!(byte, b' ' | b'\t' | b'/' | b'?' | b'#' | b'@' | b',');
                !value.iter().any(bad) && push(&mut self.head.authority, value)
            }
            // A fragment is never sent; whoever gets one would have to guess.
            Kind::Path => {
                let bad = |byte: &u8| matches!(byte, b' ' | b'\t' | b'#');
                !value.iter().any(bad) && push(&mut self.head.target, value)
            }
            _ => push(&mut self.head.protocol, value),
        }
    }

    /// nginx's rule; lower case is no method that anyone registered.
    fn method(&mut self, value: &[u8]) -> bool {
        let is_method = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'_' | b'-');
        let method = value.iter().all(is_method).then(|| Method::from_bytes(value));
        match method {
            Some(Ok(method)) => self.head.method = method,
            _ => return false,
        }
        true
    }

    fn regular(&mut self, known: Option<Known>, field: &Decoded<'_>) -> bool {
        self.seen.field = true;
        match known {
            Some(Known::Cookie) => {
                if std::mem::replace(&mut self.seen.cookie, true) {
                    self.cookie.extend_from_slice(b"; ");
                }
                self.cookie.extend_from_slice(field.value);
                return true;
            }
            Some(Known::ContentLength) => {
                let length = length(field.value);
                if length.is_none() || self.length.is_some() {
                    return false;
                }
                self.length = length;
            }
            _ if is_of_connection(known, field.value) => return false,
            _ => {}
        }
        if self.head.fields.len() >= FIELDS || field.name.len() + field.value.len() > LONGEST {
            self.verdict.worsen(Verdict::TooLarge);
            return true;
        }
        match known {
            Some(known) => self.head.fields.push_known(known, field.value),
            None => self.head.fields.push(field.name, field.value),
        }
        true
    }
}

impl Sink for RequestReader<'_> {
    fn field(&mut self, field: Decoded<'_>) {
        if !self.budget.admit(&field) {
            self.verdict.worsen(Verdict::TooLarge);
        }
        if self.verdict != Verdict::Sound {
            return;
        }
        let sound = field.sound
            && match field.kind {
                Kind::Field(known) => self.regular(known, &field),
                _ => self.pseudo(&field),
            };
        if !sound {
            self.verdict.worsen(Verdict::Malformed);
        }
    }

    fn oversized(&mut self) {
        self.verdict.worsen(Verdict::TooLarge);
    }
}

/// RFC 3986, section 3.1.
fn is_scheme(value: &[u8]) -> bool {
    let rest = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    value.first().is_some_and(u8::is_ascii_alphabetic) && value.iter().all(rest)
}

/// A host without the port that every scheme has by default: `a` and `a:443` are the same.
fn without_port(host: &[u8]) -> &[u8] {
    host.strip_suffix(b":443").or_else(|| host.strip_suffix(b":80")).unwrap_or(host)
}

/// Appends text; octets that are no UTF-8 become their escapes, which mean the same.
fn push(text: &mut String, bytes: &[u8]) -> bool {
    if let Ok(all) = std::str::from_utf8(bytes) {
        text.push_str(all);
        return true;
    }
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for octet in chunk.invalid() {
            text.push_str(&format!("%{octet:02X}"));
        }
    }
    true
}
