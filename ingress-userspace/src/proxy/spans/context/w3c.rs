//! W3C Trace Context, Level 1 (and the flag of Level 2).

use super::{RANDOM, Remote, SAMPLED, hex};
use crate::proxy::message::Fields;

pub(super) const PARENT: &[u8] = b"traceparent";
pub(super) const STATE: &[u8] = b"tracestate";

/// `00-` trace `-` span `-` flags. Bytes.
const LENGTH: usize = 55;
/// Section 3.3.1.1: members of a `tracestate`.
const MEMBERS: usize = 32;
/// Section 3.3.1.5: what is passed on at least, and here at most. Bytes.
const LONGEST: usize = 512;
/// What goes first where that is too long. Bytes.
const LONG_MEMBER: usize = 128;

pub(super) fn read(fields: &Fields) -> Option<Remote> {
    let mut all = fields.iter().filter(|field| field.is_named(PARENT)).map(|field| field.value);
    let (only, None) = (all.next()?, all.next()) else { return None };
    let mut remote = parent(only)?;
    remote.state = state(fields).unwrap_or_default();
    Some(remote)
}

pub(super) fn clear(fields: &mut Fields) {
    // Those that an upstream may take for ours too.
    fields.remove_alike(PARENT);
    fields.remove_alike(STATE);
}

fn parent(value: &[u8]) -> Option<Remote> {
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let mut parts = known.split(|byte| *byte == b'-');
    let version = hex(parts.next()?, 2)?;
    let trace = hex(parts.next()?, 32)?;
    let span = hex(parts.next()?, 16)?;
    let flags = hex(parts.next()?, 2)? as u8;
    let is_later = version > 0 && (rest.is_empty() || rest.starts_with(b"-"));
    if parts.next().is_some()
        || version == 0xFF
        || trace == 0
        || span == 0
        || !(rest.is_empty() && version == 0 || is_later)
    {
        return None;
    }
    Some(Remote {
        ids: Some((trace, span as u64)),
        sampled: Some(flags & SAMPLED != 0),
        random: flags & RANDOM != 0,
        ..Remote::default()
    })
}

/// All lines as one list. `None`: it breaks a rule, and is dropped as a whole.
fn state(fields: &Fields) -> Option<Vec<u8>> {
    let lines = fields.iter().filter(|field| field.is_named(STATE)).map(|field| field.value);
    let items = lines.flat_map(|line| line.split(|byte| *byte == b','));
    let mut members: Vec<&[u8]> = Vec::new();
    for member in items.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()) {
        let key = key(member)?;
        let again =
            members.iter().any(|own| own.starts_with(key) && own.get(key.len()) == Some(&b'='));
        if again || members.len() == MEMBERS {
            return None;
        }
        members.push(member);
    }
    let length = |members: &[&[u8]]| members.iter().map(|own| own.len() + 1).sum::<usize>();
    if length(&members) > LONGEST + 1 {
        members.retain(|member| member.len() <= LONG_MEMBER);
        while length(&members) > LONGEST + 1 {
            members.pop();
        }
    }
    Some(members.join(&b','))
}

/// The key of a member that obeys section 3.3.1.3.
fn key(member: &[u8]) -> Option<&[u8]> {
    let equals = member.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (member.get(..equals)?, member.get(equals + 1..)?);
    let is_of_key =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte);
    let is_of_value = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'=';
    let begins = key.first().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let is_right = begins
        && key.len() <= 256
        && key.iter().all(is_of_key)
        && !value.is_empty()
        && value.len() <= 256
        && value.iter().all(is_of_value);
    is_right.then_some(key)
}
