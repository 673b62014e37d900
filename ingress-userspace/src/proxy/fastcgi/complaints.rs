//! What applications say aside (FCGI_STDERR): for the log, but never more of it than a log can take.

use std::{cell::Cell, net::SocketAddr, rc::Rc};

use crate::proxy::deadline::Deadlines;

/// As much of what is said during one request is kept. Bytes.
pub(super) const KEPT: usize = 1024;
/// As many lines each worker writes in a second.
const LINES: u32 = 5;

/// A worker's share of the log.
pub(crate) struct Complaints {
    deadlines: Rc<Deadlines>,
    /// The second that is counted in.
    second: Cell<u64>,
    written: Cell<u32>,
    /// Since the last line.
    left_out: Cell<u64>,
}

impl Complaints {
    pub(crate) fn new(deadlines: Rc<Deadlines>) -> Self {
        let (second, written, left_out) = Default::default();
        Self { deadlines, second, written, left_out }
    }

    /// Logs what was said during one request, if it is anything.
    pub(super) fn tell(&self, address: SocketAddr, said: &[u8]) {
        let text = String::from_utf8_lossy(said);
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let second = self.deadlines.now() / 1000;
        if self.second.replace(second) != second {
            self.written.set(0);
        }
        if self.written.get() >= LINES {
            self.left_out.set(self.left_out.get().saturating_add(1));
            return;
        }
        self.written.set(self.written.get() + 1);
        let left_out = self.left_out.take();
        // Escaped: one line of the log is one complaint, whatever a client got into it.
        tracing::warn!(
            upstream.address = %address,
            left_out,
            "the application complains: {}",
            text.escape_debug()
        );
    }
}
