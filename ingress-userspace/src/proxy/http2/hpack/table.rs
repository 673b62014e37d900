//! The dynamic table (RFC 7541, section 2.3.2). All text lies in one vector that is compacted when
//! half of it is of entries that are gone; what a name stands for is found when it enters.

use std::collections::VecDeque;

use super::{Decoded, Kind, OVERHEAD};

/// The fields that the other end may refer to.
#[derive(Debug, Default)]
pub(super) struct Table {
    text: Vec<u8>,
    /// The oldest is in front.
    entries: VecDeque<Entry>,
    /// As section 4.1 counts it. Bytes.
    size: usize,
    /// What `size` may be. Bytes.
    max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: usize,
    name: usize,
    value: usize,
    kind: Kind,
    sound: bool,
}

impl Entry {
    fn size(&self) -> usize {
        self.name + self.value + OVERHEAD
    }
}

impl Table {
    pub(super) fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// The entry of this index; that of the newest is 0.
    pub(super) fn get(&self, index: usize) -> Option<Decoded<'_>> {
        let at = self.entries.len().checked_sub(1)?.checked_sub(index)?;
        let entry = self.entries.get(at)?;
        let text = self.text.get(entry.start..entry.start + entry.name + entry.value)?;
        let (name, value) = text.split_at_checked(entry.name)?;
        Some(Decoded { name, value, kind: entry.kind, sound: entry.sound })
    }

    /// What it may hold. Bytes.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Changes what it may hold.
    pub(super) fn resize(&mut self, max: usize) {
        self.max = max;
        self.evict(0);
    }

    /// Adds a field, for which old ones may have to go; one that is larger than the table empties
    /// it (section 4.4).
    pub(super) fn insert(&mut self, field: Decoded<'_>) {
        let size = field.name.len() + field.value.len() + OVERHEAD;
        self.evict(size);
        if size > self.max {
            return;
        }
        if self.text.len() > self.max {
            let gone = self.entries.front().map_or(self.text.len(), |oldest| oldest.start);
            self.text.drain(..gone);
            self.entries.iter_mut().for_each(|entry| entry.start -= gone);
        }
        let start = self.text.len();
        self.text.extend_from_slice(field.name);
        self.text.extend_from_slice(field.value);
        self.size += size;
        self.entries.push_back(Entry {
            start,
            name: field.name.len(),
            value: field.value.len(),
            kind: field.kind,
            sound: field.sound,
        });
    }

    /// Removes the oldest until there is room for so many bytes, or nothing is left.
    fn evict(&mut self, room: usize) {
        while self.size + room > self.max {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.size -= oldest.size();
        }
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry>()
    }
}
