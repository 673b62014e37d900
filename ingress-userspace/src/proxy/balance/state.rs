//! What a worker knows of one backend, and the policies.

use std::{
    cell::{Cell, OnceCell},
    net::SocketAddr,
    num::NonZeroU16,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use super::{
    Asker, Key, Pick, Tried,
    hash::{self, Hasher},
    peer::{Peer, PeerState},
    session::{self, Digest},
};
use crate::model::{Affinity, AffinityMode, Backend, Piece, Policy, Text};

/// How many keys a new session of mode `balanced` tries for one that leads to a good endpoint
/// (ingress-nginx's).
const KEYS: usize = 20;

pub(super) struct State {
    backend: Arc<Backend>,
    /// In the order of the backend's endpoints.
    peers: Box<[Rc<Peer>]>,
    /// The weights differ.
    uneven: bool,
    /// Whose turn it is.
    turn: Cell<usize>,
    /// Some endpoint may have refused lately; shared by all states of the backend, as peers are.
    suspicion: Rc<Cell<bool>>,
    /// `namespace-service-port`, by which clients' cookies know it.
    name: OnceCell<Box<str>>,
    /// What the cookies of its sessions say of it.
    mark: OnceCell<Digest>,
    /// The keys of sessions of mode `persistent`, sorted, and whose they are.
    keys: OnceCell<Box<[(Digest, u32)]>>,
}

/// Which endpoints can be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Among {
    /// All.
    All,
    /// Those that are neither tried nor passed over for their refusals.
    Good,
    /// Those that are not tried: all others refuse.
    Untried,
}

/// What a pick depends on.
struct Circumstances<'a> {
    among: Among,
    tried: &'a Tried,
    now: u64,
}

impl State {
    pub(super) fn new(backend: &Arc<Backend>, random: &mut fastrand::Rng) -> Self {
        let peers = backend.endpoints.iter().map(|endpoint| Rc::new(Peer::new(endpoint.address)));
        let state = Self::of(backend, peers.collect(), Rc::default());
        if state.uneven {
            for _ in 0..random.usize(..64) {
                state.weighted(&Circumstances {
                    among: Among::All,
                    tried: &Tried::default(),
                    now: 0,
                });
            }
        } else if !state.peers.is_empty() {
            state.turn.set(random.usize(..state.peers.len()));
        }
        state
    }

    fn of(backend: &Arc<Backend>, peers: Box<[Rc<Peer>]>, suspicion: Rc<Cell<bool>>) -> Self {
        let endpoints = &backend.endpoints;
        let first = endpoints.first().map(|endpoint| endpoint.weight);
        Self {
            uneven: endpoints.iter().any(|endpoint| Some(endpoint.weight) != first),
            backend: Arc::clone(backend),
            peers,
            turn: Cell::new(0),
            suspicion,
            name: OnceCell::new(),
            mark: OnceCell::new(),
            keys: OnceCell::new(),
        }
    }

    /// The state after a change of the backend: of the endpoints that stay, all that is known stays.
    pub(super) fn next(&self, backend: &Arc<Backend>, random: &mut fastrand::Rng) -> Self {
        if self.peers.is_empty() {
            return Self::new(backend, random);
        }
        let peer = |address: SocketAddr| match self.place(address) {
            Ok(place) => Rc::clone(&self.peers[place]),
            Err(_) => {
                let peer = Peer::new(address);
                peer.begin_like(self.peers.iter().map(|peer| &**peer));
                Rc::new(peer)
            }
        };
        let peers = backend.endpoints.iter().map(|endpoint| peer(endpoint.address)).collect();
        let next = Self::of(backend, peers, Rc::clone(&self.suspicion));
        // Who was next is, or who comes after it.
        if let Some(due) = self.peers.get(self.turn.get()) {
            let (Ok(place) | Err(place)) = next.place(due.address);
            next.turn.set(place.checked_rem(next.peers.len()).unwrap_or(0));
        }
        next
    }

    fn place(&self, address: SocketAddr) -> Result<usize, usize> {
        self.peers.binary_search_by(|peer| peer.address.cmp(&address))
    }

    pub(super) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    pub(super) fn name(&self) -> &str {
        self.name.get_or_init(|| self.backend.key.to_string().into())
    }

