//! The connections of a worker that no request uses. Takes the one used last, so that the others can
//! grow old and be closed; never hands out one that is known to be closed. Those of HTTP/2, which
//! requests share, are a pool of their own within.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    ptr,
    rc::Rc,
    sync::Arc,
};

use hashbrown::HashMap;

use super::{Connection, Way, http2::Http2Pool, tls::Clients};
use crate::{
    model::{UpstreamPool, UpstreamTls},
    proxy::{deadline::Deadlines, fastcgi::Complaints, http1::Http1Upstream},
};

/// A request that must not be sent twice only takes a connection that was in use this many
/// milliseconds ago or less: one that idled longer may be closing at this very moment.
const FRESH: u64 = 1000;

/// A connection of HTTP/1, with what decides whether it is kept. Closed when dropped.
pub(crate) struct Kept {
    pub(super) http: Box<Http1Upstream>,
    address: SocketAddr,
    /// How its TLS was done; keeps the address of the policy from being used for another one.
    tls: Option<Arc<UpstreamTls>>,
    /// When it was opened and when it was last given back, in the worker's milliseconds.
    opened: u64,
    idle_since: u64,
    /// Requests sent so far.
    requests: u32,
}

impl Kept {
    /// How many requests it has had.
    pub(super) fn requests(&self) -> u32 {
        self.requests
    }

    fn place(&self) -> Place {
        Place::new(self.address, self.tls.as_ref())
    }
}

/// What connections are kept by: the endpoint, and how TLS is done. Equal policies are one
/// allocation, which is cheaper to find out than whether they are equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    address: SocketAddr,
    /// Null: in clear text.
    tls: *const UpstreamTls,
}

impl Place {
    fn new(address: SocketAddr, tls: Option<&Arc<UpstreamTls>>) -> Self {
        Self { address, tls: tls.map_or(ptr::null(), Arc::as_ptr) }
    }
}

/// The connections of one worker to its endpoints.
pub(crate) struct Pool {
    idle: RefCell<HashMap<Place, Vec<Kept>>>,
    count: Cell<usize>,
    deadlines: Rc<Deadlines>,
    limits: Cell<UpstreamPool>,
    pub(super) http2: Http2Pool,
    pub(super) clients: Rc<Clients>,
    /// What FastCGI applications say aside.
    pub(super) complaints: Rc<Complaints>,
}

impl Pool {
    pub(crate) fn new(deadlines: Rc<Deadlines>, limits: UpstreamPool) -> Self {
        let clients = Rc::<Clients>::default();
        Self {
            idle: RefCell::default(),
            count: Cell::new(0),
            limits: Cell::new(limits),
            http2: Http2Pool::new(Rc::clone(&deadlines), Rc::clone(&clients)),
            clients,
            complaints: Rc::new(Complaints::new(Rc::clone(&deadlines))),
            deadlines,
        }
    }

    /// What the settings say from now on.
    pub(crate) fn set_limits(&self, limits: UpstreamPool) {
        self.limits.set(limits);
    }

    pub(super) fn limits(&self) -> UpstreamPool {
        self.limits.get()
    }

    /// A connection that was just opened.
    pub(super) fn opened(
        &self,
        address: SocketAddr,
        tls: Option<Arc<UpstreamTls>>,
        http: Http1Upstream,
    ) -> Kept {
        let now = self.deadlines.now();
        let http = Box::new(http);
        Kept { http, address, tls, opened: now, idle_since: now, requests: 0 }
    }

    /// The connection of HTTP/1 to this endpoint that was used last, if one is open. `repeatable`:
    /// the request can be sent again if the connection turns out to be closed.
    pub(crate) fn take(
        &self,
        address: SocketAddr,
        way: &Way<'_>,
        repeatable: bool,
    ) -> Option<Connection> {
        if !way.proxying.protocol.is_http1() {
            return None;
        }
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&Place::new(address, way.tls))?;
        loop {
            let mut kept = connections.pop()?;
            self.count.set(self.count.get() - 1);
            if kept.http.is_closed() {
                continue;
            }
            if !repeatable && self.deadlines.now() - kept.idle_since > FRESH {
                // The others are older still; they stay for requests that can be repeated.
                connections.push(kept);
                self.count.set(self.count.get() + 1);
                return None;
            }
            return Some(Connection::Http1(kept));
        }
    }

    /// There may be a connection of HTTP/1 for [`take`](Self::take).
    pub(crate) fn has(&self, address: SocketAddr, way: &Way<'_>) -> bool {
        let idle = self.idle.borrow();
        idle.get(&Place::new(address, way.tls)).is_some_and(|connections| !connections.is_empty())
    }

    /// Keeps a connection for another request, if it can take one. Others have done their part.
    pub(crate) fn put(&self, connection: Connection) {
        let Connection::Http1(mut kept) = connection else { return };
        kept.requests += 1;
        let now = self.deadlines.now();
        let limits = self.limits.get();
        if !kept.http.is_reusable()
            || self.count.get() >= limits.connections
            || kept.requests >= limits.requests
            || u128::from(now - kept.opened) >= limits.time.as_millis()
        {
            return;
        }
        kept.http.rest();
        kept.idle_since = now;
        self.idle.borrow_mut().entry(kept.place()).or_default().push(kept);
        self.count.set(self.count.get() + 1);
    }

    /// How many connections of HTTP/1 no request uses.
    pub(crate) fn idle(&self) -> usize {
        self.count.get()
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.idle.borrow_mut());
        self.count.set(0);
        drop(all);
        self.http2.clear();
    }

    /// Closes what idled for too long or was closed by the endpoint. Called at each tick.
    pub(crate) fn reap(&self) {
        let now = self.deadlines.now();
        let limits = self.limits.get();
        let limit = limits.timeout.as_millis();
        let mut count = 0;
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain_mut(|kept| {
                let keep = count < limits.connections
                    && u128::from(now - kept.idle_since) <= limit
                    && !kept.http.is_closed();
                count += usize::from(keep);
                keep
            });
            !connections.is_empty()
        });
        self.count.set(count);
        self.http2.reap(&limits);
    }
}
