//! One client connection as the request path sees it: who it is, and what it is waiting for.

use std::{
    cell::{Cell, OnceCell},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use super::{
    deadline::Deadline,
    proxy_protocol::Arrival,
    trial::{Says, Stage, Trial},
    worker::Worker,
};
use crate::tls::Identity;

/// While draining, how long a connection without request may stay: long enough for one that is on
/// its way, which is then answered with `Connection: close` instead of a reset.
pub(crate) const LAST_CALL: Duration = Duration::from_secs(1);

/// A client connection.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    /// Who connected, as the header of the PROXY protocol says where there is one.
    pub(crate) peer: SocketAddr,
    /// The peer's address without port.
    pub(crate) peer_text: Box<str>,
    /// This connection itself is TLS, ended here. What is about handshakes and certificates goes by
    /// this alone.
    pub(crate) tls: bool,
    /// The client speaks HTTPS, as far as is known: to us, or to a balancer in front that ended TLS
    /// (reference section 4.4). Links, redirects and cookies go by this.
    pub(crate) https: bool,
    /// What its handshake found out; unset over plain HTTP.
    pub(crate) identity: OnceCell<Identity>,
    /// What `X-Forwarded-Port` says.
    pub(crate) port: Rc<str>,
    /// The address that it reached, if the system says it.
    pub(crate) local: Option<IpAddr>,
    /// Its number among all connections of the process.
    pub(crate) number: u64,
    /// When it began, by the clock of the worker's deadlines. Milliseconds.
    pub(crate) begun: u64,
    /// Requests so far.
    pub(crate) requests: Cell<u32>,
    /// There is no connection: a request is only thought through.
    pub(crate) trial: Option<Box<Trial>>,
    phase: Cell<Phase>,
    deadline: Deadline,
}

/// What the connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The first byte.
    Fresh,
    /// Its handshake or the rest of a request's head.
    Head,
    /// The answer to a request.
    Busy,
    /// The next request.
    Idle,
    /// The first byte or the next request, but not for long: the worker drains.
    LastCall,
}

impl Client {
    /// A connection that arrived at this port of ours, counted until it is dropped.
    pub(crate) fn new(
        worker: Rc<Worker>,
        arrival: Arrival,
        tls: bool,
        (port, local): (u16, Option<IpAddr>),
    ) -> Rc<Self> {
        let peer = arrival.client();
        let proxied_port = arrival.proxied_port();
        let client = Self {
            peer,
            peer_text: text(peer.ip()),
            tls,
            https: tls || proxied_port == Some(443),
            identity: OnceCell::new(),
            // ingress-nginx says 443 whatever --https-port is.
            port: match proxied_port {
                None => worker.port_text(if tls { 443 } else { port }),
                Some(proxied) => proxied.to_string().into(),
            },
            local,
            number: worker.next_number(),
            begun: worker.deadlines.now(),
            requests: Cell::new(0),
            trial: None,
            phase: Cell::new(Phase::Fresh),
            deadline: worker.deadlines.deadline(),
            worker,
        };
        client.worker.connection_opened();
        client.expect_first();
        Rc::new(client)
    }

    /// Somebody at this address who would ask something over this port of ours. Counted nowhere.
    pub(crate) fn imagined(
        worker: Rc<Worker>,
        peer: SocketAddr,
        tls: bool,
        (port, local): (u16, Option<IpAddr>),
    ) -> Self {
        Self {
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            peer_text: text(peer.ip().to_canonical()),
            tls,
            https: tls,
            identity: OnceCell::new(),
            port: worker.port_text(if tls { 443 } else { port }),
            local,
            number: 0,
            begun: worker.deadlines.now(),
            requests: Cell::new(1),
            trial: Some(Box::default()),
            phase: Cell::new(Phase::Busy),
            deadline: worker.deadlines.deadline(),
            worker,
        }
    }

    /// Takes down what a stage says, where somebody wants to know.
    #[inline]
    pub(crate) fn note(&self, stage: Stage, says: Says, detail: impl FnOnce() -> String) {
        if let Some(trial) = &self.trial {
            trial.note(stage, says, detail());
        }
    }

    /// Nothing may be counted, asked or sent.
    #[inline]
    pub(crate) fn is_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// Since it began, in steps of a tick.
    pub(crate) fn age(&self) -> Duration {
        Duration::from_millis(self.worker.deadlines.now().saturating_sub(self.begun))
    }

    pub(crate) fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// Something is to come at all within the head timeout.
    pub(crate) fn expect_first(&self) {
        self.phase.set(Phase::Fresh);
        self.deadline.set(self.worker.limits.get().header_timeout);
    }

    /// A handshake or a head is to come to its end within the head timeout.
    pub(crate) fn expect_head(&self) {
        self.phase.set(Phase::Head);
        self.deadline.set(self.worker.limits.get().header_timeout);
    }

    /// The first byte has come: the rest of what it begins is to follow.
    pub(crate) fn expect_rest(&self) {
        if matches!(self.phase.get(), Phase::Fresh | Phase::LastCall) {
            self.expect_head();
        }
    }

    /// The next request may take its time.
    pub(crate) fn expect_next(&self) {
        if self.phase.get() == Phase::Busy {
            self.phase.set(Phase::Idle);
            self.deadline.set(self.worker.limits.get().keep_alive.unwrap_or_default());
        }
    }

    /// A request begins: the connection itself waits for nothing.
    pub(crate) fn answering(&self) {
        self.phase.set(Phase::Busy);
        self.deadline.clear();
    }

    /// Ready when what was expected does not come in time.
    pub(crate) fn poll_late(&self, cx: &Context<'_>) -> Poll<()> {
        if self.worker.draining() && matches!(self.phase.get(), Phase::Fresh | Phase::Idle) {
            self.phase.set(Phase::LastCall);
            self.deadline.shorten(LAST_CALL);
        }
        self.deadline.poll(cx)
    }
}

/// An address as it is shown. Most are of four numbers, which are written at once to where they stay.
fn text(address: IpAddr) -> Box<str> {
    let IpAddr::V4(address) = address else { return address.to_string().into() };
    let mut text = String::with_capacity("255.255.255.255".len());
    for (index, number) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push('.');
        }
        for (least, place) in [(100, 100), (10, 10), (0, 1)] {
            if number >= least {
                text.push(char::from(b'0' + number / place % 10));
            }
        }
    }
    Box::from(text.as_str())
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.is_trial() {
            self.worker.connection_closed();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn addresses_are_shown_as_everywhere(address: IpAddr) {
            prop_assert_eq!(&*text(address), address.to_string());
        }
    }

    #[test]
    fn numbers_have_no_zeros_before_them() {
        for address in ["0.1.10.100", "255.99.200.9", "127.0.0.1"] {
            assert_eq!(&*text(address.parse().expect("an address")), address);
        }
    }
}
