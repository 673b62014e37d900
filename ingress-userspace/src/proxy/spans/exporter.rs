//! The one thread that hands spans to the collector. Spans wait for others for a while; a collector
//! that does not take them is asked again, less and less often, and meanwhile the queue fills up to its
//! bound. Nobody waits for it.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Builder,
    sync::{
        mpsc::{UnboundedReceiver, unbounded_channel},
        watch,
    },
    time::{sleep, timeout_at},
};

use super::{
    collector::{Collector, ExportError},
    outlet::{Chunk, Inlet, Spans},
};
use crate::{model::Export, proxy::Phase};

/// What goes in one request, unless one chunk alone is larger: collectors take 4 MiB over gRPC unless
/// they are told otherwise. Bytes.
const LARGEST: usize = 3 << 20;
/// How often the same spans are tried.
const TRIES: u32 = 5;
/// Before spans are tried again; then twice as long each time.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// How long the end of the process waits for the last spans.
const LAST: Duration = Duration::from_secs(2);

/// The running thread.
#[derive(Debug)]
pub(crate) struct Exporter {
    ended: Receiver<()>,
}

/// Starts the thread, which ends when no worker has an inlet any more. From [`Phase::Stop`] on it tries
/// nothing twice.
///
/// # Errors
/// There can be no thread.
pub(crate) fn start(phase: watch::Receiver<Phase>) -> io::Result<(Exporter, Inlet)> {
    let (chunks, coming) = unbounded_channel();
    let spans = Arc::<Spans>::default();
    let (end, ended) = mpsc::channel();
    let own = Arc::clone(&spans);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("spans".to_owned()).spawn(move || {
        runtime.block_on(run(coming, &own, phase));
        // A name that is still looked up must not keep anybody.
        runtime.shutdown_background();
        drop(end);
    })?;
    Ok((Exporter { ended }, Inlet { chunks, spans }))
}

impl Exporter {
    /// Waits until the last spans are handed over, but not for ever.
    pub(crate) fn finish(self) {
        if self.ended.recv_timeout(LAST) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the last spans are lost: the collector does not take them in time");
        }
    }
}

/// Spans for one request to the collector.
struct Batch {
    export: Arc<Export>,
    bytes: Vec<u8>,
    count: usize,
    /// When it is to go, whatever else comes.
    due: Instant,
}

impl Batch {
    fn new(chunk: Chunk) -> Self {
        let Chunk { export, bytes, count } = chunk;
        let due = Instant::now() + export.delay;
        Self { export, bytes, count, due }
    }

    fn is_full(&self) -> bool {
        self.count >= self.export.batch || self.bytes.len() >= LARGEST
    }

    /// Takes the chunk, or gives it back where it does not belong.
    fn add(&mut self, chunk: Chunk) -> Option<Chunk> {
        let is_full = self.count + chunk.count > self.export.batch
            || self.bytes.len() + chunk.bytes.len() > LARGEST;
        if *chunk.export != *self.export || is_full {
            return Some(chunk);
        }
        self.bytes.extend_from_slice(&chunk.bytes);
        self.count += chunk.count;
        None
    }
}

async fn run(mut coming: UnboundedReceiver<Chunk>, spans: &Spans, phase: watch::Receiver<Phase>) {
    let mut sender = Sender { collector: None, wait: FIRST, phase };
    let mut next = None;
    while let Some(first) = match next.take() {
        Some(chunk) => Some(chunk),
        None => coming.recv().await,
    } {
        let mut batch = Batch::new(first);
        while !batch.is_full() && next.is_none() {
            match timeout_at(batch.due.into(), coming.recv()).await {
                Ok(Some(chunk)) => next = batch.add(chunk),
                Ok(None) => break,
                Err(_due) => break,
            }
        }
        sender.send(batch, spans).await;
    }
}

/// What hands batches over.
struct Sender {
    collector: Option<(Arc<Export>, Collector)>,
    /// Before the next try after a failure.
    wait: Duration,
    phase: watch::Receiver<Phase>,
}

impl Sender {
    async fn send(&mut self, batch: Batch, spans: &Spans) {
        for attempt in 1..=TRIES {
            match self.attempt(&batch).await {
                Ok(refused) => {
                    if refused > 0 {
                        tracing::warn!(refused, "the collector refuses spans");
                    }
                    self.wait = FIRST;
                    spans.take(batch.count, refused);
                    return;
                }
                Err(error) => {
                    let export = &batch.export;
                    let last = !error.is_transient()
                        || attempt == TRIES
                        || *self.phase.borrow() == Phase::Stop;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        lost = if last { batch.count } else { 0 },
                        "spans: {}:{} does not take them",
                        export.host,
                        export.port
                    );
                    if last {
                        break;
                    }
                }
            }
            let wait = self.wait;
            self.wait = (wait * 2).min(LONGEST);
            tokio::select! {
                () = sleep(wait) => {}
                // One more time, now.
                _stopped = self.phase.wait_for(|phase| *phase == Phase::Stop) => {}
            }
        }
        spans.lose(batch.count);
        // The next ones are not to pay for these.
        self.wait = FIRST;
    }

    async fn attempt(&mut self, batch: &Batch) -> Result<usize, ExportError> {
        let collector = match &mut self.collector {
            Some((export, collector)) if *export == batch.export => collector,
            _ => {
                let collector = Collector::new(Arc::clone(&batch.export))?;
                let (_, collector) = self.collector.insert((Arc::clone(&batch.export), collector));
                collector
            }
        };
        collector.export(&batch.bytes).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::OtlpProtocol;

    fn export() -> Arc<Export> {
        Arc::new(Export {
            host: "collector".into(),
            port: 4317,
            tls: false,
            protocol: OtlpProtocol::Grpc,
            path: "/".into(),
            service: "nginx".into(),
            batch: 1_000_000,
            delay: Duration::from_secs(1),
            queue: 1_000_000,
        })
    }

    #[test]
    fn a_batch_is_no_larger_than_collectors_take() {
        let chunk = || Chunk { export: export(), bytes: vec![0; 1 << 20], count: 10 };
        let mut batch = Batch::new(chunk());
        assert!(batch.add(chunk()).is_none() && !batch.is_full());
        assert!(batch.add(chunk()).is_none() && batch.is_full());
        assert!(batch.add(chunk()).is_some());
        assert_eq!((batch.bytes.len(), batch.count), (LARGEST, 30));
    }
}
