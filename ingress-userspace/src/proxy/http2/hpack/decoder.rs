use super::{
    BadBlock, Decoded, Kind, Sink, huffman, integer, is_sound_value, static_table, table::Table,
};

/// What we allow the other end's table to hold: the default, SETTINGS_HEADER_TABLE_SIZE. Bytes.
pub(super) const TABLE: usize = 4096;

/// A string longer than this is not decoded to its end: no message may be that large. Bytes.
const LONGEST: usize = 32 * 1024;

/// Room for strings that is kept between blocks. Bytes.
const KEPT: usize = 1024;

/// Decodes the blocks of one direction of a connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
    /// The strings of the field that is being read, where they are not in the block as they are.
    scratch: Vec<u8>,
}

/// One string of a field.
#[derive(Clone, Copy)]
enum Text<'b> {
    /// In the block or the static table.
    Plain(&'b [u8]),
    /// In the scratch, from and to.
    Scratch(usize, usize),
    /// Longer than [`LONGEST`].
    Oversized,
}

impl<'b> Text<'b> {
    fn of(self, scratch: &'b [u8]) -> Option<&'b [u8]> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Scratch(start, end) => scratch.get(start..end),
            Self::Oversized => None,
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self { table: Table::new(TABLE), scratch: Vec::new() }
    }
}

impl Decoder {
    /// Decodes a whole block.
    ///
    /// # Errors
    /// The block breaks the rules; the table is of no use afterwards.
    pub(crate) fn decode(
        &mut self,
        mut block: &[u8],
        sink: &mut impl Sink,
    ) -> Result<(), BadBlock> {
        let mut fields = false;
        while let Some(first) = block.first().copied() {
            match first {
                0x80.. => {
                    let index = integer::decode(&mut block, 7)?;
                    sink.field(self.get(index)?);
                }
                0x40.. => self.literal(&mut block, 6, true, sink)?,
                0x20.. => {
                    // Only before the first field (section 4.2).
                    let size = integer::decode(&mut block, 5)?;
                    if fields || size > TABLE {
                        return Err(BadBlock::TableSize);
                    }
                    self.table.resize(size);
                    continue;
                }
                _ => self.literal(&mut block, 4, false, sink)?,
            }
            fields = true;
        }
        if self.scratch.capacity() > KEPT {
            self.scratch = Vec::new();
        }
        Ok(())
    }

    fn get(&self, index: usize) -> Result<Decoded<'_>, BadBlock> {
        if let Some(dynamic) = index.checked_sub(static_table::LENGTH + 1) {
            return self.table.get(dynamic).ok_or(BadBlock::Index);
        }
        let entry = static_table::get(index).ok_or(BadBlock::Index)?;
        Ok(Decoded {
            name: entry.name.as_bytes(),
            value: entry.value.as_bytes(),
            kind: entry.kind,
            sound: true,
        })
    }

    fn literal(
        &mut self,
        block: &mut &[u8],
        prefix: u32,
        indexed: bool,
        sink: &mut impl Sink,
    ) -> Result<(), BadBlock> {
        self.scratch.clear();
        let index = integer::decode(block, prefix)?;
        let (name, kind) = self.name(block, index)?;
        let value = self.string(block)?;
        let (Some(name), Some(value)) = (name.of(&self.scratch), value.of(&self.scratch)) else {
            sink.oversized();
            if indexed {
                // Larger than the table, which it empties.
                let max = self.table.max();
                self.table.resize(0);
                self.table.resize(max);
            }
            return Ok(());
        };
        let kind = kind.unwrap_or_else(|| Kind::of(name));
        let field = Decoded { name, value, kind, sound: is_sound_value(value) };
        sink.field(field);
        if indexed {
            self.table.insert(field);
        }
        Ok(())
    }

    /// The name of a literal, and what it stands for where that is known already.
    fn name<'b>(
        &mut self,
        block: &mut &'b [u8],
        index: usize,
    ) -> Result<(Text<'b>, Option<Kind>), BadBlock> {
        if index == 0 {
            return Ok((self.string(block)?, None));
        }
        if let Some(dynamic) = index.checked_sub(static_table::LENGTH + 1) {
            let field = self.table.get(dynamic).ok_or(BadBlock::Index)?;
            // Copied: the entry may be evicted for the one that takes its name.
            self.scratch.extend_from_slice(field.name);
            return Ok((Text::Scratch(0, field.name.len()), Some(field.kind)));
        }
        let entry = static_table::get(index).ok_or(BadBlock::Index)?;
        Ok((Text::Plain(entry.name.as_bytes()), Some(entry.kind)))
    }

    fn string<'b>(&mut self, block: &mut &'b [u8]) -> Result<Text<'b>, BadBlock> {
        let huffman = block.first().ok_or(BadBlock::Truncated)? & 0x80 != 0;
        let length = integer::decode(block, 7)?;
        let (text, rest) = block.split_at_checked(length).ok_or(BadBlock::Truncated)?;
        *block = rest;
        if !huffman {
            return Ok(if length > LONGEST { Text::Oversized } else { Text::Plain(text) });
        }
        let start = self.scratch.len();
        let whole = huffman::decode(text, &mut self.scratch, LONGEST)?;
        Ok(if whole { Text::Scratch(start, self.scratch.len()) } else { Text::Oversized })
    }

    #[cfg(test)]
    pub(super) fn table(&self) -> &Table {
        &self.table
    }
}
