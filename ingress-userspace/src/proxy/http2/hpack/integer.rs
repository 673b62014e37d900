//! Integers (RFC 7541, section 5.1).

use super::BadBlock;

/// Reads an integer whose first byte has `prefix` bits for it, and moves `input` behind it.
///
/// # Errors
/// It is truncated, or larger than 28 bits: more than any length or index can be.
pub(super) fn decode(input: &mut &[u8], prefix: u32) -> Result<usize, BadBlock> {
    let (first, mut rest) = input.split_first().ok_or(BadBlock::Truncated)?;
    let mask = (1_usize << prefix) - 1;
    let mut value = usize::from(*first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (byte, behind) = rest.split_first().ok_or(BadBlock::Truncated)?;
            rest = behind;
            // Four bytes of seven bits; a fifth could only be larger or pad.
            if shift > 21 {
                return Err(BadBlock::Integer);
            }
            value += usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *input = rest;
    Ok(value)
}

/// Writes an integer behind `pattern`, the bits of the first byte that are not its prefix.
pub(super) fn encode(out: &mut Vec<u8>, pattern: u8, prefix: u32, value: usize) {
    let mask = (1_usize << prefix) - 1;
    if value < mask {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
