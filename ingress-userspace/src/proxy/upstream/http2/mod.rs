//! Endpoints that speak HTTP/2 (`backend-protocol: GRPC` and `GRPCS`): the connections of a worker,
//! each shared by as many requests as its endpoint allows. The frames are the `h2` crate's; ours is
//! who gets a stream, when a connection takes no more, and what its errors mean for a request.
//!
//! A connection is open to new streams until it is told to go away, ends, has had its number of
//! requests or its time, or a request on it waited in vain. From then on the pool does not know it;
//! the streams that are on it keep it alive.

mod connection;
mod convert;
mod stream;

#[cfg(test)]
mod tests;

pub(crate) use stream::Http2Stream;

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{Hash, Hasher},
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::sync::Notify;

use self::connection::Connection;
use super::tls::{Clients, TlsFailure};
use crate::{
    model::{Proxying, UpstreamPool, UpstreamTls},
    proxy::deadline::Deadlines,
};

/// Why there is no connection to an endpoint. Nothing of a request was sent.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Not within the connect timeout.
    #[error("connecting takes too long")]
    Late,
    /// It does not accept.
    #[error("cannot connect")]
    Io(#[source] Arc<io::Error>),
    /// No TLS, or not with whom the policy asks for.
    #[error(transparent)]
    Tls(#[from] TlsFailure),
    /// What it says is not HTTP/2, or it ends the connection at once.
    #[error("the endpoint does not speak HTTP/2")]
    Protocol(#[source] Arc<h2::Error>),
    /// It ended the connection before the first request.
    #[error("the endpoint ends the connection at once")]
    Closed,
}

/// The HTTP/2 connections of a worker. Clones are one pool.
#[derive(Clone)]
pub(crate) struct Http2Pool(Rc<Inner>);

struct Inner {
    deadlines: Rc<Deadlines>,
    clients: Rc<Clients>,
    connections: RefCell<HashMap<Place, Vec<Rc<Connection>>>>,
    opening: RefCell<HashMap<Place, Rc<Opening>>>,
}

/// What connections are kept by: the endpoint, and how TLS is done. A policy is another if it is
/// another allocation, which is cheaper to find out than whether it is equal; equal ones are one.
#[derive(Clone)]
struct Place {
    address: SocketAddr,
    tls: Option<Arc<UpstreamTls>>,
}

impl Place {
    fn key(&self) -> (SocketAddr, Option<*const UpstreamTls>) {
        (self.address, self.tls.as_ref().map(Arc::as_ptr))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// A connection that is being opened, for whoever waits for it. A task of its own, so that the
/// client that came first can leave without taking the others' connection along.
#[derive(Default)]
struct Opening {
    done: Notify,
    outcome: RefCell<Option<Result<Rc<Connection>, ConnectError>>>,
}

impl Http2Pool {
    /// An empty pool. `clients` are those of the worker.
    pub(crate) fn new(deadlines: Rc<Deadlines>, clients: Rc<Clients>) -> Self {
        Self(Rc::new(Inner {
            deadlines,
            clients,
            connections: RefCell::default(),
            opening: RefCell::default(),
        }))
    }

    /// A stream to this endpoint, on a connection that is there or on a new one: with the TLS and
    /// the timeouts of `proxying`.
    ///
    /// # Errors
    /// If a new connection is needed and cannot be had. Whoever waits for the same connection gets
    /// the same error; no attempt is repeated here.
    pub(crate) async fn open(
        &self,
        address: SocketAddr,
        proxying: &Proxying,
        limits: &UpstreamPool,
    ) -> Result<Http2Stream, ConnectError> {
        let tls = proxying.tls.clone().filter(|_| proxying.protocol.uses_tls(true));
        let https = tls.is_some();
        let place = Place { address, tls };
        loop {
            if let Some(connection) = self.find(&place, limits) {
                return Ok(Http2Stream::new(connection, &self.0.deadlines, https, proxying));
            }
            let opening = self.opening(&place, proxying.connect_timeout);
            let connection = opening.wait().await?;
            // Alive, but others took all of its streams: one more is opened. Not alive: to ask the
            // endpoint again and again would not help it.
            if !connection.is_alive() {
                return Err(ConnectError::Closed);
            }
        }
    }

    /// The connection to this place that takes one more stream. Those that will take none any more
    /// are let go.
    fn find(&self, place: &Place, limits: &UpstreamPool) -> Option<Rc<Connection>> {
        let now = self.0.deadlines.now();
        let mut all = self.0.connections.borrow_mut();
        let connections = all.get_mut(place)?;
        connections.retain(|connection| connection.is_open(now, limits));
        connections.iter().find(|connection| connection.has_room()).map(Rc::clone)
    }

    fn opening(&self, place: &Place, timeout: Duration) -> Rc<Opening> {
        let mut all = self.0.opening.borrow_mut();
        let opening = all.entry(place.clone()).or_insert_with(|| {
            let opening = Rc::new(Opening::default());
            let task = self.clone().establish(place.clone(), timeout, Rc::clone(&opening));
            tokio::task::spawn_local(task);
            opening
        });
        Rc::clone(opening)
    }

    async fn establish(self, place: Place, timeout: Duration, opening: Rc<Opening>) {
        let establishing = async {
            let tls = match &place.tls {
                Some(policy) => Some(self.0.clients.of(policy)?),
                None => None,
            };
            connection::establish(place.address, tls.as_deref(), &self.0.deadlines).await
        };
        let outcome = match tokio::time::timeout(timeout, establishing).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(ConnectError::Late),
        };
        self.0.opening.borrow_mut().remove(&place);
        if let Ok(connection) = &outcome {
            let mut all = self.0.connections.borrow_mut();
            all.entry(place).or_default().push(Rc::clone(connection));
        }
        opening.outcome.replace(Some(outcome));
        opening.done.notify_waiters();
    }

    /// Closes what idled for too long, and what takes no more streams once it has none. Called at
    /// each tick.
    pub(crate) fn reap(&self, limits: &UpstreamPool) {
        let now = self.0.deadlines.now();
        let mut idle = 0;
        let mut closed = Vec::new();
        self.0.connections.borrow_mut().retain(|_, connections| {
            closed.extend(connections.extract_if(.., |connection| {
                let keep = connection.is_open(now, limits)
                    && (!connection.is_idle() || idle < limits.connections)
                    && !connection.idled(now, limits.timeout);
                idle += usize::from(keep && connection.is_idle());
                !keep
            }));
            !connections.is_empty()
        });
    }

    /// Lets all connections go; those with streams end with them.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.0.connections.borrow_mut());
        drop(all);
    }

    /// How many connections take streams.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.connections.borrow().values().map(Vec::len).sum()
    }
}

impl Opening {
    async fn wait(&self) -> Result<Rc<Connection>, ConnectError> {
        loop {
            // Registered before the look, so that an end in between is not missed.
            let done = self.done.notified();
            if let Some(outcome) = &*self.outcome.borrow() {
                return outcome.clone();
            }
            done.await;
        }
    }
}
