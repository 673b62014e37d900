//! Which endpoint gets a request (reference section 6): by each worker for itself, from a place of
//! its own so that workers do not march in step. Knows no representation of HTTP: what it must know
//! of a request, an [`Asker`] tells.
//!
//! What a worker has learnt of an endpoint (its pace, its refusals, whose turn it is) outlives the
//! snapshot for as long as the backend keeps the endpoint.

mod attempts;
mod date;
mod hash;
mod peer;
mod session;
mod state;

#[cfg(test)]
mod tests;

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::HeaderValue;

use self::state::State;
pub(crate) use self::{attempts::Attempts, peer::PeerState, session::Key};
use crate::{
    model::{Affinity, Backend, BackendId, BackendKey, Route, Variable},
    snapshot::Snapshot,
};

/// The request that an endpoint is wanted for.
pub(crate) trait Asker {
    /// Hands over what the request has for this variable, in one piece or several; nothing if it
    /// has nothing for it.
    fn variable(&self, variable: &Variable, take: &mut dyn FnMut(&[u8]));

    /// The value of the first cookie of this name.
    fn cookie(&self, name: &str) -> Option<&[u8]>;

    /// The worker's clock. Milliseconds.
    fn now(&self) -> u64;
}

/// The endpoints that a request was sent to already. Of more than eight, the last eight.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tried {
    indexes: [u32; 8],
    count: usize,
}

impl Tried {
    fn add(&mut self, index: u32) {
        self.indexes[self.count % self.indexes.len()] = index;
        self.count += 1;
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All that can be known are.
    fn is_full(&self) -> bool {
        self.count >= self.indexes.len()
    }

    fn contains(&self, index: usize) -> bool {
        let known = self.indexes.get(..self.count).unwrap_or(&self.indexes);
        known.iter().any(|tried| usize::try_from(*tried) == Ok(index))
    }
}

/// Whose endpoints a request may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<'m> {
    pub(crate) id: BackendId,
    /// The sessions that bind clients to them: the backend's own or, of a canary, the main
    /// backend's.
    pub(crate) affinity: Option<&'m Affinity>,
}

/// Where to send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    /// The endpoint's place in the backend, in the view that it was picked from and no other.
    pub(crate) index: u32,
    /// Where to connect to.
    pub(crate) address: SocketAddr,
    /// A session begins, or moves: what the client is to be told by
    /// [`View::session_cookie`].
    pub(crate) session: Option<Key>,
}

/// A worker's view of a snapshot: the snapshot, and what the worker knows of its endpoints.
pub(crate) struct View {
    pub(crate) snapshot: Arc<Snapshot>,
    /// The value of `Strict-Transport-Security` over TLS, if there is to be one.
    pub(crate) hsts: Option<HeaderValue>,
    /// By [`BackendId`]; made when first asked for.
    states: Vec<OnceCell<Rc<State>>>,
    random: RefCell<fastrand::Rng>,
}

impl View {
    /// The view of a worker that knows nothing yet.
    pub(crate) fn new(snapshot: Arc<Snapshot>, random: &mut fastrand::Rng) -> Rc<Self> {
        let states = snapshot.model.backends.iter().map(|_| OnceCell::new()).collect();
        let hsts = snapshot.model.settings.hsts.as_deref();
        let hsts = hsts.and_then(|text| HeaderValue::from_str(text).ok());
        Rc::new(Self { hsts, snapshot, states, random: RefCell::new(random.fork()) })
    }

    /// The view of the same worker after a change.
    pub(crate) fn next(&self, snapshot: Arc<Snapshot>) -> Rc<Self> {
        let next = Self::new(snapshot, &mut self.random.borrow_mut());
        let backends = &next.snapshot.model.backends;
        let mut by_key: Option<HashMap<&BackendKey, usize>> = None;
        for (place, state) in self.states.iter().enumerate() {
            let Some(state) = state.get() else { continue };
            let key = &state.backend().key;
            // Backends keep their places as long as no route changes.
            let place = match backends.get(place) {
                Some(backend) if backend.key == *key => Some(place),
                _ => by_key
                    .get_or_insert_with(|| {
                        let places = backends.iter().enumerate();
                        places.map(|(place, backend)| (&backend.key, place)).collect()
                    })
                    .get(key)
                    .copied(),
            };
            let Some(place) = place else { continue };
            let state = match Arc::ptr_eq(&backends[place], state.backend()) {
                true => Rc::clone(state),
                false => Rc::new(state.next(&backends[place], &mut next.random.borrow_mut())),
            };
            let _only_one_has_this_key = next.states[place].set(state);
        }
        next
    }

    pub(crate) fn backend(&self, id: BackendId) -> Option<&Arc<Backend>> {
        self.snapshot.model.backends.get(usize::try_from(id.0).ok()?)
    }

