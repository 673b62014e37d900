//! Buffers for what is read, lent by the worker for as long as something is in them: a connection
//! that waits holds none, so that ten thousand idle ones cost no buffer memory.

use std::{cell::RefCell, rc::Rc};

/// What one holds: the largest head of a request (nginx's `large-client-header-buffers`, 4 of
/// 8 KiB), and as much of a body as is moved at once. Bytes.
pub(crate) const SIZE: usize = 32 * 1024;

/// Free buffers that a worker keeps: more are given back to the allocator.
const KEPT: usize = 64;

/// A queue that grew beyond this is not kept. Bytes.
const LARGEST_QUEUE: usize = 64 * 1024;
/// What a new queue holds: the head of an answer and a small body. Bytes.
const QUEUE: usize = 4096;

/// The free buffers of a worker. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Buffers(Rc<Free>);

#[derive(Default)]
struct Free {
    buffers: RefCell<Vec<Box<[u8]>>>,
    queues: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// An empty buffer.
    pub(crate) fn take(&self) -> Buffer {
        let bytes = self.0.buffers.borrow_mut().pop().unwrap_or_else(|| vec![0; SIZE].into());
        Buffer { bytes, start: 0, end: 0, home: self.clone() }
    }

    /// An empty queue of bytes to be written.
    pub(crate) fn take_queue(&self) -> Vec<u8> {
        self.0.queues.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(QUEUE))
    }

    /// Keeps a queue for the next connection.
    pub(crate) fn give_queue(&self, mut queue: Vec<u8>) {
        let mut queues = self.0.queues.borrow_mut();
        if queue.capacity() <= LARGEST_QUEUE && queues.len() < KEPT {
            queue.clear();
            queues.push(queue);
        }
    }
}

/// A buffer that is read into at its end and emptied from its beginning. Goes home when dropped.
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    home: Buffers,
}

impl Buffer {
    /// What is in it.
    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// How much is in it. Bytes.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Where to read to: what is free behind what is in it.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes of the room are filled now.
    pub(crate) fn fill(&mut self, length: usize) {
        self.end = (self.end + length).min(self.bytes.len());
    }

    /// Takes so many bytes from the front.
    pub(crate) fn consume(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
    }

    /// Moves what is in it to the front, so that all that is free is room.
    pub(crate) fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// Copies as much of this as there is room for, and says how much. Bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let length = room.len().min(bytes.len());
        if let (Some(to), Some(from)) = (room.get_mut(..length), bytes.get(..length)) {
            to.copy_from_slice(from);
        }
        self.fill(length);
        length
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.home.0.buffers.borrow_mut();
        if free.len() < KEPT {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_filled_behind_and_emptied_in_front() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take();
        assert_eq!(buffer.append(b"hello"), 5);
        buffer.consume(2);
        assert_eq!(buffer.filled(), b"llo");
        assert_eq!(buffer.room().len(), SIZE - 5);
        buffer.compact();
        assert_eq!((buffer.filled(), buffer.len()), (&b"llo"[..], 3));
        assert_eq!(buffer.append(&vec![7; 2 * SIZE]), SIZE - 3);
        assert_eq!(buffer.append(b"x"), 0);
        buffer.consume(SIZE);
        assert!(buffer.is_empty());
        drop(buffer);
        assert!(buffers.take().is_empty());
        assert_eq!(buffers.0.buffers.borrow().len(), 1, "it came home and was cleared");
    }
}
