//! Bodies that are read before anything of their request goes on: those that the firewall judges, and
//! those whose length the endpoint must know first.

use std::{future::poll_fn, rc::Rc, task::Poll, time::Duration};

use crate::{
    model::{HttpVersion, Protocol, Route},
    proxy::{
        client::Client,
        exchange::Ahead,
        held::{Asking, Held},
        message::{BodyLength, RequestHead},
        respond::Failure,
        sides::{ClientError, Downstream, Read},
    },
};

/// A body may come as slowly as this, beside `client-body-timeout` for its beginning: it takes memory
/// that others wait for. Bytes in a second.
const LEAST_RATE: u64 = 8 * 1024;

/// The largest body whose length is found out. Bytes.
const LARGEST: usize = 64 << 20;

/// So large a part of a body is its memory ahead of it.
const AHEAD: usize = 16;
/// Memory is taken in no smaller steps. Bytes.
const LEAST: usize = 4 * 1024;

/// What was read of a body.
pub(super) struct Begun {
    pub(super) bytes: Vec<u8>,
    pub(super) whole: bool,
    pub(super) held: Held,
}

impl Begun {
    pub(super) fn new(client: &Client, asking: &Asking) -> Self {
        Self { bytes: Vec::new(), whole: false, held: client.worker.memory.hold(asking.clone()) }
    }

    /// Reads on, to the end of the body or until there is more than `most`. `allowed`: the length at
    /// which it is refused.
    ///
    /// # Errors
    /// The client left, is too slow or sends too much, or there is no memory.
    pub(super) async fn read<D: Downstream>(
        &mut self,
        client: &Client,
        most: usize,
        allowed: u64,
        down: &mut D,
    ) -> Result<(), Failure> {
        down.expect_body();
        let Self { bytes, whole, held } = self;
        let deadlines = &client.worker.deadlines;
        let (deadline, begun) = (deadlines.deadline(), deadlines.now());
        let patience = client.worker.limits.get().body_timeout;
        while !*whole && bytes.len() <= most {
            let before = bytes.len();
            let spent = Duration::from_millis(deadlines.now().saturating_sub(begun));
            let earned = Duration::from_secs(before as u64 / LEAST_RATE);
            deadline.set((patience + earned).saturating_sub(spent));
            let mut busy = false;
            let read = poll_fn(|cx| {
                if let Poll::Ready(Err(error)) = down.poll_flush(cx) {
                    return Poll::Ready(Err(error));
                }
                let mut buffer = client.worker.buffers.take();
                let read = down.poll_body(cx, &mut buffer);
                if make_room(bytes, held, buffer.len()) {
                    bytes.extend_from_slice(buffer.filled());
                } else {
                    busy = true;
                }
                match read {
                    Poll::Pending => deadline.poll(cx).map(|()| Err(ClientError::Late)),
                    read => read,
                }
            });
            let read = read.await.map_err(|error| match error {
                ClientError::Gone => Failure::ClientGone,
                ClientError::Late => Failure::ClientTimeout,
                ClientError::Malformed => Failure::BadRequest,
                ClientError::TooLarge => Failure::BodyTooLarge,
            })?;
            if bytes.len() as u64 > allowed {
                return Err(Failure::BodyTooLarge);
            }
            if busy {
                return Err(Failure::Busy);
            }
            *whole = read == Read::End;
        }
        Ok(())
    }
}

/// Takes memory for so many bytes more, and a little ahead: what is held is counted as what it takes,
/// and a vector that grows by itself takes up to twice what is in it. False: there is none.
fn make_room(bytes: &mut Vec<u8>, held: &mut Held, more: usize) -> bool {
    let missing = (bytes.len() + more).saturating_sub(bytes.capacity());
    if missing == 0 {
        return true;
    }
    let before = bytes.capacity();
    let ahead = missing.max(bytes.len() / AHEAD).max(LEAST);
    let wanted = before + ahead;
    if !held.grow(wanted - before) {
        return false;
    }
    bytes.reserve_exact(wanted - bytes.len());
    // The allocator may have given more.
    held.grow(bytes.capacity().saturating_sub(wanted))
}

/// The endpoint must know the length of a body that does not say it: HTTP/1.0 has no chunks, and a
/// FastCGI application reads as much as it is told that there is.
pub(super) fn is_measured(route: &Route, head: &RequestHead) -> bool {
    let proxying = &route.proxying;
    let is_bound =
        proxying.http_version == HttpVersion::Http10 || proxying.protocol == Protocol::Fcgi;
    is_bound && head.body == BodyLength::Unknown && !proxying.protocol.is_http2()
}

/// Finds out how long the body is by reading all of it. `ahead`: what was read already.
pub(super) async fn measure<D: Downstream>(
    client: &Rc<Client>,
    route: &Route,
    asking: Asking,
    head: &mut RequestHead,
    ahead: Option<Box<Ahead>>,
    down: &mut D,
) -> Result<Option<Box<Ahead>>, Failure> {
    let mut begun = Begun::new(client, &asking);
    if let Some(ahead) = ahead {
        let (bytes, whole, held) = ahead.into_parts();
        (begun.bytes, begun.whole) = (bytes, whole);
        match held {
            Some(held) => begun.held = held,
            None if begun.held.grow(begun.bytes.capacity()) => {}
            None => return Err(Failure::Busy),
        }
    }
    let allowed = route.proxying.max_body.unwrap_or(u64::MAX);
    begun.read(client, LARGEST, allowed, down).await?;
    let Begun { bytes, whole, held } = begun;
    if !whole {
        return Err(Failure::BodyTooLarge);
    }
    head.body = BodyLength::Exact(bytes.len() as u64);
    Ok(Some(Box::new(Ahead::new(bytes, true, held))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{model::ObjectRef, proxy::held::Memory};

    #[test]
    fn what_a_body_takes_is_counted_and_little_more_than_the_body() {
        let memory = Arc::<Memory>::default();
        let asking = Asking::new(&ObjectRef::new("Ingress", "web", "shop"), [192, 0, 2, 1].into());
        let (mut held, mut bytes) = (memory.hold(asking), Vec::new());
        for part in [1, 7, 4096, 16 * 1024].into_iter().cycle() {
            assert!(make_room(&mut bytes, &mut held, part));
            bytes.resize(bytes.len() + part, b'x');
            assert_eq!(held.bytes(), bytes.capacity());
            assert!(bytes.capacity() <= bytes.len() + (bytes.len() / AHEAD).max(LEAST));
            if bytes.len() > LARGEST {
                break;
            }
        }
        // A client has less memory than two such bodies take.
        while make_room(&mut bytes, &mut held, LEAST) {
            bytes.resize(bytes.len() + LEAST, b'x');
            assert!(bytes.len() < 2 * LARGEST);
        }
        assert_eq!(held.bytes(), bytes.capacity());
    }
}
