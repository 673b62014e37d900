//! What waits to be written to a connection: one run of bytes, frame after frame.

use std::rc::Rc;

use super::setup::Setup;

/// Written bytes in front of the queue are removed when they are so many.
const DEAD: usize = 64 * 1024;

/// The queue. Its memory is lent by the worker while something is in it.
pub(super) struct Output {
    setup: Rc<Setup>,
    queue: Vec<u8>,
    /// So many bytes at the front of it are written.
    written: usize,
    /// So many bytes were removed from the front of it, ever.
    removed: u64,
}

impl Output {
    pub(super) fn new(setup: &Rc<Setup>) -> Self {
        Self { setup: Rc::clone(setup), queue: Vec::new(), written: 0, removed: 0 }
    }

    /// Where frames are appended.
    pub(super) fn queue(&mut self) -> &mut Vec<u8> {
        if self.queue.capacity() == 0 {
            self.queue = self.setup.queues.take();
        }
        &mut self.queue
    }

    /// What is to be written.
    pub(super) fn pending(&self) -> &[u8] {
        self.queue.get(self.written..).unwrap_or_default()
    }

    /// So much is to be written. Bytes.
    pub(super) fn len(&self) -> usize {
        self.queue.len() - self.written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the next byte goes, counted from the beginning of the connection.
    pub(super) fn position(&self) -> u64 {
        self.removed + self.queue.len() as u64
    }

    /// A byte that was queued and is not yet written.
    pub(super) fn byte_at(&mut self, position: u64) -> Option<&mut u8> {
        let at = usize::try_from(position.checked_sub(self.removed)?).ok()?;
        if at < self.written { None } else { self.queue.get_mut(at) }
    }

    /// So many bytes are written.
    pub(super) fn wrote(&mut self, length: usize) {
        self.written = (self.written + length).min(self.queue.len());
        if self.written == self.queue.len() {
            self.removed += self.written as u64;
            self.written = 0;
            self.setup.queues.give(std::mem::take(&mut self.queue));
        } else if self.written > DEAD {
            self.queue.drain(..self.written);
            self.removed += self.written as u64;
            self.written = 0;
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.setup.queues.give(std::mem::take(&mut self.queue));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_by_position_until_they_are_written() {
        let mut output = Output::new(&Setup::for_tests());
        output.queue().extend_from_slice(b"abc");
        output.wrote(3);
        assert!(output.is_empty());
        let position = output.position();
        output.queue().extend_from_slice(b"def");
        *output.byte_at(position + 1).expect("it waits") = b'E';
        output.wrote(2);
        assert_eq!(output.byte_at(position + 1), None);
        assert_eq!(output.byte_at(position + 3), None);
        assert_eq!((output.pending(), output.len()), (&b"f"[..], 1));
    }

    #[test]
    fn written_bytes_are_removed_before_they_are_many() {
        let mut output = Output::new(&Setup::for_tests());
        for _ in 0..10 {
            output.queue().extend_from_slice(&[7; 40_000]);
            output.wrote(39_999);
        }
        assert_eq!(output.pending(), [7; 10]);
        assert!(output.queue.len() < DEAD + 40_000);
        assert_eq!(output.position(), 400_000);
    }
}