    pub(super) fn mark(&self) -> &[u8] {
        self.mark.get_or_init(|| session::mark(self.name()))
    }

    fn peer(&self, index: u32) -> Option<&Peer> {
        self.peers.get(usize::try_from(index).ok()?).map(|peer| &**peer)
    }

    pub(super) fn connected(&self, index: u32) {
        if let Some(peer) = self.peer(index).filter(|peer| peer.is_suspect()) {
            peer.connected();
        }
    }

    pub(super) fn refused(&self, index: u32, now: u64) {
        if let Some(peer) = self.peer(index) {
            peer.refused(now);
            self.suspicion.set(true);
        }
    }

    pub(super) fn took(&self, index: u32, micros: u64) {
        if let Some(peer) = self.peer(index) {
            peer.took(micros);
        }
    }

    pub(super) fn observe(&self, index: u32, took: Duration, answered: bool, now: u64) {
        if self.backend.balancing.policy == Policy::Ewma
            && let Some(peer) = self.peer(index)
        {
            peer.observe(took, answered, now);
        }
    }

    /// What is known of the endpoints.
    pub(super) fn look(&self, now: u64) -> Vec<PeerState> {
        self.peers.iter().map(|peer| peer.look(now)).collect()
    }

    /// The endpoint that a request is bound to, by a session or by what is hashed; `None`: any.
    /// Changes nothing.
    pub(super) fn bound(
        &self,
        affinity: Option<&Affinity>,
        asker: &impl Asker,
    ) -> Option<SocketAddr> {
        let (tried, now) = (Tried::default(), asker.now());
        let when = Circumstances { among: self.among(&tried, now), tried: &tried, now };
        let index = match (affinity, &self.backend.balancing.policy) {
            (Some(affinity), _) => self.known_session(affinity, asker, &when)?,
            (None, Policy::Hash(by)) if by.subset.is_none() => {
                self.drawn(text(&by.text, asker), &when)
            }
            (None, _) => return None,
        };
        self.peers.get(index).map(|peer| peer.address)
    }

    pub(super) fn pick(
        &self,
        affinity: Option<&Affinity>,
        asker: &impl Asker,
        tried: &Tried,
        random: &mut fastrand::Rng,
    ) -> Option<Pick> {
        if self.peers.is_empty() {
            return None;
        }
        let now = asker.now();
        let among = self.among(tried, now);
        let when = Circumstances { among, tried, now };
        let (index, session) = match (affinity, &self.backend.balancing.policy) {
            (Some(affinity), _) => self.of_session(affinity, asker, &when, random),
            (None, Policy::RoundRobin) if self.uneven => (self.weighted(&when), None),
            (None, Policy::RoundRobin) => (self.in_turn(&when), None),
            (None, Policy::Ewma) => (self.faster(&when, random), None),
            (None, Policy::Hash(by)) => {
                let text = text(&by.text, asker);
                let index = match by.subset {
                    Some(size) => self.of_group(text, size, &when, random),
                    None => self.drawn(text, &when),
                };
                (index, None)
            }
        };
        let peer = self.peers.get(index)?;
        peer.claim(now);
        Some(Pick { index: u32::try_from(index).ok()?, address: peer.address, session })
    }

    /// Another endpoint, to be asked beside the one at `last`: rather one that does not refuse, rather
    /// one of the other family (RFC 8305, section 4). `None`: all that count are tried.
    pub(super) fn beside(&self, last: SocketAddr, tried: &Tried, now: u64) -> Option<Pick> {
        if tried.is_full() {
            return None;
        }
        let untried = self.peers.iter().enumerate().filter(|(index, _)| !tried.contains(*index));
        let (index, peer) = untried.min_by_key(|(_, peer)| {
            (!peer.is_due(now), peer.address.is_ipv4() == last.is_ipv4())
        })?;
        peer.claim(now);
        let index = u32::try_from(index).ok()?;
        Some(Pick { index, address: peer.address, session: None })
    }

    /// The place of the endpoint at this address.
    pub(super) fn index(&self, address: SocketAddr) -> Option<u32> {
        u32::try_from(self.place(address).ok()?).ok()
    }

