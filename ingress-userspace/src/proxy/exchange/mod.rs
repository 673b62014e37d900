//! One request's way to an endpoint and its answer's way back: attempts (reference section 5.5),
//! both bodies at once, tunnels. Moves bytes and decides about attempts; what the heads say was
//! decided before, and is decided by `finish` for the answer.

mod download;
mod upload;

use std::{
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
};

use self::{download::Download, upload::Upload};
use super::{
    balance::{Asker, Attempts},
    client::Client,
    http1::Patience,
    message::{BodyLength, RequestHead, ResponseHead},
    respond::Failure,
    sides::{ClientError, Downstream, Upstream, UpstreamError},
    upstream::{self, Connection},
};

/// Attempts in total: ingress-nginx's `proxy-next-upstream-tries`.
const TRIES: u32 = 3;
/// Interim answers before the final one: each waits in memory for a client that may not read.
const INTERIM: u32 = 16;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An endpoint answered with this status.
    Answered(u16),
    /// None did, and the client has not got an answer yet.
    Unanswered(Failure),
}

/// Whose fault an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client(ClientError),
    Upstream(UpstreamError),
}

/// Sends the request to an endpoint that `attempts` names and its answer to the client. `finish`
/// makes the answer's head ready for the client.
pub(super) async fn run<D: Downstream, A: Asker>(
    client: &Rc<Client>,
    attempts: &mut Attempts<'_, A>,
    head: &RequestHead,
    upgrade: bool,
    down: &mut D,
    finish: impl Fn(&mut ResponseHead, &Attempts<'_, A>),
) -> Outcome {
    let mut answer = client.worker.take_answer();
    let mut upload = Upload::new(&client.worker.buffers, head.body);
    let found = find(client, attempts, head, down, &mut upload, &mut answer).await;
    let outcome = match found {
        Ok(connection) if answer.status == 101 && !upgrade => {
            drop(connection);
            Outcome::Unanswered(Failure::Upstream)
        }
        Ok(mut connection) => {
            finish(&mut answer, attempts);
            down.start(&answer);
            let end = if answer.status == 101 {
                tunnel(client, down, &mut connection).await
            } else {
                relay(client, down, &mut connection, &mut upload).await
            };
            match end {
                Ok(()) => client.worker.pool.put(connection),
                Err(side) => {
                    tracing::debug!(?side, client.address = %client.peer, "answer broke off");
                    if let Side::Upstream(_) = side {
                        // What came before the end reaches the client, if it still reads.
                        let _sent = poll_fn(|cx| down.poll_flush(cx)).await;
                    }
                    down.abort();
                }
            }
            Outcome::Answered(answer.status)
        }
        Err(failure) => Outcome::Unanswered(failure),
    };
    client.worker.give_answer(answer);
    outcome
}

/// Tries endpoints until one answers; its head is then in `answer`.
async fn find<D: Downstream>(
    client: &Rc<Client>,
    attempts: &mut Attempts<'_, impl Asker>,
    head: &RequestHead,
    down: &mut D,
    upload: &mut Upload,
    answer: &mut ResponseHead,
) -> Result<Connection, Failure> {
    let worker = &client.worker;
    let idempotent = !matches!(head.method.as_str(), "POST" | "LOCK" | "PATCH");
    let patience = Patience { send: worker.timeouts.send, read: worker.timeouts.read };
    let mut tries = 0;
    // After a pooled connection turned out to be closed, the others to that endpoint are too.
    let mut fresh_only = None;
    loop {
        let address = match fresh_only {
            Some(address) => address,
            None => attempts.next().ok_or(Failure::NoEndpoint)?,
        };
        let pooled = match fresh_only.take() {
            Some(_) => None,
            None => worker.pool.take(address, idempotent && upload.is_repeatable()),
        };
        let reused = pooled.is_some();
        let mut connection = match pooled {
            Some(connection) => connection,
            None => {
                tries += 1;
                match connect(client, address, head, down).await {
                    Ok(connection) => {
                        attempts.connected();
                        connection
                    }
                    Err(side) => {
                        if let Side::Upstream(_) = side {
                            attempts.refused();
                            if tries < TRIES {
                                continue;
                            }
                        }
                        return Err(failure(side));
                    }
                }
            }
        };
        connection.http.set_patience(patience);
        connection.http.start(head);
        down.expect_body();
        upload.rewind();
        let outcome = answer_of(down, &mut *connection.http, upload, answer).await;
        attempts.ended(outcome.is_ok());
        let error = match outcome {
            Ok(()) => return Ok(connection),
            Err(Side::Upstream(error)) => error,
            Err(side) => return Err(failure(side)),
        };
        tracing::debug!(?error, upstream.address = %address, "no answer");
        let can_repeat = upload.is_repeatable()
            && match error {
                UpstreamError::Refused => true,
                UpstreamError::Closed => idempotent,
                UpstreamError::Late => idempotent,
                UpstreamError::Malformed => false,
            };
        // A connection that was idle may have been closing: that was no attempt at the endpoint.
        let stale = reused && error == UpstreamError::Closed;
        tries += u32::from(reused && !stale);
        if !can_repeat || (!stale && tries >= TRIES) {
            return Err(failure(Side::Upstream(error)));
        }
        if stale {
            fresh_only = Some(address);
        }
    }
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

/// Connects, unless the client leaves meanwhile.
async fn connect<D: Downstream>(
    client: &Client,
    address: std::net::SocketAddr,
    head: &RequestHead,
    down: &mut D,
) -> Result<Connection, Side> {
    let mut connecting = pin!(upstream::connect(&client.worker, address));
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = connecting.as_mut().poll(cx) {
            return Poll::Ready(outcome.map_err(Side::Upstream));
        }
        poll_gone(cx, down, head.body == BodyLength::None)
    })
    .await
}

