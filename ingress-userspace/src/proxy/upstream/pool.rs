//! The idle connections of a worker. Takes the one used last, so that the others can grow old and
//! be closed; never hands out one that is known to be closed.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
};

use super::Connection;
use crate::{
    config::Timeouts,
    proxy::deadline::{Deadline, Deadlines},
};

/// Idle connections per worker (reference section 5.4).
const IDLE: usize = 320;
/// Requests on one connection (reference section 5.4).
const REQUESTS: u32 = 10_000;
/// A request that must not be sent twice only takes a connection that was in use this many
/// milliseconds ago or less: one that idled longer may be closing at this very moment.
const FRESH: u64 = 1000;

/// The idle connections of one worker, by endpoint. Clones are one pool.
#[derive(Clone)]
pub(crate) struct Pool(Rc<Inner>);

struct Inner {
    idle: RefCell<HashMap<SocketAddr, Vec<Connection>>>,
    count: Cell<usize>,
    deadlines: Rc<Deadlines>,
    timeouts: Timeouts,
}

impl Pool {
    pub(crate) fn new(deadlines: Rc<Deadlines>, timeouts: &Timeouts) -> Self {
        Self(Rc::new(Inner {
            idle: RefCell::default(),
            count: Cell::new(0),
            deadlines,
            timeouts: timeouts.clone(),
        }))
    }

    pub(super) fn now(&self) -> u64 {
        self.0.deadlines.now()
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.0.timeouts
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.0.deadlines.deadline()
    }

    /// The connection to this endpoint that was used last, if one is open. `repeatable`: the
    /// request can be sent again if the connection turns out to be closed.
    pub(super) fn take(&self, address: SocketAddr, repeatable: bool) -> Option<Connection> {
        let mut idle = self.0.idle.borrow_mut();
        let connections = idle.get_mut(&address)?;
        loop {
            let connection = connections.pop()?;
            self.0.count.set(self.0.count.get() - 1);
            if connection.is_closed() {
                continue;
            }
            if !repeatable && self.now() - connection.idle_since > FRESH {
                // The others are older still; they stay for requests that can be repeated.
                connections.push(connection);
                self.0.count.set(self.0.count.get() + 1);
                return None;
            }
            return Some(connection);
        }
    }

    pub(super) fn put(&self, mut connection: Connection) {
        let age = self.now() - connection.opened;
        if self.0.count.get() >= IDLE
            || connection.requests >= REQUESTS
            || u128::from(age) >= self.0.timeouts.pool_age.as_millis()
        {
            return;
        }
        connection.idle_since = self.now();
        self.0.idle.borrow_mut().entry(connection.address).or_default().push(connection);
        self.0.count.set(self.0.count.get() + 1);
    }

    /// Closes all. An idle connection knows its pool, which would keep both for ever.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.0.idle.borrow_mut());
        self.0.count.set(0);
        drop(all);
    }

    /// Closes what idled for too long or was closed by the endpoint. Called at each tick.
    pub(crate) fn reap(&self) {
        let now = self.now();
        let limit = self.0.timeouts.pool_idle.as_millis();
        let mut count = 0;
        let mut closed = Vec::new();
        self.0.idle.borrow_mut().retain(|_, connections| {
            closed.extend(connections.extract_if(.., |connection| {
                u128::from(now - connection.idle_since) > limit || connection.is_closed()
            }));
            count += connections.len();
            !connections.is_empty()
        });
        self.0.count.set(count);
    }
}
