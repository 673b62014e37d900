//! Access to the bytes of one frame.

/// A frame that can be read, rewritten, and made longer or shorter at its front.
///
/// All offsets count from the first byte of the Ethernet header. Nothing panics: what does not lie
/// within the frame is `None`.
pub trait Packet {
    /// The `N` bytes at `offset`.
    fn bytes<const N: usize>(&self, offset: usize) -> Option<&[u8; N]>;
    /// The `N` bytes at `offset`, to be written.
    fn bytes_mut<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]>;
    /// Length of the frame in bytes. Ethernet padding counts.
    fn length(&self) -> usize;
    /// The longest packet that one of this length is on the wire: less than the length where it
    /// stands for several segments, which are cut apart when it is sent.
    fn longest(&self, length: usize) -> usize {
        length
    }
    /// Moves the front of the frame by `delta` bytes: outwards if negative. New bytes have any
    /// value. `false`, and nothing changed, if there is no room.
    fn move_front(&mut self, delta: i32) -> bool;
    /// Cuts the frame off behind its first `length` bytes. `false`, and nothing changed, if it is
    /// not longer.
    fn truncate(&mut self, length: usize) -> bool;

    /// The value, which is at most `MASK`, a number of the form 2ⁿ - 1.
    ///
    /// A verifier follows each way through a program until it meets a state that it knows. Where
    /// ways meet, a header's length tells them apart for as long as it lives, and the ways multiply.
    /// The kernel's programs therefore make it a number of which only the bound is known.
    fn merged<const MASK: usize>(&self, value: usize) -> usize {
        value & MASK
    }
}

/// A frame in ordinary memory, with the room before it that a driver would leave: for tests, the
/// fuzzer and whoever wants to know what the program would do.
#[derive(Debug)]
pub struct Buffer<'b> {
    memory: &'b mut [u8],
    start: usize,
    end: usize,
}

impl<'b> Buffer<'b> {
    /// The frame that begins `headroom` bytes into `memory` and ends with it. A headroom beyond
    /// the memory makes an empty frame.
    pub fn new(memory: &'b mut [u8], headroom: usize) -> Self {
        let (start, end) = (headroom.min(memory.len()), memory.len());
        Self { memory, start, end }
    }

    /// The frame's bytes.
    pub fn frame(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }
}

impl Packet for Buffer<'_> {
    fn bytes<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.frame().get(offset..)?.first_chunk()
    }

    fn bytes_mut<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        self.memory.get_mut(self.start..self.end)?.get_mut(offset..)?.first_chunk_mut()
    }

    fn length(&self) -> usize {
        self.frame().len()
    }

    fn move_front(&mut self, delta: i32) -> bool {
        // As the kernel's bpf_xdp_adjust_head: an Ethernet header has to remain.
        let moved = isize::try_from(delta).ok().and_then(|by| self.start.checked_add_signed(by));
        match moved {
            Some(start) if start + 14 <= self.end => {
                self.start = start;
                true
            }
            _ => false,
        }
    }

    fn truncate(&mut self, length: usize) -> bool {
        let shorter = length < self.length();
        if shorter {
            self.end = self.start + length;
        }
        shorter
    }
}
