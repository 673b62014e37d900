//! Heads and trailers of messages, from and to blocks of fields (RFC 9113, section 8). What a block
//! may not hold is refused here, once, so that nothing behind has to look again.

mod encode;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod trailers;

pub(super) use encode::{encode_request, encode_response, encode_trailers};
pub(super) use request::RequestReader;
pub(super) use response::ResponseReader;
pub(super) use trailers::{Discard, TrailersReader};

use super::hpack::{Decoded, OVERHEAD};
use crate::proxy::message::Known;

/// What became of a block that could be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    #[default]
    Sound,
    /// A stream error of type PROTOCOL_ERROR (section 8.1.1).
    Malformed,
    /// The fields are more than we take: 431.
    TooLarge,
}

impl Verdict {
    /// What was wrong first stays.
    fn worsen(&mut self, to: Self) {
        if *self == Self::Sound {
            *self = to;
        }
    }
}

/// Counts fields as SETTINGS_MAX_HEADER_LIST_SIZE does (section 6.5.2).
#[derive(Debug)]
struct Budget(usize);

impl Budget {
    /// False: there is no room for this field.
    fn admit(&mut self, field: &Decoded<'_>) -> bool {
        let left = self.0.checked_sub(field.name.len() + field.value.len() + OVERHEAD);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// Fields that HTTP/2 does not have (section 8.2.2). `TE` may say that trailers are welcome.
fn is_of_connection(known: Option<Known>, value: &[u8]) -> bool {
    match known {
        Some(
            Known::Connection
            | Known::ProxyConnection
            | Known::KeepAlive
            | Known::TransferEncoding
            | Known::Upgrade,
        ) => true,
        Some(Known::Te) => !value.eq_ignore_ascii_case(b"trailers"),
        _ => false,
    }
}

/// A value of `Content-Length`; `None`: it is no number, or larger than any body.
fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(value).ok()?.parse::<u64>().ok()?;
    i64::try_from(number).is_ok().then_some(number)
}
