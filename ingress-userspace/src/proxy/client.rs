//! One client connection as the request path sees it: who it is, and what it is waiting for.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use http::HeaderValue;

use super::{deadline::Deadline, proxy_protocol::Arrival, upgrade::Tunnel, worker::Worker};

/// While draining, how long a connection without request may stay: long enough for one that is on
/// its way, which is then answered with `Connection: close` instead of a reset.
const LAST_CALL: Duration = Duration::from_secs(1);

/// A client connection.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    /// Who connected.
    pub(crate) peer: SocketAddr,
    /// The peer's address without port, as header value.
    pub(crate) peer_text: HeaderValue,
    /// It came in over TLS.
    pub(crate) https: bool,
    /// What `X-Forwarded-Port` says.
    pub(crate) port: HeaderValue,
    /// Bytes between two requests are frames about the connection, and no new request's head.
    http2: Cell<bool>,
    phase: Cell<Phase>,
    in_flight: Cell<u32>,
    /// The client does not read, and something waits to be written.
    blocked: Cell<bool>,
    deadline: Deadline,
    /// Set when an upstream agreed to another protocol: what the connection carries afterwards.
    pub(crate) tunnel: RefCell<Option<Tunnel>>,
}

/// What the connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its handshake or the rest of a request's head.
    Head,
    /// The answer to a request.
    Busy,
    /// The next request.
    Idle,
}

impl Client {
    pub(crate) fn new(worker: Rc<Worker>, arrival: Arrival, https: bool, port: u16) -> Rc<Self> {
        let peer = arrival.client();
        let text = peer.ip().to_string();
        let client = Self {
            peer,
            peer_text: HeaderValue::try_from(text).expect("an address is visible ASCII"),
            // A proxy in front ended TLS (reference section 4.4).
            https: https || arrival.proxied_port() == Some(443),
            // ingress-nginx says 443 whatever --https-port is.
            port: match arrival.proxied_port() {
                Some(port) => port.into(),
                None if https => HeaderValue::from_static("443"),
                None => port.into(),
            },
            http2: Cell::new(false),
            phase: Cell::new(Phase::Head),
            in_flight: Cell::new(0),
            blocked: Cell::new(false),
            deadline: worker.deadlines.deadline(),
            tunnel: RefCell::new(None),
            worker,
        };
        client.worker.connection_opened();
        client.expect_head();
        Rc::new(client)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(crate) fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    fn expect_head(&self) {
        self.phase.set(Phase::Head);
        self.deadline.set(self.worker.timeouts.head);
        if self.worker.draining() {
            self.deadline.shorten(LAST_CALL);
        }
    }

    /// It speaks HTTP/2.
    pub(crate) fn speaks_http2(&self) {
        self.http2.set(true);
    }

    /// The worker drains: waits no longer than [`LAST_CALL`] for another request.
    pub(crate) fn last_call(&self) {
        if self.in_flight.get() == 0 {
            self.deadline.shorten(LAST_CALL);
        }
    }

    /// The client sent something.
    pub(crate) fn bytes_arrived(&self) {
        if self.phase.get() == Phase::Idle && !self.http2.get() {
            self.expect_head();
        }
    }

    /// A write found room (`moved`) or none.
    pub(crate) fn wrote(&self, moved: bool) {
        if moved == self.blocked.get() {
            self.blocked.set(!moved);
            if !moved {
                self.deadline.set(self.worker.timeouts.send);
            } else if self.in_flight.get() > 0 {
                self.deadline.clear();
            } else {
                self.expect_next();
            }
        }
    }

    /// The client did not read for too long, if the deadline has passed.
    pub(crate) fn blocked(&self) -> bool {
        self.blocked.get()
    }

    fn expect_next(&self) {
        self.phase.set(Phase::Idle);
        self.deadline.set(self.worker.timeouts.keep_alive);
        if self.worker.draining() {
            self.deadline.shorten(LAST_CALL);
        }
    }

    /// A request begins.
    pub(crate) fn enter(self: &Rc<Self>) -> InFlight {
        self.in_flight.set(self.in_flight.get() + 1);
        self.phase.set(Phase::Busy);
        self.deadline.clear();
        InFlight { client: Rc::clone(self) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.worker.connection_closed();
    }
}

/// A request that is not answered to its last byte.
pub(crate) struct InFlight {
    client: Rc<Client>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let client = &self.client;
        client.in_flight.set(client.in_flight.get() - 1);
        if client.in_flight.get() == 0 {
            client.expect_next();
        }
    }
}