    /// Where the backend is in this snapshot that was at `id` in another one.
    pub(crate) fn place(&self, id: BackendId, key: &BackendKey) -> Option<BackendId> {
        if self.backend(id).is_some_and(|own| own.key == *key) {
            return Some(id);
        }
        let place = self.snapshot.model.backends.iter().position(|own| own.key == *key)?;
        u32::try_from(place).ok().map(BackendId)
    }

    fn state(&self, id: BackendId) -> Option<&State> {
        let place = usize::try_from(id.0).ok()?;
        let backend = self.snapshot.model.backends.get(place)?;
        let state = self
            .states
            .get(place)?
            .get_or_init(|| Rc::new(State::new(backend, &mut self.random.borrow_mut())));
        Some(state)
    }

    /// The endpoint for this request, or for its next attempt; `tried` grows by it. `None` if the
    /// backend has no endpoint.
    ///
    /// Endpoints that refuse connections and those already tried are passed over as long as there
    /// are others; a session's endpoint is not, unless `session-cookie-change-on-failure` says so.
    pub(crate) fn pick(
        &self,
        choice: Choice<'_>,
        asker: &impl Asker,
        tried: &mut Tried,
    ) -> Option<Pick> {
        let pick = self.state(choice.id)?.pick(
            choice.affinity,
            asker,
            tried,
            &mut self.random.borrow_mut(),
        )?;
        tried.add(pick.index);
        Some(pick)
    }

    /// Another endpoint to be asked beside the one at `last`, while that has not taken the connection;
    /// `tried` grows by it.
    pub(crate) fn pick_beside(
        &self,
        id: BackendId,
        last: SocketAddr,
        tried: &mut Tried,
        now: u64,
    ) -> Option<Pick> {
        let pick = self.state(id)?.beside(last, tried, now)?;
        tried.add(pick.index);
        Some(pick)
    }

    /// The place of the backend's endpoint at this address.
    pub(crate) fn index(&self, id: BackendId, address: SocketAddr) -> Option<u32> {
        self.state(id)?.index(address)
    }

    /// The session that a cookie's value is about was begun with this backend.
    pub(crate) fn has_session(&self, id: BackendId, cookie: &[u8]) -> bool {
        self.state(id).is_some_and(|state| session::mark_of_cookie(cookie) == Some(state.mark()))
    }

    /// What is known of the endpoints of a backend; nothing where none was ever asked for.
    pub(crate) fn look(&self, id: BackendId, now: u64) -> Vec<PeerState> {
        let state = usize::try_from(id.0).ok().and_then(|place| self.states.get(place)?.get());
        state.map(|state| state.look(now)).unwrap_or_default()
    }

    /// The endpoint that a request is bound to, by a session or by what is hashed; `None`: any.
    pub(crate) fn bound(&self, choice: Choice<'_>, asker: &impl Asker) -> Option<SocketAddr> {
        self.state(choice.id)?.bound(choice.affinity, asker)
    }

    /// A random number from 1 to `most`.
    pub(crate) fn throw(&self, most: u32) -> u32 {
        self.random.borrow_mut().u32(1..=most.max(1))
    }

    /// An endpoint took a connection. Call it for new connections, not for pooled ones.
    pub(crate) fn connected(&self, id: BackendId, index: u32) {
        if let Some(state) = self.state(id) {
            state.connected(index);
        }
    }

    /// An endpoint refused a connection, or took too long to take one.
    pub(crate) fn refused(&self, id: BackendId, index: u32, now: u64) {
        if let Some(state) = self.state(id) {
            state.refused(index, now);
        }
    }

    /// An endpoint took this long from the start of the attempt, connecting included, to its
    /// answer; `answered`: to what was one.
    pub(crate) fn observe(
        &self,
        id: BackendId,
        index: u32,
        took: Duration,
        answered: bool,
        now: u64,
    ) {
        if let Some(state) = self.state(id) {
            state.observe(index, took, answered, now);
        }
    }

    /// An endpoint's answer began after this time: for people, whatever the policy. Microseconds.
    pub(crate) fn took(&self, id: BackendId, index: u32, micros: u64) {
        if let Some(state) = self.state(id) {
            state.took(index, micros);
        }
    }

    /// The value of `Set-Cookie` by which a client is told its session, given where the last
    /// [`Pick`] of a request had one. `None` on routes that only follow sessions. `https`: the
    /// client's connection has TLS. `now`: seconds since 1970.
    pub(crate) fn session_cookie(
        &self,
        choice: Choice<'_>,
        key: &Key,
        route: &Route,
        https: bool,
        user_agent: Option<&[u8]>,
        now: i64,
    ) -> Option<String> {
        let affinity = choice.affinity.filter(|_| route.sets_session)?;
        let state = self.state(choice.id)?;
        let to = session::Recipient { path: &route.path, https, user_agent, now };
        Some(session::cookie(&affinity.cookie, key, state.mark(), &to))
    }
}
