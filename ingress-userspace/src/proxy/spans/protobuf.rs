//! As much of Protocol Buffers' encoding as spans need. Written by the worker itself: what a library
//! would first gather in some twenty allocations per span goes into the buffer at once. That it is what
//! the published definitions say, `tests/agent/tracing.rs` shows.

/// A field that holds a varint.
pub(super) fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, 0);
    varint(out, value);
}

/// A field of 64 bits.
pub(super) fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A field of 32 bits.
pub(super) fn fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    key(out, field, 5);
    out.extend_from_slice(&value.to_le_bytes());
}

/// A field of bytes, text or an encoded message.
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    key(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A field of a message that `write` writes.
pub(super) fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    key(out, field, 2);
    // The length is not known yet; most have one byte.
    let place = out.len();
    out.push(0);
    write(out);
    let length = out.len() - place - 1;
    let mut text = Vec::with_capacity(4);
    varint(&mut text, length as u64);
    out.splice(place..=place, text);
}

fn key(out: &mut Vec<u8>, field: u32, kind: u32) {
    varint(out, u64::from(field << 3 | kind));
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The number at the beginning of `bytes`, and what follows. `None`: there is none.
fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7F).checked_shl(7 * index as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

/// The fields of a message that a peer sent, as far as they can be read.
pub(super) fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        let (key, after) = read_varint(rest)?;
        let value;
        (value, rest) = match key & 7 {
            0 => {
                let (number, after) = read_varint(after)?;
                (Value::Number(number), after)
            }
            1 => (Value::Bytes(after.get(..8)?), after.get(8..)?),
            2 => {
                let (length, after) = read_varint(after)?;
                let (text, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
                (Value::Bytes(text), after)
            }
            5 => (Value::Bytes(after.get(..4)?), after.get(4..)?),
            _ => return None,
        };
        Some((key >> 3, value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_encoded_as_the_specification_has_them() {
        // The examples of protobuf's own description of its encoding.
        let mut out = Vec::new();
        number(&mut out, 1, 150);
        assert_eq!(out, [0x08, 0x96, 0x01]);
        out.clear();
        bytes(&mut out, 2, b"testing");
        assert_eq!(out, [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
        out.clear();
        message(&mut out, 3, |out| number(out, 1, 150));
        assert_eq!(out, [0x1a, 0x03, 0x08, 0x96, 0x01]);
    }

    #[test]
    fn long_messages_have_their_length() {
        let mut out = Vec::new();
        message(&mut out, 1, |out| {
            message(out, 2, |out| bytes(out, 3, &[7; 300]));
            fixed64(out, 4, 5);
            fixed32(out, 5, 6);
        });
        let (_, Value::Bytes(outer)) = fields(&out).next().expect("one") else { panic!("bytes") };
        let inner: Vec<_> = fields(outer).collect();
        assert_eq!(inner.len(), 3);
        let Value::Bytes(nested) = inner[0].1 else { panic!("bytes") };
        assert_eq!(fields(nested).next(), Some((3, Value::Bytes(&[7; 300]))));
        assert_eq!(inner[2], (5, Value::Bytes(&[6, 0, 0, 0])));
    }

    proptest! {
        #[test]
        fn what_a_peer_sends_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(fields(&bytes).count() <= bytes.len());
        }
    }
}
