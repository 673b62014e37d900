//! Attempts: which endpoint is asked, and whether another one is after a failure (reference section
//! 5.5).

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::{Side, Upload};
use crate::{
    model::{Conditions, Proxying},
    proxy::{
        access_log::Journal,
        balance::{Asker, Attempts},
        client::Client,
        message::{BodyLength, RequestHead, ResponseHead},
        pipeline,
        respond::Failure,
        sides::{ClientError, Downstream, Upstream, UpstreamError},
        upstream::{self, Connection, Way},
    },
};

/// Interim answers before the final one: each waits in memory for a client that may not read.
const INTERIM: u32 = 16;

/// How often a request may be tried, and what counts.
struct Budget<'r> {
    proxying: &'r Proxying,
    /// The request may be sent twice: by its method, or because the route says so.
    repeatable: bool,
    tries: u32,
    /// When the first began. Worker's milliseconds.
    begun: u64,
}

impl Budget<'_> {
    /// There may be another attempt at all.
    fn is_left(&self, now: u64) -> bool {
        let retry = &self.proxying.retry;
        self.tries < retry.tries.get()
            && retry
                .timeout
                .is_none_or(|limit| u128::from(now.saturating_sub(self.begun)) < limit.as_millis())
    }

    /// After this failure there may. `Refused` tells that nothing was looked at.
    fn covers(&self, error: UpstreamError) -> bool {
        let condition = match error {
            UpstreamError::Refused => return self.names(Conditions::ERROR),
            UpstreamError::Closed => Conditions::ERROR,
            UpstreamError::Late => Conditions::TIMEOUT,
            UpstreamError::Malformed => Conditions::INVALID_HEADER,
        };
        self.repeatable && self.names(condition)
    }

    fn names(&self, condition: Conditions) -> bool {
        self.proxying.retry.conditions.contains(condition)
    }

    /// After an answer of this status there may.
    fn covers_status(&self, status: u16) -> bool {
        self.repeatable && self.proxying.retry.conditions.contains_status(status)
    }
}

/// Tries endpoints until one answers; its head is then in `answer`.
pub(super) async fn find<D: Downstream>(
    client: &Rc<Client>,
    attempts: &mut Attempts<'_, impl Asker>,
    head: &mut RequestHead,
    proxying: &Proxying,
    down: &mut D,
    upload: &mut Upload,
    answer: &mut ResponseHead,
) -> Result<Connection, Failure> {
    let worker = &client.worker;
    let way = Way::new(proxying, client.https).ok_or(Failure::Denied)?;
    let by_method = !matches!(head.method.as_str(), "POST" | "LOCK" | "PATCH");
    let repeatable = by_method || proxying.retry.conditions.contains(Conditions::NON_IDEMPOTENT);
    let mut budget = Budget { proxying, repeatable, tries: 0, begun: worker.deadlines.now() };
    // After a pooled connection turned out to be closed, the others to that endpoint are too.
    let mut fresh_only = None;
    loop {
        let address = match fresh_only {
            Some(address) => address,
            None => attempts.next().ok_or(Failure::NoEndpoint)?,
        };
        let may_be_stale = fresh_only.take().is_none();
        let pooled = if may_be_stale {
            worker.pool.take(address, &way, repeatable && upload.is_repeatable())
        } else {
            None
        };
        budget.tries += 1;
        if let Some(journal) = &head.journal {
            journal.attempt(address);
            if journal.trace.is_some() {
                announce(client, proxying, head);
            }
        }
        head.timing.ask();
        let mut connection = match pooled {
            Some(connection) => connection,
            // Boxed: most requests find one that is open.
            None => match Box::pin(connect(client, attempts, address, &way, head, down)).await {
                Ok(connection) => {
                    if !connection.is_reused() {
                        attempts.connected();
                    }
                    connection
                }
                Err(Side::Upstream(error)) => {
                    failed(head.journal.as_deref(), error);
                    let condition = match error {
                        UpstreamError::Late => Conditions::TIMEOUT,
                        _ => Conditions::ERROR,
                    };
                    // Nothing was sent: any request can go elsewhere.
                    if budget.names(condition) && budget.is_left(worker.deadlines.now()) {
                        continue;
                    }
                    return Err(super::failure(Side::Upstream(error)));
                }
                Err(side) => return Err(super::failure(side)),
            },
        };
        let reused = connection.is_reused();
        if let Some(journal) = &head.journal {
            journal.connected();
        }
        head.timing.connected(reused);
        if reused {
            worker.counters.upstream_reused();
        }
        connection.obey(proxying);
        connection.start(head);
        down.expect_body();
        upload.rewind();
        let outcome = answer_of(down, &mut connection, upload, answer).await;
        attempts.ended(outcome.is_ok());
        head.timing.waited();
        let can_repeat = upload.is_repeatable();
        let error = match outcome {
            Ok(()) => {
                if let Some(journal) = &head.journal {
                    journal.answered(answer.status);
                }
                head.timing.answered();
                if let Some(micros) = head.timing.header() {
                    attempts.took(micros);
                }
                let elsewhere = can_repeat
                    && budget.covers_status(answer.status)
                    && budget.is_left(worker.deadlines.now());
                if elsewhere {
                    continue;
                }
                return Ok(connection);
            }
            Err(Side::Upstream(error)) => error,
            Err(side) => return Err(super::failure(side)),
        };
        tracing::debug!(?error, upstream.address = %address, "no answer");
        failed(head.journal.as_deref(), error);
        // A connection that was idle may have been closing: that was no attempt at the endpoint.
        if reused && may_be_stale && error == UpstreamError::Closed && repeatable && can_repeat {
            budget.tries -= 1;
            if let Some(journal) = &head.journal {
                journal.forget_attempt();
            }
            fresh_only = Some(address);
            continue;
        }
        if !(can_repeat && budget.covers(error) && budget.is_left(worker.deadlines.now())) {
            return Err(super::failure(Side::Upstream(error)));
        }
    }
}