    /// One look at two values where all is well.
    fn among(&self, tried: &Tried, now: u64) -> Among {
        if !self.suspicion.get() && tried.is_empty() {
            return Among::All;
        }
        let mut suspicion = false;
        let mut best = Among::All;
        for (index, peer) in self.peers.iter().enumerate() {
            suspicion |= peer.is_suspect();
            if !tried.contains(index) && self.weight(index) > 0 {
                if peer.is_due(now) {
                    best = Among::Good;
                } else if best == Among::All {
                    best = Among::Untried;
                }
            }
        }
        self.suspicion.set(suspicion);
        best
    }

    /// Its share; 1 for all where all are alike.
    fn weight(&self, index: usize) -> u16 {
        match self.uneven {
            true => self.backend.endpoints.get(index).map_or(0, |endpoint| endpoint.weight),
            false => 1,
        }
    }

    fn allows(&self, index: usize, when: &Circumstances<'_>) -> bool {
        let peer_allows = || match when.among {
            Among::All => true,
            Among::Untried => !when.tried.contains(index),
            Among::Good => {
                let is_due = self.peers.get(index).is_some_and(|peer| peer.is_due(when.now));
                is_due && !when.tried.contains(index)
            }
        };
        self.weight(index) > 0 && peer_allows()
    }

    /// Round robin among equals.
    fn in_turn(&self, when: &Circumstances<'_>) -> usize {
        let count = self.peers.len();
        let mut index = self.turn.get();
        for _ in 0..count {
            if index >= count {
                index = 0;
            }
            if when.among == Among::All || self.allows(index, when) {
                break;
            }
            index += 1;
        }
        // Wraps at the end of the list, not of the number: all get the same share.
        self.turn.set(if index + 1 >= count { 0 } else { index + 1 });
        index
    }

