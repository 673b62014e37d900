//! The idle connections of a worker. Takes the one used last, so that the others can grow old and
//! be closed; never hands out one that is known to be closed.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
};

use hashbrown::HashMap;

use crate::{
    config::Timeouts,
    proxy::{deadline::Deadlines, http1::Http1Upstream},
};

/// Idle connections per worker (reference section 5.4).
const IDLE: usize = 320;
/// Requests on one connection (reference section 5.4).
const REQUESTS: u32 = 10_000;
/// A request that must not be sent twice only takes a connection that was in use this many
/// milliseconds ago or less: one that idled longer may be closing at this very moment.
const FRESH: u64 = 1000;

/// A connection to an endpoint, with what decides whether it is kept. Closed when dropped.
pub(crate) struct Connection {
    pub(crate) http: Box<Http1Upstream>,
    address: SocketAddr,
    /// When it was opened and when it was last given back, in the worker's milliseconds.
    opened: u64,
    idle_since: u64,
    /// Requests sent so far.
    requests: u32,
}

/// The idle connections of one worker, by endpoint.
pub(crate) struct Pool {
    idle: RefCell<HashMap<SocketAddr, Vec<Connection>>>,
    count: Cell<usize>,
    deadlines: Rc<Deadlines>,
    timeouts: Timeouts,
}

impl Pool {
    pub(crate) fn new(deadlines: Rc<Deadlines>, timeouts: &Timeouts) -> Self {
        Self {
            idle: RefCell::default(),
            count: Cell::new(0),
            deadlines,
            timeouts: timeouts.clone(),
        }
    }

    /// A connection that was just opened.
    pub(super) fn opened(&self, address: SocketAddr, http: Http1Upstream) -> Connection {
        let now = self.deadlines.now();
        Connection { http: Box::new(http), address, opened: now, idle_since: now, requests: 0 }
    }

    /// The connection to this endpoint that was used last, if one is open. `repeatable`: the
    /// request can be sent again if the connection turns out to be closed.
    pub(crate) fn take(&self, address: SocketAddr, repeatable: bool) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&address)?;
        loop {
            let mut connection = connections.pop()?;
            self.count.set(self.count.get() - 1);
            if connection.http.is_closed() {
                continue;
            }
            if !repeatable && self.deadlines.now() - connection.idle_since > FRESH {
                // The others are older still; they stay for requests that can be repeated.
                connections.push(connection);
                self.count.set(self.count.get() + 1);
                return None;
            }
            return Some(connection);
        }
    }

    /// Keeps a connection for another request, if it can take one.
    pub(crate) fn put(&self, mut connection: Connection) {
        connection.requests += 1;
        let now = self.deadlines.now();
        if !connection.http.is_reusable()
            || self.count.get() >= IDLE
            || connection.requests >= REQUESTS
            || u128::from(now - connection.opened) >= self.timeouts.pool_age.as_millis()
        {
            return;
        }
        connection.http.rest();
        connection.idle_since = now;
        self.idle.borrow_mut().entry(connection.address).or_default().push(connection);
        self.count.set(self.count.get() + 1);
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.idle.borrow_mut());
        self.count.set(0);
        drop(all);
    }

    /// Closes what idled for too long or was closed by the endpoint. Called at each tick.
    pub(crate) fn reap(&self) {
        let now = self.deadlines.now();
        let limit = self.timeouts.pool_idle.as_millis();
        let mut count = 0;
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain_mut(|connection| {
                u128::from(now - connection.idle_since) <= limit && !connection.http.is_closed()
            });
            count += connections.len();
            !connections.is_empty()
        });
        self.count.set(count);
    }
}
