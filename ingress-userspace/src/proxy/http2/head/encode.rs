//! Heads and trailers as blocks of fields. Fields about the connection are left out, whoever set
//! them (RFC 9113, section 8.2.2).

use http::Method;

use super::is_of_connection;
use crate::proxy::{
    http2::hpack,
    message::{BodyLength, Field, Fields, Known, RequestHead, ResponseHead},
};

/// Indices of the static table (RFC 7541, appendix A).
mod index {
    pub(super) const AUTHORITY: usize = 1;
    pub(super) const METHOD: usize = 2;
    pub(super) const GET: u8 = 2;
    pub(super) const POST: u8 = 3;
    pub(super) const PATH: usize = 4;
    pub(super) const HTTP: u8 = 6;
    pub(super) const HTTPS: u8 = 7;
    pub(super) const CONTENT_LENGTH: usize = 28;
}

/// The head of an answer. `status` is what is said in place of the head's own.
pub(crate) fn encode_response(out: &mut Vec<u8>, head: &ResponseHead, status: u16) {
    hpack::status(out, status);
    // Without a body, the field says what there would have been; 1xx and 204 have none (RFC 9110,
    // section 8.6).
    let keeps_length = head.body == BodyLength::None && status >= 200 && status != 204;
    fields(out, &head.fields, |field| keeps_length || field.known != Some(Known::ContentLength));
    if let BodyLength::Exact(length) = head.body {
        content_length(out, length);
    }
}

/// The head of a request to an upstream that is spoken to over TLS (`https`) or not.
pub(crate) fn encode_request(out: &mut Vec<u8>, head: &RequestHead, https: bool) {
    match head.method {
        Method::GET => hpack::indexed(out, index::GET),
        Method::POST => hpack::indexed(out, index::POST),
        _ => hpack::named(out, index::METHOD, head.method.as_str().as_bytes()),
    }
    if head.method != Method::CONNECT || !head.protocol.is_empty() {
        hpack::indexed(out, if https { index::HTTPS } else { index::HTTP });
        hpack::named(out, index::PATH, head.target.as_bytes());
    }
    // What HTTP/1 says in `Host` (section 8.3.1).
    let host = head.fields.get(Known::Host).unwrap_or(head.authority.as_bytes());
    if !host.is_empty() {
        hpack::named(out, index::AUTHORITY, host);
    }
    if !head.protocol.is_empty() {
        hpack::field(out, None, b":protocol", head.protocol.as_bytes());
    }
    fields(out, &head.fields, |field| {
        !matches!(field.known, Some(Known::Host | Known::ContentLength | Known::Http2Settings))
    });
    if let BodyLength::Exact(length) = head.body {
        content_length(out, length);
    }
}

/// Trailers.
pub(crate) fn encode_trailers(out: &mut Vec<u8>, trailers: &Fields) {
    fields(out, trailers, |field| field.known != Some(Known::ContentLength));
}

fn fields(out: &mut Vec<u8>, fields: &Fields, keep: impl Fn(&Field<'_>) -> bool) {
    for field in fields.iter() {
        if keep(&field) && !is_of_connection(field.known, field.value) {
            hpack::field(out, field.known, field.name, field.value);
        }
    }
}

fn content_length(out: &mut Vec<u8>, length: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = length;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    hpack::named(out, index::CONTENT_LENGTH, digits.get(at..).unwrap_or_default());
}
