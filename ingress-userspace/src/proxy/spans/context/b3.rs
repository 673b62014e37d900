//! B3, Zipkin's fields, in both forms.

use super::{Context, Remote, hex};
use crate::proxy::message::Fields;

pub(super) const ONE: &[u8] = b"b3";
const TRACE: &[u8] = b"X-B3-TraceId";
const SPAN: &[u8] = b"X-B3-SpanId";
const PARENT: &[u8] = b"X-B3-ParentSpanId";
const SAMPLED: &[u8] = b"X-B3-Sampled";
const FLAGS: &[u8] = b"X-B3-Flags";

/// `trace-span-decision-parent`, the last two perhaps missing, or the decision alone.
pub(super) fn read_one(fields: &Fields) -> Option<Remote> {
    let value = fields.get_named(ONE)?;
    if let Some(remote) = decision(value) {
        return Some(remote);
    }
    let mut parts = value.split(|byte| *byte == b'-');
    let ids = ids(parts.next()?, parts.next()?)?;
    let remote = parts.next().map_or(Some(Remote::default()), decision)?;
    if let Some(parent) = parts.next() {
        hex(parent, 16)?;
    }
    parts.next().is_none().then_some(Remote { ids: Some(ids), ..remote })
}

pub(super) fn read_many(fields: &Fields) -> Option<Remote> {
    let flags = fields.get_named(FLAGS).filter(|value| *value == b"1");
    let mut remote = match (flags, fields.get_named(SAMPLED)) {
        (Some(_), _) => Some(Remote { sampled: Some(true), debug: true, ..Remote::default() }),
        (None, Some(b"1" | b"true")) => decision(b"1"),
        (None, Some(b"0" | b"false")) => decision(b"0"),
        (None, _) => None,
    };
    if let (Some(trace), Some(span)) = (fields.get_named(TRACE), fields.get_named(SPAN))
        && let Some(ids) = ids(trace, span)
    {
        remote.get_or_insert_default().ids = Some(ids);
    }
    remote
}

fn decision(value: &[u8]) -> Option<Remote> {
    let (sampled, debug) = match value {
        b"0" => (false, false),
        b"1" => (true, false),
        b"d" => (true, true),
        _ => return None,
    };
    Some(Remote { sampled: Some(sampled), debug, ..Remote::default() })
}

/// A trace may have 64 bits.
fn ids(trace: &[u8], span: &[u8]) -> Option<(u128, u64)> {
    let trace = hex(trace, 32).or_else(|| hex(trace, 16))?;
    let span = hex(span, 16)? as u64;
    (trace != 0 && span != 0).then_some((trace, span))
}

pub(super) fn clear(fields: &mut Fields) {
    for name in [ONE, TRACE, SPAN, PARENT, SAMPLED, FLAGS] {
        fields.remove_alike(name);
    }
}

pub(super) fn write_many(context: &Context, span: u64, fields: &mut Fields) {
    fields.push(TRACE, format!("{:032x}", context.trace).as_bytes());
    fields.push(SPAN, format!("{span:016x}").as_bytes());
    fields.push(PARENT, format!("{:016x}", context.span).as_bytes());
    match (context.debug, context.sampled) {
        (true, _) => fields.push(FLAGS, b"1"),
        (false, sampled) => fields.push(SAMPLED, if sampled { b"1" } else { b"0" }),
    }
}
