//! Which endpoint gets a request: round robin, by each worker for itself, from a place of its own
//! so that workers do not march in step.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc};

use http::HeaderValue;

use crate::{
    model::{Backend, BackendId},
    snapshot::Snapshot,
};

/// A worker's view of a snapshot: the snapshot, and whose turn it is at each backend.
pub(crate) struct View {
    pub(crate) snapshot: Arc<Snapshot>,
    /// The value of `Strict-Transport-Security` over TLS, if there is to be one.
    pub(crate) hsts: Option<HeaderValue>,
    turns: Vec<Cell<u32>>,
}

impl View {
    pub(crate) fn new(snapshot: Arc<Snapshot>, random: &mut fastrand::Rng) -> Rc<Self> {
        let turns = snapshot.model.backends.iter().map(|_| Cell::new(random.u32(..))).collect();
        let hsts = snapshot.model.settings.hsts.as_deref();
        let hsts = hsts.and_then(|text| HeaderValue::from_str(text).ok());
        Rc::new(Self { hsts, snapshot, turns })
    }

    pub(crate) fn backend(&self, id: BackendId) -> Option<&Arc<Backend>> {
        self.snapshot.model.backends.get(usize::try_from(id.0).ok()?)
    }

    /// The endpoint whose turn it is; `None` if the backend has none.
    pub(crate) fn next(&self, id: BackendId) -> Option<SocketAddr> {
        let place = usize::try_from(id.0).ok()?;
        let endpoints = &self.snapshot.model.backends.get(place)?.endpoints;
        let turn = self.turns.get(place)?;
        let index = usize::try_from(turn.get()).ok()?.checked_rem(endpoints.len())?;
        // Wraps at the end of the list, not of the number: all get the same share.
        turn.set(u32::try_from(index + 1).ok()?);
        endpoints.get(index).map(|endpoint| endpoint.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BackendKey, Endpoint, Model, PortRef};

    fn view(endpoints: u8) -> Rc<View> {
        let key = BackendKey {
            namespace: "web".into(),
            service: "shop".into(),
            port: PortRef::Number(80),
        };
        let endpoints = (1..=endpoints)
            .map(|last| Endpoint { address: ([10, 0, 0, last], 80).into(), pod: None })
            .collect();
        let model =
            Model { backends: vec![Arc::new(Backend { key, endpoints })], ..Model::default() };
        let snapshot = Snapshot { model: Arc::new(model), ..Snapshot::default() };
        View::new(Arc::new(snapshot), &mut fastrand::Rng::with_seed(7))
    }

    #[test]
    fn every_endpoint_has_its_turn() {
        let view = view(3);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..30 {
            let address = view.next(BackendId(0)).expect("it has endpoints");
            *counts.entry(address).or_insert(0) += 1;
        }
        assert_eq!(counts.into_values().collect::<Vec<_>>(), [10, 10, 10]);
    }

    #[test]
    fn a_backend_without_endpoints_has_no_next() {
        assert_eq!(view(0).next(BackendId(0)), None);
        assert_eq!(view(1).next(BackendId(9)), None);
    }
}
