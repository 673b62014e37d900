//! The attempts of one request: what `upstream` asks for an endpoint and tells how it went.

use std::{net::SocketAddr, rc::Rc, time::Instant};

use super::{Asker, Choice, Pick, Tried, View};
use crate::model::{Policy, Route};

/// Picks an endpoint for each attempt, and passes on how it went.
pub(crate) struct Attempts<'v, A> {
    view: &'v Rc<View>,
    choice: Choice<'v>,
    asker: A,
    tried: Tried,
    last: Option<Pick>,
    /// When the last attempt began, where that matters.
    since: Option<Instant>,
}

impl<'v, A: Asker> Attempts<'v, A> {
    pub(crate) fn new(view: &'v Rc<View>, choice: Choice<'v>, asker: A) -> Self {
        Self { view, choice, asker, tried: Tried::default(), last: None, since: None }
    }

    /// Where to send the next attempt; `None` if the backend has no endpoint.
    pub(crate) fn next(&mut self) -> Option<SocketAddr> {
        self.last = self.view.pick(self.choice, &self.asker, &mut self.tried);
        let backend = self.view.backend(self.choice.id);
        // Nobody else pays for looking at the clock.
        let is_timed = backend.is_some_and(|it| it.balancing.policy == Policy::Ewma);
        self.since = is_timed.then(Instant::now);
        self.last.map(|pick| pick.address)
    }

    /// A new connection was opened.
    pub(crate) fn connected(&self) {
        if let Some(pick) = self.last {
            self.view.connected(self.choice.id, pick.index);
        }
    }

    /// No connection was to be had: refused, unreachable, or not in time.
    pub(crate) fn refused(&self) {
        if let Some(pick) = self.last {
            self.view.refused(self.choice.id, pick.index, self.asker.now());
        }
    }

    /// The attempt ended with the head of an answer, or without one.
    pub(crate) fn ended(&self, answered: bool) {
        if let (Some(pick), Some(since)) = (self.last, self.since) {
            let now = self.asker.now();
            self.view.observe(self.choice.id, pick.index, since.elapsed(), answered, now);
        }
    }

    /// The client is to be told a session: it begins, or moves.
    pub(crate) fn begins_session(&self) -> bool {
        self.last.as_ref().is_some_and(|pick| pick.session.is_some())
    }

    /// What to add to the answer as `Set-Cookie`; see [`View::session_cookie`].
    pub(crate) fn session_cookie(
        &self,
        route: &Route,
        https: bool,
        user_agent: Option<&[u8]>,
        now: i64,
    ) -> Option<String> {
        let key = self.last.as_ref()?.session.as_ref()?;
        self.view.session_cookie(self.choice, key, route, https, user_agent, now)
    }
}
