//! From the workers to the writer: a worker appends lines to a buffer of its own and hands it over
//! when it is full, or with its next tick. It never waits: what the writer cannot take is lost, and
//! counted.

use std::{
    cell::{Cell, RefCell},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, TrySendError},
    },
};

use super::writer::Chunk;
use crate::model::LogDestination;

/// A buffer is handed over when it is as large as this. Bytes.
const FULL: usize = 32 * 1024;

/// While the writer is behind, lines are kept up to this, and lost beyond it. Bytes of each worker.
const MOST: usize = 1024 * 1024;

/// Lines so far, of all workers.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Handed to the system.
    pub(crate) written: AtomicU64,
    /// Not written: the writer was behind, or the destination did not take them.
    pub(crate) lost: AtomicU64,
}

impl Lines {
    pub(super) fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }
}

/// What workers need to write lines.
#[derive(Clone, Debug)]
pub(crate) struct Inlet {
    pub(super) chunks: SyncSender<Chunk>,
    pub(super) lines: Arc<Lines>,
}

impl Inlet {
    /// What became of lines.
    pub(crate) fn lines(&self) -> Arc<Lines> {
        Arc::clone(&self.lines)
    }
}

/// A worker's end of it.
pub(crate) struct Outlet {
    inlet: Inlet,
    buffer: RefCell<Vec<u8>>,
    count: Cell<u64>,
    /// Where the lines in the buffer go.
    destination: RefCell<Option<Arc<LogDestination>>>,
}

impl Outlet {
    pub(crate) fn new(inlet: Inlet) -> Self {
        Self {
            inlet,
            buffer: RefCell::default(),
            count: Cell::new(0),
            destination: RefCell::default(),
        }
    }

    /// Appends a line for this destination; `write` writes it without its end.
    pub(super) fn line(&self, to: &Arc<LogDestination>, write: impl FnOnce(&mut Vec<u8>)) {
        let differs = |own: &Arc<LogDestination>| !Arc::ptr_eq(own, to) && own != to;
        if self.destination.borrow().as_ref().is_some_and(differs) {
            self.flush();
        }
        let mut buffer = self.buffer.borrow_mut();
        if buffer.is_empty() {
            self.destination.replace(Some(Arc::clone(to)));
        }
        write(&mut buffer);
        buffer.push(b'\n');
        self.count.set(self.count.get() + 1);
        if buffer.len() >= FULL {
            drop(buffer);
            self.flush();
        }
    }

    /// Hands over what is there.
    pub(crate) fn flush(&self) {
        let Some(destination) = self.destination.take() else { return };
        let capacity = FULL + FULL / 4;
        let text = mem::replace(&mut *self.buffer.borrow_mut(), Vec::with_capacity(capacity));
        let lines = self.count.replace(0);
        let chunk = Chunk { destination, text, lines };
        match self.inlet.chunks.try_send(chunk) {
            Ok(()) => {}
            // There is time: the next tick tries again.
            Err(TrySendError::Full(chunk)) if chunk.text.len() < MOST => {
                let Chunk { destination, text, lines } = chunk;
                self.buffer.replace(text);
                self.count.set(lines);
                self.destination.replace(Some(destination));
            }
            Err(_) => self.inlet.lines.lose(lines),
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.flush();
    }
}
