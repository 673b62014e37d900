//! Flow control (RFC 9113, section 5.2 and 6.9).

/// The window of a stream or connection at first, until SETTINGS or WINDOW_UPDATE change it. Bytes.
pub(super) const INITIAL: u32 = 65_535;

/// The largest window. Bytes.
const LARGEST: i64 = (1 << 31) - 1;

/// What the other end allows us to send. Negative after it has made its initial window smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SendWindow(i64);

/// A window grew beyond 2^31-1: FLOW_CONTROL_ERROR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl SendWindow {
    pub(super) fn new(size: u32) -> Self {
        Self(size.into())
    }

    /// How much can be sent. Bytes.
    pub(super) fn room(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// So many bytes of the room are used.
    pub(super) fn take(&mut self, length: usize) {
        self.0 -= length as i64;
    }

    /// The other end changes it.
    ///
    /// # Errors
    /// It would be larger than any may be.
    pub(super) fn change(&mut self, by: i64) -> Result<(), Overflow> {
        self.0 += by;
        if self.0 > LARGEST { Err(Overflow) } else { Ok(()) }
    }
}

/// What we allow the other end to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceiveWindow {
    left: u32,
    /// Used up here, and not yet given back.
    consumed: u32,
    size: u32,
}

impl ReceiveWindow {
    pub(super) fn new(size: u32) -> Self {
        Self { left: size, consumed: 0, size }
    }

    /// So many bytes came in. False: they were not allowed.
    pub(super) fn receive(&mut self, length: usize) -> bool {
        let left = u32::try_from(length).ok().and_then(|length| self.left.checked_sub(length));
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    /// So many of the bytes that came in are used up. Returns by how much the other end's window is
    /// to be enlarged: in halves of the window, so that few frames say so.
    pub(super) fn consume(&mut self, length: usize) -> Option<u32> {
        self.consumed = self.consumed.saturating_add(length as u32);
        if self.consumed < self.size / 2 {
            return None;
        }
        let increment = std::mem::take(&mut self.consumed);
        self.left = self.left.saturating_add(increment);
        Some(increment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_become_negative_but_not_too_large() {
        let mut window = SendWindow::new(100);
        window.take(60);
        assert_eq!(window.room(), 40);
        assert_eq!(window.change(-90), Ok(()));
        assert_eq!(window.room(), 0);
        assert_eq!(window.change(60), Ok(()));
        assert_eq!(window.room(), 10);
        assert_eq!(window.change(LARGEST), Err(Overflow));
    }

    #[test]
    fn a_window_is_given_back_in_halves() {
        let mut window = ReceiveWindow::new(100);
        assert!(window.receive(100));
        assert!(!window.receive(1));
        assert_eq!(window.consume(49), None);
        assert!(!window.receive(1));
        assert_eq!(window.consume(1), Some(50));
        assert!(window.receive(50));
        assert!(!window.receive(1));
    }
}
