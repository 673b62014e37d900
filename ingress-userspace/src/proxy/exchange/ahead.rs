use crate::proxy::{buffer::Buffer, held::Held, sides::Read};

/// What was read of a body before its request was passed on.
#[derive(Debug)]
pub(crate) struct Ahead {
    bytes: Vec<u8>,
    /// How much of it has gone on. Bytes.
    gone: usize,
    /// It is all of the body.
    whole: bool,
    /// Counted for as long as it lasts.
    held: Option<Held>,
}

impl Ahead {
    pub(crate) fn new(bytes: Vec<u8>, whole: bool, held: Held) -> Self {
        Self { bytes, gone: 0, whole, held: Some(held) }
    }

    /// What of it has not gone on, whether that is all, and the count of its memory.
    pub(crate) fn into_parts(mut self) -> (Vec<u8>, bool, Option<Held>) {
        self.bytes.drain(..self.gone.min(self.bytes.len()));
        (self.bytes, self.whole, self.held)
    }

    /// Moves as much as there is room for to the end of the buffer. `None`: what else there is of
    /// the body comes from the client.
    pub(super) fn take(&mut self, into: &mut Buffer) -> Option<Read> {
        let left = self.bytes.get(self.gone..).unwrap_or_default();
        let was_empty = left.is_empty();
        self.gone += into.append(left);
        if self.gone >= self.bytes.len() {
            // Its room is others' now: the answer may take its time.
            (self.bytes, self.held) = (Vec::new(), None);
        }
        match (was_empty, self.whole) {
            (false, _) => Some(Read::Data),
            (true, true) => Some(Read::End),
            (true, false) => None,
        }
    }
}
