//! One request's way to an endpoint and its answer's way back: attempts, both bodies at once,
//! tunnels. Moves bytes and decides about attempts; what the heads say was
//! decided before, and is decided by `finish` for the answer.

mod ahead;
mod attempt;
mod download;
mod encode;
mod pace;
mod substitute;
mod upload;

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
};

pub(super) use self::{ahead::Ahead, encode::Encoder, substitute::Substituter};
use self::{attempt::poll_gone, download::Download, upload::Upload};
use super::{
    balance::{Asker, Attempts},
    client::Client,
    message::{BodyLength, RequestHead, ResponseHead},
    mirror::Copy,
    respond::Failure,
    sides::{ClientError, Downstream, Read, Upstream as _, UpstreamError},
    upstream::Connection,
};
use crate::model::Proxying;

/// How much of an answer that the client does not get is read. Bytes.
const DISCARDED: usize = 64 * 1024;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An endpoint answered with this status.
    Answered(u16),
    /// An endpoint answered, and its answer was discarded; the client has not got one yet.
    Discarded,
    /// None did, and the client has not got an answer yet.
    Unanswered(Failure),
}

/// What is to become of an endpoint's answer.
pub(super) enum Verdict {
    /// The client gets it.
    Pass,
    /// The client gets it, its body changed.
    Encode(Box<Encoder>),
    /// The client gets another one.
    Discard,
}

/// How a request is passed on.
pub(super) struct Terms<'r> {
    pub(super) proxying: &'r Proxying,
    /// The client asks for another protocol.
    pub(super) upgrade: bool,
    /// What was read of the body already.
    pub(super) ahead: Option<Box<Ahead>>,
    /// A copy, to be sent once the request's body is there.
    pub(super) mirror: Option<Box<Copy>>,
}

/// Whose fault an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client(ClientError),
    Upstream(UpstreamError),
}

