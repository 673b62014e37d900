//! What an application is told of a request: the parameters of the route, and the request's fields
//! as CGI has them (RFC 3875, section 4.1.18).

use super::record;
use crate::proxy::message::{BodyLength, Field, Fields, Known, RequestHead};

/// All of them, as pairs.
pub(super) fn of(head: &RequestHead) -> Vec<u8> {
    let mut pairs = Vec::with_capacity(2048);
    let own = head.parameters.as_deref();
    for parameter in own.into_iter().flat_map(Fields::iter) {
        record::pair(&mut pairs, &[parameter.name], &[parameter.value]);
    }
    let length = match head.body {
        BodyLength::Exact(length) => length.to_string(),
        BodyLength::None | BodyLength::Unknown => String::new(),
    };
    record::pair(&mut pairs, &[b"CONTENT_LENGTH"], &[length.as_bytes()]);
    fields(&head.fields, own, &mut pairs);
    pairs
}

/// The fields: each name once, with what all lines of it say. A parameter of the route of the same
/// name stands in the place of all.
fn fields(fields: &Fields, own: Option<&Fields>, pairs: &mut Vec<u8>) {
    let kept: Vec<_> = fields.iter().filter(may_pass).collect();
    for (place, first) in kept.iter().enumerate() {
        let is_named =
            |name: &[u8]| name.strip_prefix(b"HTTP_").is_some_and(|own| first.is_alike(own));
        if kept.iter().take(place).any(|before| before.is_alike(first.name))
            || own.is_some_and(|own| own.iter().any(|own| is_named(own.name)))
        {
            continue;
        }
        let same = || kept.iter().skip(place).filter(|field| field.is_alike(first.name));
        // A client's `X_Real_Ip` beside our `X-Real-IP`: to the application they are one, and the
        // one with dashes is that which others look at.
        let has_plain = same().any(|field| !field.name.contains(&b'_'));
        let separator: &[u8] = if first.known == Some(Known::Cookie) { b"; " } else { b", " };
        let mut value = Vec::new();
        let lines = same().filter(|field| !has_plain || !field.name.contains(&b'_'));
        for (line, field) in lines.enumerate() {
            if line > 0 {
                value.extend_from_slice(separator);
            }
            value.extend_from_slice(field.value);
        }
        let name: Vec<u8> = first.name.iter().map(spell).collect();
        record::pair(pairs, &[b"HTTP_", &name], &[&value]);
    }
}

/// Names that the environment can have; what `Proxy` would be there, programs take for the proxy that
/// they are to use ("httpoxy").
fn may_pass(field: &Field<'_>) -> bool {
    field.known != Some(Known::Proxy)
        && field.name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
}

/// `x-own` as `X_OWN`.
fn spell(byte: &u8) -> u8 {
    if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }
}
