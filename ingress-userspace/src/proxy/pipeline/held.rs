//! Bodies that are read before anything of their request goes on: those that the firewall judges, and
//! those whose length the endpoint must know first.

use std::{future::poll_fn, net::IpAddr, rc::Rc, task::Poll, time::Duration};

use crate::{
    model::{HttpVersion, Protocol, Route},
    proxy::{
        client::Client,
        exchange::Ahead,
        held::{Asking, Held},
        message::{BodyLength, Known, RequestHead},
        respond::Failure,
        sides::{ClientError, Downstream, Read},
    },
};

/// A body may come as slowly as this, beside `client-body-timeout` for its beginning: it takes memory
/// that others wait for. Bytes in a second.
const LEAST_RATE: u64 = 8 * 1024;

/// The largest body whose length is found out. Bytes.
const LARGEST: usize = 64 << 20;

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
            let read = poll_fn(|cx| {
                if let Poll::Ready(Err(error)) = down.poll_flush(cx) {
                    return Poll::Ready(Err(error));
                }
                let mut buffer = client.worker.buffers.take();
                let read = down.poll_body(cx, &mut buffer);
                bytes.extend_from_slice(buffer.filled());
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
            if !held.grow(bytes.len() - before) {
                return Err(Failure::Busy);
            }
            *whole = read == Read::End;
        }
        Ok(())
    }
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
    head: &mut RequestHead,
    ahead: Option<Box<Ahead>>,
    down: &mut D,
) -> Result<Option<Box<Ahead>>, Failure> {
    let asking = Asking::new(&route.ingress, address(client, head));
    let mut begun = Begun::new(client, &asking);
    if let Some(ahead) = ahead {
        let (bytes, whole, held) = ahead.into_parts();
        (begun.bytes, begun.whole) = (bytes, whole);
        match held {
            Some(held) => begun.held = held,
            None if begun.held.grow(begun.bytes.len()) => {}
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

/// The client's address as the endpoint is told it.
fn address(client: &Client, head: &RequestHead) -> IpAddr {
    let told = head.fields.get(Known::XRealIp).and_then(|text| std::str::from_utf8(text).ok());
    told.and_then(|text| text.parse().ok()).unwrap_or(client.peer.ip())
}