    /// Smooth weighted round robin, as NGINX does it: in any stretch of turns each endpoint has had
    /// its share as nearly as whole turns allow.
    fn weighted(&self, when: &Circumstances<'_>) -> usize {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, peer) in self.peers.iter().enumerate() {
            if self.allows(index, when) {
                let weight = i64::from(self.weight(index));
                let credit = peer.credit.get() + weight;
                peer.credit.set(credit);
                total += weight;
                if best.is_none_or(|(_, most)| credit > most) {
                    best = Some((index, credit));
                }
            }
        }
        let (index, credit) = best.unwrap_or_default();
        if let Some(peer) = self.peers.get(index) {
            peer.credit.set(credit - total);
        }
        index
    }

    /// Of two random endpoints the one with the lower pace.
    fn faster(&self, when: &Circumstances<'_>, random: &mut fastrand::Rng) -> usize {
        let one = self.any(None, when, random);
        let two = self.any(Some(one), when, random);
        let pace = |index: usize| {
            let pace = self.peers.get(index).map_or(0.0, |peer| peer.pace(when.now));
            pace / f64::from(self.weight(index).max(1))
        };
        if pace(two) < pace(one) { two } else { one }
    }

    /// A random endpoint; another than `but` if there is one.
    fn any(
        &self,
        but: Option<usize>,
        when: &Circumstances<'_>,
        random: &mut fastrand::Rng,
    ) -> usize {
        let count = self.peers.len();
        if when.among == Among::All && !self.uneven {
            return match but {
                None => random.usize(..count),
                Some(but) if count > 1 => (but + random.usize(1..count)) % count,
                Some(but) => but,
            };
        }
        let good = |index: &usize| self.allows(*index, when) && Some(*index) != but;
        match (0..count).filter(good).count() {
            0 => but.unwrap_or(0),
            several => (0..count).filter(good).nth(random.usize(..several)).unwrap_or(0),
        }
    }

    /// The endpoint that a text is drawn to the most.
    fn drawn(&self, text: u64, when: &Circumstances<'_>) -> usize {
        let good = |index: &usize| self.allows(*index, when);
        let all = 0..self.peers.len();
        let drawn = match (self.uneven, when.among) {
            (false, Among::All) => {
                let peers = self.peers.iter().enumerate();
                peers.max_by_key(|(_, peer)| hash::attraction(text, peer.hash)).map(|(at, _)| at)
            }
            (false, _) => {
                all.filter(good).max_by_key(|index| hash::attraction(text, self.peers[*index].hash))
            }
            (true, _) => {
                let attraction = |index: &usize| {
                    let peer = &self.peers[*index];
                    hash::weighted_attraction(text, peer.hash, self.weight(*index))
                };
                all.filter(good).max_by(|one, two| attraction(one).total_cmp(&attraction(two)))
            }
        };
        drawn.unwrap_or(0)
    }

    /// A random one of the group of `size` endpoints that a text is drawn to. Groups follow each
    /// other in the list, the last filled up from its start.
    fn of_group(
        &self,
        text: u64,
        size: NonZeroU16,
        when: &Circumstances<'_>,
        random: &mut fastrand::Rng,
    ) -> usize {
        let count = self.peers.len();
        let size = usize::from(size.get()).min(count);
        let members = |group: usize| (0..size).map(move |place| (group * size + place) % count);
        let good = |index: &usize| self.allows(*index, when);
        let attraction = |group: &usize| {
            hash::attraction(text, hash::mix(u64::try_from(*group).unwrap_or(0) + 1))
        };
        let group = (0..count.div_ceil(size))
            .filter(|group| members(*group).any(|index| good(&index)))
            .max_by_key(attraction)
            .unwrap_or(0);
        let several = members(group).filter(good).count().max(1);
        members(group).filter(good).nth(random.usize(..several)).unwrap_or(0)
    }

    /// The endpoint of the request's session, if it has one that may stay there.
    fn known_session(
        &self,
        affinity: &Affinity,
        asker: &impl Asker,
        when: &Circumstances<'_>,
    ) -> Option<usize> {
        let everything = Circumstances { among: Among::All, ..*when };
        let key = asker.cookie(&affinity.cookie.name).map(session::key_of_cookie);
        let known = key.filter(|key| !key.is_empty()).and_then(|key| match affinity.mode {
            AffinityMode::Balanced => Some(self.drawn(hash::of(key), &everything)),
            AffinityMode::Persistent => self.of_key(key),
        });
        let moves = |index: usize| {
            affinity.cookie.change_on_failure
                && when.among != Among::All
                && !self.allows(index, when)
        };
        known.filter(|index| !moves(*index))
    }

    /// The endpoint of the request's session, or that of a new one.
    fn of_session(
        &self,
        affinity: &Affinity,
        asker: &impl Asker,
        when: &Circumstances<'_>,
        random: &mut fastrand::Rng,
    ) -> (usize, Option<Key>) {
        if let Some(index) = self.known_session(affinity, asker, when) {
            return (index, None);
        }
        let everything = Circumstances { among: Among::All, ..*when };
        match affinity.mode {
            AffinityMode::Persistent => {
                let index = self.any(None, when, random);
                let key =
                    self.peers.get(index).map(|peer| Key::of_endpoint(self.name(), peer.address));
                (index, key)
            }
            AffinityMode::Balanced => {
                let mut last = (0, None);
                for _ in 0..KEYS {
                    let key = Key::random(random);
                    let index = self.drawn(hash::of(key.as_bytes()), &everything);
                    last = (index, Some(key));
                    if self.allows(index, when) {
                        break;
                    }
                }
                last
            }
        }
    }

    /// The endpoint that a persistent session's key stands for.
    fn of_key(&self, key: &[u8]) -> Option<usize> {
        let keys = self.keys.get_or_init(|| {
            let keys = self.peers.iter().zip(0..);
            let mut keys: Vec<_> = keys
                .map(|(peer, index)| {
                    (session::digest_of_endpoint(self.name(), peer.address), index)
                })
                .collect();
            keys.sort_unstable();
            keys.into()
        });
        let place = keys.binary_search_by(|(digest, _)| digest.as_slice().cmp(key)).ok()?;
        usize::try_from(keys.get(place)?.1).ok()
    }
}

/// The hash of what a request has for a text with variables.
fn text(text: &Text, asker: &impl Asker) -> u64 {
    let mut hasher = Hasher::new();
    for piece in &text.pieces {
        match piece {
            Piece::Text(text) => hasher.write(text.as_bytes()),
            Piece::Variable(variable) => {
                asker.variable(variable, &mut |bytes| hasher.write(bytes));
            }
        }
    }
    hasher.finish()
}
