//! The attempts of one request: what `upstream` asks for an endpoint and tells how it went.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Instant};

use super::{Asker, Choice, PeerState, Pick, Tried, View};
use crate::{
    model::{Backend, Policy, Route},
    proxy::upstream::Candidates,
};

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

    /// What is known of those that may be asked, and which of them the request is bound to.
    pub(crate) fn foretell(&self) -> (Vec<PeerState>, Option<SocketAddr>) {
        let bound = self.view.bound(self.choice, &self.asker);
        (self.view.look(self.choice.id, self.asker.now()), bound)
    }

    /// Whose endpoints are asked.
    pub(crate) fn backend(&self) -> Option<&'v Arc<Backend>> {
        self.view.backend(self.choice.id)
    }

    /// The endpoints are the addresses of one name: whichever takes a connection first is the one.
    pub(crate) fn are_one_name(&self) -> bool {
        let backend = self.view.backend(self.choice.id);
        backend.is_some_and(|backend| backend.is_name && backend.endpoints.len() > 1)
    }

    /// Of several that were asked at once, this is the one.
    pub(crate) fn settle(&mut self, address: SocketAddr) {
        if self.last.is_none_or(|pick| pick.address != address) {
            let index = self.view.index(self.choice.id, address);
            // A session was to begin with another one: it does with a later request.
            self.last = index.map(|index| Pick { index, address, session: None });
        }
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

    /// The head of the last one's answer came after this time. Microseconds.
    pub(crate) fn took(&self, micros: u64) {
        if let Some(pick) = self.last {
            self.view.took(self.choice.id, pick.index, micros);
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

/// The addresses of a name, each of which is an endpoint of its own to balancing.
impl<A: Asker> Candidates for Attempts<'_, A> {
    fn another(&mut self) -> Option<SocketAddr> {
        let now = self.asker.now();
        let last = self.last?.address;
        let pick = self.view.pick_beside(self.choice.id, last, &mut self.tried, now)?;
        // The next one after it is of the other family again.
        self.last = Some(pick);
        Some(pick.address)
    }

    fn lost(&mut self, address: SocketAddr) {
        if let Some(index) = self.view.index(self.choice.id, address) {
            self.view.refused(self.choice.id, index, self.asker.now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::{
        model::{Backend, BackendId, BackendKey, Endpoint, Model, PortRef, Variable},
        snapshot::Snapshot,
    };

    /// A request that nothing is asked of.
    struct Plain;

    impl Asker for Plain {
        fn variable(&self, _variable: &Variable, _take: &mut dyn FnMut(&[u8])) {}

        fn cookie(&self, _name: &str) -> Option<&[u8]> {
            None
        }

        fn now(&self) -> u64 {
            0
        }
    }

    #[test]
    fn addresses_of_a_name_take_turns_by_family_and_those_that_lost_come_last() {
        let four = |last| SocketAddr::from(([192, 0, 2, last], 80));
        let six = |last| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 80));
        let all = [four(1), four(2), six(1), six(2)];
        let key = BackendKey {
            namespace: "web".into(),
            service: "out".into(),
            port: PortRef::Number(80),
        };
        let endpoints = all.map(Endpoint::at).into();
        let backend = Backend { key, endpoints, is_name: true, balancing: Arc::default() };
        let model = Model { backends: vec![Arc::new(backend)], ..Model::default() };
        let snapshot = Arc::new(Snapshot { model: Arc::new(model), ..Snapshot::default() });
        let view = View::new(snapshot, &mut fastrand::Rng::with_seed(7));
        let choice = Choice { id: BackendId(0), affinity: None };

        let mut attempts = Attempts::new(&view, choice, Plain);
        assert!(attempts.are_one_name());
        let mut asked = vec![attempts.next().expect("there are some")];
        asked.extend(std::iter::from_fn(|| attempts.another()));
        assert_eq!(asked.iter().collect::<BTreeSet<_>>(), all.iter().collect(), "each once");
        let families: Vec<_> = asked.iter().map(SocketAddr::is_ipv4).collect();
        assert!(families.windows(2).all(|pair| pair[0] != pair[1]), "{asked:?}");

        attempts.lost(asked[0]);
        attempts.lost(asked[1]);
        attempts.settle(asked[2]);
        for _ in 0..4 {
            let mut attempts = Attempts::new(&view, choice, Plain);
            let mut order = vec![attempts.next().expect("there are some")];
            order.extend(std::iter::from_fn(|| attempts.another()));
            assert_eq!(order.len(), 4);
            let good: BTreeSet<_> = order[..2].iter().collect();
            assert_eq!(good, asked[2..].iter().collect(), "{order:?}");
        }
    }
}
