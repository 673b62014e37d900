//! One client connection as the request path sees it: who it is, and what it is waiting for.

use std::{
    cell::{Cell, OnceCell},
    net::SocketAddr,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use super::{deadline::Deadline, worker::Worker};
use crate::tls::Identity;

/// While draining, how long a connection without request may stay: long enough for one that is on
/// its way, which is then answered with `Connection: close` instead of a reset.
pub(crate) const LAST_CALL: Duration = Duration::from_secs(1);

/// A client connection.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    /// Who connected.
    pub(crate) peer: SocketAddr,
    /// The peer's address without port.
    pub(crate) peer_text: Box<str>,
    /// It came in over TLS.
    pub(crate) https: bool,
    /// What its handshake found out; unset over plain HTTP.
    pub(crate) identity: OnceCell<Identity>,
    /// What `X-Forwarded-Port` says.
    pub(crate) port: Box<str>,
    phase: Cell<Phase>,
    deadline: Deadline,
}

/// What the connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its handshake or the rest of a request's head.
    Head,
    /// The answer to a request.
    Busy,
    /// The next request.
    Idle,
    /// The next request, but not for long: the worker drains.
    LastCall,
}

impl Client {
    pub(crate) fn new(worker: Rc<Worker>, peer: SocketAddr, https: bool, port: u16) -> Rc<Self> {
        // A v4 client of a v6 socket is a v4 client.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let client = Self {
            peer,
            peer_text: peer.ip().to_string().into(),
            https,
            identity: OnceCell::new(),
            // ingress-nginx says 443 whatever --https-port is.
            port: if https { "443".into() } else { port.to_string().into() },
            phase: Cell::new(Phase::Busy),
            deadline: worker.deadlines.deadline(),
            worker,
        };
        client.worker.connection_opened();
        client.expect_head();
        Rc::new(client)
    }

    pub(crate) fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// A handshake or a head is to come to its end within the head timeout.
    pub(crate) fn expect_head(&self) {
        self.phase.set(Phase::Head);
        self.deadline.set(self.worker.timeouts.head);
    }

    /// The next request may take its time.
    pub(crate) fn expect_next(&self) {
        if self.phase.get() == Phase::Busy {
            self.phase.set(Phase::Idle);
            self.deadline.set(self.worker.timeouts.keep_alive);
        }
    }

    /// A request begins: the connection itself waits for nothing.
    pub(crate) fn answering(&self) {
        self.phase.set(Phase::Busy);
        self.deadline.clear();
    }

    /// Ready when what was expected does not come in time.
    pub(crate) fn poll_late(&self, cx: &Context<'_>) -> Poll<()> {
        if self.worker.draining() && self.phase.get() == Phase::Idle {
            self.phase.set(Phase::LastCall);
            self.deadline.shorten(LAST_CALL);
        }
        self.deadline.poll(cx)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.worker.connection_closed();
    }
}
