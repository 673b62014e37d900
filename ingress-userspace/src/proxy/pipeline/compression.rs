//! Whether an answer is compressed, and what its head then says (reference section 9.1, and nginx's
//! own gzip filter).

use http::Method;

use super::cors::vary;
use crate::{
    model::Compression,
    proxy::{
        exchange::Encoder,
        message::{BodyLength, Fields, Known, RequestHead, ResponseHead, Version},
    },
};

/// Fields that tell what the bytes of the body are, which become others (RFC 9530).
const DIGESTS: [&[u8]; 2] = [b"Content-Digest", b"Content-MD5"];

/// Chooses a coding for this answer and writes its head accordingly. `accepted`: where the client
/// says what it takes. `hold`: what is compressed may wait for more (`proxy-buffering`).
pub(super) fn apply(
    compression: &Compression,
    request: &RequestHead,
    accepted: &Fields,
    answer: &mut ResponseHead,
    hold: bool,
) -> Option<Box<Encoder>> {
    // As nginx: whole answers alone, and pages of these two errors.
    if !matches!(answer.status, 200 | 403 | 404)
        || request.method == Method::HEAD
        || answer.body == BodyLength::None
        || answer.fields.contains(Known::ContentEncoding)
        || answer
            .fields
            .items(Known::CacheControl)
            .any(|item| item.eq_ignore_ascii_case(b"no-transform"))
    {
        return None;
    }
    let content_type = answer.fields.get(Known::ContentType)?;
    let suits = |coding: &&crate::model::Coding| {
        let is_worth = match answer.body {
            BodyLength::Exact(length) => length > 0 && length >= coding.min_length,
            _ => true,
        };
        is_worth && coding.takes(content_type)
    };
    let brotli = compression.brotli.as_ref().filter(suits);
    let gzip = compression.gzip.as_ref().filter(suits);
    if brotli.is_none() && gzip.is_none() {
        return None;
    }
    let is_event_stream = content_type
        .get(..17)
        .is_some_and(|begin| begin.eq_ignore_ascii_case(b"text/event-stream"));
    let is_prompt = |value: &[u8]| value.eq_ignore_ascii_case(b"no");
    let hold = hold
        && !is_event_stream
        && !answer.fields.get(Known::XAccelBuffering).is_some_and(is_prompt);
    // Another client gets another answer, whatever this one gets.
    vary(&mut answer.fields, b"Accept-Encoding");
    // nginx's `gzip_http_version`: older clients cannot tell where the answer ends.
    if request.version == Version::Http10 {
        return None;
    }
    let brotli = brotli.map(|coding| (coding, quality(accepted, b"br")));
    let gzip = gzip.map(|coding| (coding, quality(accepted, b"gzip")));
    let length = match answer.body {
        BodyLength::Exact(length) => Some(length),
        _ => None,
    };
    let (encoder, name): (_, &[u8]) = match (brotli, gzip) {
        (Some((own, quality)), other)
            if quality > 0 && other.is_none_or(|(_, other)| quality >= other) =>
        {
            (Encoder::brotli(own.level, length, hold), b"br")
        }
        (_, Some((own, 1..))) => (Encoder::gzip(own.level, hold), b"gzip"),
        _ => return None,
    };
    answer.body = BodyLength::Unknown;
    let fields = &mut answer.fields;
    fields.remove(Known::ContentLength);
    fields.remove(Known::AcceptRanges);
    forget_digests(fields);
    weaken(fields);
    fields.push_known(Known::ContentEncoding, name);
    Some(Box::new(encoder))
}

/// The bytes are others.
pub(super) fn forget_digests(fields: &mut Fields) {
    for name in DIGESTS {
        fields.remove_named(name);
    }
}

/// The bytes are others, what they mean is the same (`ngx_http_weak_etag`).
pub(super) fn weaken(fields: &mut Fields) {
    let Some(tag) = fields.get(Known::ETag) else { return };
    if tag.starts_with(b"W/") {
        return;
    }
    match tag.starts_with(b"\"") {
        true => {
            let weak = [b"W/", tag].concat();
            fields.set(Known::ETag, &weak);
        }
        false => {
            fields.remove(Known::ETag);
        }
    }
}

/// How gladly the client takes a coding, in thousandths (RFC 9110, section 12.5.3). 0: it does not,
/// or does not say so.
fn quality(fields: &Fields, coding: &[u8]) -> u16 {
    let mut any = 0;
    for item in fields.items(Known::AcceptEncoding) {
        let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight =
            parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
        let weight = weight.map_or(1000, thousandths);
        if name.eq_ignore_ascii_case(coding) {
            return weight;
        }
        if name == b"*" {
            any = weight;
        }
    }
    any
}

/// `0.5` as 500. What is no weight is none: the coding is not used.
fn thousandths(text: &[u8]) -> u16 {
    let (whole, rest) = match text.split_first() {
        Some((b'0', rest)) => (0, rest),
        Some((b'1', rest)) => (1000, rest),
        _ => return 0,
    };
    let digits = match rest {
        [] => return whole,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return 0,
    };
    let mut part = 0;
    for place in 0..3 {
        let digit = match digits.get(place) {
            Some(digit @ b'0'..=b'9') => u16::from(digit - b'0'),
            Some(_) => return 0,
            None => 0,
        };
        part = part * 10 + digit;
    }
    let total = whole + part;
    if total <= 1000 { total } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_thousandths() {
        for (text, value) in [
            ("1", 1000),
            ("0", 0),
            ("0.5", 500),
            ("0.001", 1),
            ("1.000", 1000),
            ("1.001", 0),
            ("0.0001", 0),
            ("2", 0),
            ("", 0),
            ("0.x", 0),
            (".5", 0),
        ] {
            assert_eq!(thousandths(text.as_bytes()), value, "{text}");
        }
    }

    #[test]
    fn a_named_coding_precedes_the_asterisk() {
        for (accepted, gzip) in [
            ("gzip", 1000),
            ("GZIP;q=0.5", 500),
            ("br, gzip ; q=0.3", 300),
            ("*", 1000),
            ("*;q=0.2", 200),
            ("*, gzip;q=0", 0),
            ("gzip;q=0, *", 0),
            ("identity, deflate", 0),
            ("xgzip", 0),
            ("", 0),
        ] {
            let mut fields = Fields::default();
            fields.push_known(Known::AcceptEncoding, accepted.as_bytes());
            assert_eq!(quality(&fields, b"gzip"), gzip, "{accepted}");
        }
    }

    #[test]
    fn strong_tags_become_weak() {
        for (tag, weak) in [("\"a\"", Some("W/\"a\"")), ("W/\"a\"", Some("W/\"a\"")), ("a", None)] {
            let mut fields = Fields::default();
            fields.push_known(Known::ETag, tag.as_bytes());
            weaken(&mut fields);
            assert_eq!(fields.get(Known::ETag), weak.map(str::as_bytes), "{tag}");
        }
    }
}
