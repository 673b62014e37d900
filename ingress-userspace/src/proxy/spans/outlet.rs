//! From the workers to the exporter: a worker appends encoded spans to a buffer of its own, and hands
//! it over when there are some or with its next tick. It never waits: what finds the queue full is
//! lost, and counted.

use std::{
    cell::{Cell, RefCell},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::mpsc::UnboundedSender;

use crate::model::Export;

/// Spans that a worker gathers before it hands them over.
const SOME: usize = 64;

/// What became of spans so far, of all workers.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    /// Taken by a collector.
    pub(crate) exported: AtomicU64,
    /// Not: the queue was full, or no collector took them.
    pub(crate) lost: AtomicU64,
    /// In the queue now, or on their way.
    pub(crate) waiting: AtomicUsize,
}

/// Some spans of one worker, each as a field of `ScopeSpans`.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) export: Arc<Export>,
    pub(super) bytes: Vec<u8>,
    /// How many: no more than the export's batch.
    pub(super) count: usize,
}

/// What workers need to hand spans over. The channel has no bound of its own: `Spans::waiting` is
/// the bound, which counts spans and not buffers.
#[derive(Clone, Debug)]
pub(crate) struct Inlet {
    pub(super) chunks: UnboundedSender<Chunk>,
    pub(super) spans: Arc<Spans>,
}

impl Inlet {
    /// What became of spans.
    pub(crate) fn spans(&self) -> Arc<Spans> {
        Arc::clone(&self.spans)
    }
}

/// A worker's end of it.
pub(crate) struct Outlet {
    inlet: Inlet,
    buffer: RefCell<Vec<u8>>,
    count: Cell<usize>,
    /// Where the spans in the buffer go.
    export: RefCell<Option<Arc<Export>>>,
}

impl Outlet {
    pub(crate) fn new(inlet: Inlet) -> Self {
        let (buffer, export) = (RefCell::default(), RefCell::default());
        Self { inlet, buffer, count: Cell::new(0), export }
    }

    /// Appends a span, which `write` writes.
    pub(super) fn span(&self, export: &Arc<Export>, write: impl FnOnce(&mut Vec<u8>)) {
        let elsewhere = self.export.borrow().as_ref().is_some_and(|own| !Arc::ptr_eq(own, export));
        if elsewhere {
            self.flush();
        }
        if self.count.get() == 0 {
            self.export.replace(Some(Arc::clone(export)));
        }
        write(&mut self.buffer.borrow_mut());
        self.count.set(self.count.get() + 1);
        if self.count.get() >= SOME.min(export.batch) {
            self.flush();
        }
    }

    /// Hands over what is there.
    pub(crate) fn flush(&self) {
        let Some(export) = self.export.take() else { return };
        let count = self.count.replace(0);
        let spans = &self.inlet.spans;
        if spans.waiting.fetch_add(count, Ordering::Relaxed) + count > export.queue {
            self.buffer.borrow_mut().clear();
            spans.lose(count);
            return;
        }
        let bytes = mem::take(&mut *self.buffer.borrow_mut());
        if self.inlet.chunks.send(Chunk { export, bytes, count }).is_err() {
            spans.lose(count);
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Spans {
    /// So many that waited are gone.
    pub(super) fn lose(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        self.lost.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// So many that waited were taken, but for some of them.
    pub(super) fn take(&self, count: usize, refused: usize) {
        let refused = refused.min(count);
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        self.exported.fetch_add((count - refused) as u64, Ordering::Relaxed);
        self.lost.fetch_add(refused as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::model::OtlpProtocol;

    #[test]
    fn what_finds_the_queue_full_is_lost_and_counted() {
        let (chunks, mut coming) = unbounded_channel();
        let inlet = Inlet { chunks, spans: Arc::default() };
        let spans = inlet.spans();
        let export = Arc::new(Export {
            protocol: OtlpProtocol::Grpc,
            tls: false,
            host: "c".into(),
            port: 1,
            path: "/".into(),
            service: "s".into(),
            queue: 100,
            delay: Duration::ZERO,
            batch: 10,
        });
        let outlet = Outlet::new(inlet);
        for _ in 0..1005 {
            outlet.span(&export, |out| out.push(7));
        }
        let numbers =
            || (spans.waiting.load(Ordering::Relaxed), spans.lost.load(Ordering::Relaxed));
        assert_eq!(numbers(), (100, 900));
        let mut taken = 0;
        while let Ok(chunk) = coming.try_recv() {
            assert_eq!((chunk.count, chunk.bytes.len()), (10, 10));
            spans.take(chunk.count, 1);
            taken += chunk.count;
        }
        assert_eq!((taken, numbers()), (100, (0, 910)));
        assert_eq!(spans.exported.load(Ordering::Relaxed), 90);
        drop(outlet);
        assert_eq!(coming.try_recv().expect("the last ones").count, 5);
    }
}
