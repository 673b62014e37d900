//! Copies of requests for somebody else (`mirror-target`). Nobody waits for them: a copy is a task
//! of its own, its answer is read and forgotten, and there are only so many at a time.

use std::{future::poll_fn, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use super::{
    counters::Copied,
    message::{BodyLength, RequestHead, ResponseHead},
    sides::{Read, Upstream as _, UpstreamError},
    upstream::{self, Connection, Way},
    worker::Worker,
};
use crate::model::Proxying;

/// Copies of one worker under way. More are dropped: a target that hangs must not cost memory.
const MOST: usize = 128;

/// How long a copy may take, its answer included.
const PATIENCE: Duration = Duration::from_secs(60);

/// As much of an answer's body is read so that its connection can be used again. A target that sends
/// without end must not keep a worker busy. Bytes.
const LEFTOVER: usize = 64 * 1024;

/// A copy that waits for its body. Counted as dropped if that does not come.
pub(crate) struct Copy {
    worker: Rc<Worker>,
    head: RequestHead,
    address: SocketAddr,
    proxying: Arc<Proxying>,
    sent: bool,
}

impl Copy {
    /// `None`: there are too many, which is counted.
    pub(crate) fn new(
        worker: &Rc<Worker>,
        head: RequestHead,
        address: SocketAddr,
        proxying: &Arc<Proxying>,
    ) -> Option<Box<Self>> {
        if worker.mirrors.get() >= MOST {
            worker.counters.mirrored(Copied::Dropped);
            return None;
        }
        worker.mirrors.set(worker.mirrors.get() + 1);
        let (worker, proxying) = (Rc::clone(worker), Arc::clone(proxying));
        Some(Box::new(Self { worker, head, address, proxying, sent: false }))
    }

    /// Sends it with this body, without waiting for anything.
    pub(crate) fn send(mut self: Box<Self>, body: &[u8]) {
        if self.head.body != BodyLength::None {
            self.head.body = BodyLength::Exact(body.len() as u64);
        }
        self.sent = true;
        let body = body.to_vec();
        tokio::task::spawn_local(async move {
            let outcome = tokio::time::timeout(PATIENCE, self.run(&body)).await;
            let copied = match outcome {
                Ok(Ok(())) => Copied::Sent,
                outcome => {
                    tracing::debug!(?outcome, mirror.address = %self.address, "not mirrored");
                    Copied::Failed
                }
            };
            self.worker.counters.mirrored(copied);
        });
    }

    async fn run(&self, body: &[u8]) -> Result<(), UpstreamError> {
        let pool = &self.worker.pool;
        let mut pooled = pool.take(self.address, &self.way()?, true);
        loop {
            let reused = pooled.is_some();
            let mut connection = match pooled.take() {
                Some(connection) => connection,
                None => upstream::connect(&self.worker, self.address, &self.way()?).await?,
            };
            match self.exchange(&mut connection, body).await {
                Ok(is_whole) => {
                    if is_whole {
                        pool.put(connection);
                    }
                    return Ok(());
                }
                // It idled for too long: another one is asked.
                Err(UpstreamError::Closed) if reused => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn way(&self) -> Result<Way<'_>, UpstreamError> {
        Way::new(&self.proxying, false).ok_or(UpstreamError::Refused)
    }

    /// Sends it and reads the answer. False: the rest of that is not waited for.
    async fn exchange(&self, up: &mut Connection, body: &[u8]) -> Result<bool, UpstreamError> {
        up.obey(&self.proxying);
        up.start(&self.head);
        let mut rest = body;
        while !rest.is_empty() {
            let written = poll_fn(|cx| up.poll_write(cx, rest)).await?;
            rest = rest.get(written..).unwrap_or_default();
        }
        up.finish(None);
        poll_fn(|cx| up.poll_flush(cx)).await?;
        let mut answer = ResponseHead::default();
        loop {
            poll_fn(|cx| up.poll_head(cx, &mut answer)).await?;
            if answer.status == 101 {
                return Err(UpstreamError::Malformed);
            }
            if !answer.is_interim() {
                break;
            }
        }
        let mut left = LEFTOVER;
        while left > 0 {
            let read = poll_fn(|cx| {
                let mut buffer = self.worker.buffers.take();
                let read = up.poll_body(cx, &mut buffer);
                left = left.saturating_sub(buffer.len());
                read
            });
            if read.await? == Read::End {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.worker.mirrors.set(self.worker.mirrors.get() - 1);
        if !self.sent {
            self.worker.counters.mirrored(Copied::Dropped);
        }
    }
}