/// Tells the endpoint whose span it is asked in.
fn announce(client: &Client, proxying: &Proxying, head: &mut RequestHead) {
    if let Some(journal) = head.journal.clone()
        && let Some(trace) = &journal.trace
    {
        trace.announce(client, proxying, head);
    }
}

/// Writes down what counts as the status of an attempt without answer.
fn failed(journal: Option<&Journal>, error: UpstreamError) {
    if let Some(journal) = journal {
        journal.failed(super::failure(Side::Upstream(error)).status());
    }
}

/// Connects to this endpoint, of a name to whichever of its addresses takes the connection first,
/// unless the client leaves meanwhile. Who takes none is told to `attempts`.
async fn connect<D: Downstream>(
    client: &Client,
    attempts: &mut Attempts<'_, impl Asker>,
    address: SocketAddr,
    way: &Way<'_>,
    head: &RequestHead,
    down: &mut D,
) -> Result<Connection, Side> {
    let mut connecting = pin!(async {
        if attempts.are_one_name() {
            let connect = |address| upstream::connect(&client.worker, address, way);
            let (address, connection) = upstream::race(address, attempts, connect).await?;
            attempts.settle(address);
            if let Some(journal) = &head.journal {
                journal.attempt_is_at(address);
            }
            return Ok(connection);
        }
        let opened = upstream::connect(&client.worker, address, way).await;
        opened.inspect_err(|_refused| attempts.refused())
    });
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = connecting.as_mut().poll(cx) {
            return Poll::Ready(outcome.map_err(Side::Upstream));
        }
        let gone = match head.body {
            BodyLength::None => down.poll_gone(cx),
            _ => down.poll_left(cx),
        };
        gone.map(|()| Err(Side::Client(ClientError::Gone)))
    })
    .await
}

/// Ready when the client has left, as far as that can be seen while nothing is read from it.
pub(super) fn poll_gone<T>(
    cx: &mut Context<'_>,
    down: &mut impl Downstream,
    upload: &mut Upload,
) -> Poll<Result<T, Side>> {
    let gone = if upload.is_read() {
        down.poll_gone(cx)
    } else if upload.is_stuck() {
        down.poll_left(cx)
    } else {
        Poll::Pending
    };
    gone.map(|()| Err(Side::Client(ClientError::Gone)))
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
                    _ => poll_gone(cx, down, upload),
                },
            }
        })
        .await?;
        if !answer.is_interim() {
            return Ok(());
        }
        // The client that waited for 100 got ours.
        if answer.status != 100 {
            pipeline::clean_interim(answer);
            down.interim(answer);
        }
    }
    Err(Side::Upstream(UpstreamError::Malformed))
}
