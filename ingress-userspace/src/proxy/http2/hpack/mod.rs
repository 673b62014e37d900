//! Compression of fields (RFC 7541). The decoder hands each field to a [`Sink`] as it finds it, so
//! that nothing is collected twice; the encoder writes straight into the queue of a connection.

mod decoder;
mod encoder;
mod huffman;
mod integer;
mod name;
mod static_table;
mod table;
#[cfg(test)]
mod tests;

pub(super) use decoder::Decoder;
pub(super) use encoder::{Encoder, field, indexed, named, status};
pub(super) use name::{Kind, is_sound_value};

/// Why a block cannot be decoded. The connection cannot go on after any of these: what both ends
/// believe about the dynamic table differs (RFC 9113, section 4.3: COMPRESSION_ERROR).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadBlock {
    #[error("an integer does not end, or is larger than any that has a meaning")]
    Integer,
    #[error("the block ends in the middle of a field")]
    Truncated,
    #[error("an index points at no field")]
    Index,
    #[error("a Huffman code is not in the table, or is padded wrongly")]
    Huffman,
    #[error("the size of the table is changed in the wrong place, or beyond what was allowed")]
    TableSize,
}

/// One field of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decoded<'b> {
    pub(super) name: &'b [u8],
    pub(super) value: &'b [u8],
    /// What the name stands for.
    pub(super) kind: Kind,
    /// The value holds no byte that a value may not hold.
    pub(super) sound: bool,
}

/// Takes the fields of a block, in their order.
pub(super) trait Sink {
    fn field(&mut self, field: Decoded<'_>);
    /// A field whose name or value alone is longer than what is decoded at all.
    fn oversized(&mut self);
}

/// What a field counts for beside its text, in a table and in a list (section 4.1). Bytes.
pub(super) const OVERHEAD: usize = 32;