/// Ready when the client has left, as far as that can be seen while nothing is read from it.
fn poll_gone<T>(
    cx: &mut Context<'_>,
    down: &mut impl Downstream,
    nothing_more: bool,
) -> Poll<Result<T, Side>> {
    if nothing_more {
        down.poll_gone(cx).map(|()| Err(Side::Client(ClientError::Gone)))
    } else {
        Poll::Pending
    }
}

/// Sends the request and waits for the head of its answer; interim ones are passed on.
async fn answer_of<D: Downstream, U: Upstream>(
    down: &mut D,
    up: &mut U,
    upload: &mut Upload,
    answer: &mut ResponseHead,
) -> Result<(), Side> {
    for _ in 0..INTERIM {
        poll_fn(|cx| {
            let mut broken = None;
            match upload.poll(cx, down, up) {
                Poll::Ready(Ok(())) | Poll::Pending => {}
                // It may have answered before it closed: that answer counts.
                Poll::Ready(Err(Side::Upstream(error))) => broken = Some(error),
                Poll::Ready(Err(side)) => return Poll::Ready(Err(side)),
            }
            match (up.poll_head(cx, answer), broken) {
                (Poll::Ready(outcome), _) => Poll::Ready(outcome.map_err(Side::Upstream)),
                (Poll::Pending, Some(error)) => Poll::Ready(Err(Side::Upstream(error))),
                (Poll::Pending, None) => match down.poll_flush(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(Side::Client(error))),
                    _ => poll_gone(cx, down, upload.is_done()),
                },
            }
        })
        .await?;
        if !answer.is_interim() {
            return Ok(());
        }
        // The client that waited for 100 got ours.
        if answer.status != 100 {
            super::pipeline::clean_interim(answer);
            down.interim(answer);
        }
    }
    Err(Side::Upstream(UpstreamError::Malformed))
}

/// Moves the answer's body to the client, and what is left of the request's to the endpoint.
async fn relay<D: Downstream>(
    client: &Client,
    down: &mut D,
    connection: &mut Connection,
    upload: &mut Upload,
) -> Result<(), Side> {
    let up = &mut *connection.http;
    let mut download = Download::new(&client.worker.buffers);
    poll_fn(|cx| {
        match upload.poll(cx, down, up) {
            Poll::Ready(Ok(())) | Poll::Pending => {}
            // It does not want the rest; its answer may still be whole.
            Poll::Ready(Err(Side::Upstream(_))) => upload.stop(),
            Poll::Ready(Err(Side::Client(ClientError::Gone))) => {
                return Poll::Ready(Err(Side::Client(ClientError::Gone)));
            }
            Poll::Ready(Err(Side::Client(_))) => upload.stop(),
        }
        match download.poll(cx, up, down) {
            Poll::Pending => poll_gone(cx, down, upload.is_done()),
            ready => ready,
        }
    })
    .await
}

/// Carries bytes both ways after a 101, until both sides have ended or neither sends for too long.
async fn tunnel<D: Downstream>(
    client: &Client,
    down: &mut D,
    connection: &mut Connection,
) -> Result<(), Side> {
    down.tunnel();
    let up = &mut *connection.http;
    let mut upload = Upload::new(&client.worker.buffers, BodyLength::Unknown);
    upload.commit();
    let mut download = Download::new(&client.worker.buffers);
    let deadline = client.worker.deadlines.deadline();
    let timeout = client.worker.timeouts.tunnel;
    deadline.set(timeout);
    let mut moved = 0;
    poll_fn(|cx| {
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
    .await
}