/// Sends the request to an endpoint that `attempts` names and its answer to the client. `finish`
/// makes the answer's head ready for the client, and decides whether the client gets it.
pub(super) async fn run<D: Downstream, A: Asker>(
    client: &Rc<Client>,
    attempts: &mut Attempts<'_, A>,
    head: &mut RequestHead,
    terms: Terms<'_>,
    down: &mut D,
    mut finish: impl FnMut(&RequestHead, &mut ResponseHead, &Attempts<'_, A>) -> Verdict,
) -> Outcome {
    let Terms { proxying, upgrade, ahead, mut mirror } = terms;
    let mut upload = Upload::new(&client.worker.buffers, head.body, proxying, ahead);
    if head.body != BodyLength::None {
        head.timing.waited();
    }
    if head.body != BodyLength::None
        && let Err(failure) = hold_back(proxying, down, &mut upload).await
    {
        return Outcome::Unanswered(failure);
    }
    offer(&mut mirror, &upload);
    let mut answer = client.worker.take_answer();
    let found =
        attempt::find(client, attempts, head, proxying, down, &mut upload, &mut answer).await;
    // A body that was not waited for may be there by now.
    offer(&mut mirror, &upload);
    drop(mirror);
    let outcome = match found {
        // One that nobody asked for, or that comes before the end of the request: what is left of
        // its body would be taken for the tunnel's.
        Ok(connection)
            if answer.status == 101
                && !(upgrade && connection.can_switch() && upload.is_finished()) =>
        {
            drop(connection);
            Outcome::Unanswered(Failure::Upstream)
        }
        // A 2xx to a CONNECT is a tunnel (RFC 9113, section 8.5), which this endpoint did not open.
        Ok(connection) if !head.protocol.is_empty() && (200..300).contains(&answer.status) => {
            drop(connection);
            Outcome::Unanswered(Failure::Upstream)
        }
        Ok(mut connection) => match finish(head, &mut answer, attempts) {
            Verdict::Discard => {
                // Rare, and boxed for that.
                Box::pin(discard(client, connection, &upload)).await;
                Outcome::Discarded
            }
            verdict => {
                down.start(&answer);
                let encoder = match verdict {
                    Verdict::Encode(encoder) => Some(encoder),
                    Verdict::Pass | Verdict::Discard => None,
                };
                let (end, received) = match answer.status {
                    101 => {
                        head.timing.waited();
                        tunnel(client, proxying, down, &mut connection).await
                    }
                    _ => {
                        let up = &mut connection;
                        let (end, received) =
                            relay(client, proxying, down, up, &mut upload, encoder).await;
                        if end != Ok(false) {
                            head.timing.waited();
                        }
                        (end.map(drop), received)
                    }
                };
                if let Some(journal) = &head.journal {
                    journal.ended(received);
                }
                match end {
                    Ok(()) => {
                        client.worker.pool.put(connection);
                        if let Some(journal) = &head.journal {
                            journal.completed();
                        }
                    }
                    Err(side) => {
                        tracing::debug!(?side, client.address = %client.peer, "answer broke off");
                        if let Side::Upstream(_) = side {
                            last_words(client, down).await;
                        }
                        down.abort();
                    }
                }
                Outcome::Answered(answer.status)
            }
        },
        Err(failure) => Outcome::Unanswered(failure),
    };
    client.worker.give_answer(answer);
    outcome
}

/// Sends the copy, if the whole body of the request is there.
fn offer(mirror: &mut Option<Box<Copy>>, upload: &Upload) {
    if mirror.is_some()
        && let Some(body) = upload.whole_body()
        && let Some(copy) = mirror.take()
    {
        copy.send(body);
    }
}

/// What came before the end of a broken answer reaches the client, if it still reads. Has a deadline
/// of its own: a tunnel's connection has none.
async fn last_words<D: Downstream>(client: &Client, down: &mut D) {
    let deadline = client.worker.deadlines.deadline();
    deadline.set(client.worker.timeouts.send);
    poll_fn(|cx| match down.poll_flush(cx) {
        Poll::Ready(_sent_or_gone) => Poll::Ready(()),
        Poll::Pending => deadline.poll(cx),
    })
    .await;
}

/// Waits for the body, or as much of it as is kept, before any endpoint is asked
/// (`proxy-request-buffering`): a slow client occupies none until then. Not for gRPC, whose client
/// may wait for the answer before it sends more; nginx does not either.
async fn hold_back<D: Downstream>(
    proxying: &Proxying,
    down: &mut D,
    upload: &mut Upload,
) -> Result<(), Failure> {
    if proxying.protocol.is_http2() || !proxying.buffer_request {
        return Ok(());
    }
    down.expect_body();
    let filled = poll_fn(|cx| {
        if let Poll::Ready(Err(error)) = down.poll_flush(cx) {
            return Poll::Ready(Err(Side::Client(error)));
        }
        upload.poll_fill(cx, down)
    });
    filled.await.map_err(failure)
}

fn failure(side: Side) -> Failure {
    match side {
        Side::Client(ClientError::Gone) => Failure::ClientGone,
        Side::Client(ClientError::Late) => Failure::ClientTimeout,
        Side::Client(ClientError::Malformed) => Failure::BadRequest,
        Side::Client(ClientError::TooLarge) => Failure::BodyTooLarge,
        Side::Upstream(UpstreamError::Late) => Failure::UpstreamTimeout,
        Side::Upstream(_) => Failure::Upstream,
    }
}

/// Moves the answer's body to the client, through the encoder if there is one, and what is left of
/// the request's to the endpoint. Returns whether anything was waited for, or how it broke off, and
/// how many bytes the endpoint sent.
async fn relay<D: Downstream>(
    client: &Client,
    proxying: &Proxying,
    down: &mut D,
    connection: &mut Connection,
    upload: &mut Upload,
    encoder: Option<Box<Encoder>>,
) -> (Result<bool, Side>, u64) {
    let up = connection;
    let mut download = Download::begin(&client.worker.buffers, proxying.pace, encoder);
    let mut has_waited = false;
    let end = poll_fn(|cx| {
        poll_upload(cx, down, up, upload)?;
        match download.poll(cx, up, down) {
            Poll::Pending => {
                has_waited = true;
                poll_gone(cx, down, upload)
            }
            ready => ready.map_ok(|()| has_waited),
        }
    })
    .await;
    (end, download.received())
}

/// Sends what is left of the request's body while its answer comes already. An error: the client
/// has left.
fn poll_upload<D: Downstream>(
    cx: &mut Context<'_>,
    down: &mut D,
    up: &mut Connection,
    upload: &mut Upload,
) -> Result<(), Side> {
    match upload.poll(cx, down, up) {
        Poll::Ready(Ok(())) | Poll::Pending => {}
        Poll::Ready(Err(Side::Client(ClientError::Gone))) => {
            return Err(Side::Client(ClientError::Gone));
        }
        // It does not want the rest, or there is no rest; its answer may still be whole.
        Poll::Ready(Err(_)) => upload.stop(),
    }
    Ok(())
}

/// Ends an answer that the client does not get: what has come of it already is read, so that the
/// connection can be used again; nothing is waited for.
async fn discard(client: &Client, mut connection: Connection, upload: &Upload) {
    if !upload.is_finished() {
        return;
    }
    let is_read = poll_fn(|cx| {
        let mut most = DISCARDED;
        Poll::Ready(loop {
            let mut buffer = client.worker.buffers.take();
            match connection.poll_body(cx, &mut buffer) {
                Poll::Ready(Ok(Read::End)) => break true,
                Poll::Ready(Ok(Read::Data)) if buffer.len() < most => most -= buffer.len(),
                _ => break false,
            }
        })
    });
    if is_read.await {
        client.worker.pool.put(connection);
    }
}

/// Carries bytes both ways after a 101, until both sides have ended or neither sends for too long.
/// Returns the same.
async fn tunnel<D: Downstream>(
    client: &Client,
    proxying: &Proxying,
    down: &mut D,
    connection: &mut Connection,
) -> (Result<(), Side>, u64) {
    down.tunnel();
    let up = connection;
    let mut upload = Upload::tunnel(&client.worker.buffers);
    let mut download = Download::new(&client.worker.buffers);
    let deadline = client.worker.deadlines.deadline();
    // nginx reads from both sides with the one timeout.
    let timeout = proxying.read_timeout;
    deadline.set(timeout);
    let mut moved = 0;
    let end = poll_fn(|cx| {
        let uploaded = upload.poll(cx, down, up)?;
        let downloaded = download.poll(cx, up, down)?;
        let total = upload.moved() + download.moved();
        if total != moved {
            moved = total;
            deadline.set(timeout);
        }
        match (uploaded, downloaded) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            _ => deadline.poll(cx).map(|()| Err(Side::Upstream(UpstreamError::Late))),
        }
    })
    .await;
    (end, download.received())
}
