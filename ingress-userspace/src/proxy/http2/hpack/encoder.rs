use super::{integer, static_table};
use crate::proxy::message::Known;

/// Writes blocks. It refers to the static table only and adds nothing to the other end's dynamic
/// one: an answer is some dozen bytes longer, and costs no search. Nor does it use Huffman codes:
/// decoding them costs clients more than the bytes.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    /// The other end has made its table smaller, and waits to be told that we know (RFC 7541,
    /// section 4.2).
    resized: bool,
}

impl Encoder {
    /// The other end's table is smaller now than it was at first.
    pub(crate) fn resize(&mut self) {
        self.resized = true;
    }

    /// Begins a block.
    pub(crate) fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.resized) {
            integer::encode(out, 0x20, 5, 0);
        }
    }
}

/// `:status`.
pub(crate) fn status(out: &mut Vec<u8>, status: u16) {
    let index = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            let digit = |divisor: u16| b'0' + (status / divisor % 10) as u8;
            out.extend_from_slice(&[0x08, 3, digit(100), digit(10), digit(1)]);
            return;
        }
    };
    out.push(0x80 | index);
}

/// A field that the static table has as a whole.
pub(crate) fn indexed(out: &mut Vec<u8>, index: u8) {
    out.push(0x80 | index);
}

/// A field whose name is in the static table.
pub(crate) fn named(out: &mut Vec<u8>, index: usize, value: &[u8]) {
    integer::encode(out, 0, 4, index);
    string(out, value);
}

/// A field. Its name is written in lower case.
pub(crate) fn field(out: &mut Vec<u8>, known: Option<Known>, name: &[u8], value: &[u8]) {
    // What must not be guessed by trial goes into no table, whoever passes it on (section 7.1.3).
    let secret = matches!(
        known,
        Some(Known::Authorization | Known::Cookie | Known::ProxyAuthorization | Known::SetCookie)
    );
    let pattern = if secret { 0x10 } else { 0 };
    let index = known.map_or(0, static_table::index_of);
    integer::encode(out, pattern, 4, index);
    if index == 0 {
        integer::encode(out, 0, 7, name.len());
        out.extend(name.iter().map(u8::to_ascii_lowercase));
    }
    string(out, value);
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    integer::encode(out, 0, 7, text.len());
    out.extend_from_slice(text);
}
