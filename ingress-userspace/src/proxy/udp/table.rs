//! The sessions of a worker, in number bounded: when there are too many, the one that was silent
//! longest makes room.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use tokio::{net::UdpSocket, task::AbortHandle};

use crate::proxy::{access_log, deadline::Deadline};

/// Sessions of one worker, over all ports. Each is a socket and some hundred bytes.
const MOST: usize = 4096;

/// Which datagrams belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) port: u16,
    pub(super) client: SocketAddr,
    /// The address that the client sends to and expects answers from.
    pub(super) local: Option<IpAddr>,
}

/// A session's side towards its endpoint.
pub(super) struct Upstream {
    pub(super) socket: UdpSocket,
    pub(super) address: SocketAddr,
    /// Of the session, moved by every datagram either way.
    pub(super) deadline: Deadline,
    requests: Cell<u64>,
    answers: Cell<u64>,
    /// What is remembered for its line.
    pub(super) log: Option<access_log::Session>,
}

impl Upstream {
    pub(super) fn new(
        socket: UdpSocket,
        address: SocketAddr,
        deadline: Deadline,
        log: Option<access_log::Session>,
    ) -> Self {
        let (requests, answers) = (Cell::new(0), Cell::new(0));
        Self { socket, address, deadline, requests, answers, log }
    }

    /// A datagram went to the endpoint.
    pub(super) fn sent(&self, timeout: Duration) {
        self.requests.set(self.requests.get().saturating_add(1));
        self.deadline.set(timeout);
    }

    /// One came back; true if it is the last of those that are expected for each sent.
    pub(super) fn answered(&self, timeout: Duration, expected: u32) -> bool {
        self.answers.set(self.answers.get().saturating_add(1));
        self.deadline.set(timeout);
        self.answers.get() >= self.requests.get().saturating_mul(u64::from(expected))
    }
}

/// A session.
pub(super) struct Session {
    upstream: Rc<Upstream>,
    task: AbortHandle,
    /// Its place in the order of use.
    used: u64,
}

impl Session {
    pub(super) fn new(upstream: Rc<Upstream>, task: AbortHandle) -> Self {
        Self { upstream, task, used: 0 }
    }
}

/// The sessions of a worker.
#[derive(Default)]
pub(crate) struct Table {
    sessions: RefCell<HashMap<Key, Session>>,
    /// Longest unused first.
    order: RefCell<BTreeMap<u64, Key>>,
    clock: Cell<u64>,
    /// What datagrams are read into, one at a time.
    pub(super) scratch: RefCell<Vec<u8>>,
}

impl Table {
    /// The session is used now.
    pub(super) fn touch(&self, key: &Key) -> Option<Rc<Upstream>> {
        let mut sessions = self.sessions.borrow_mut();
        let session = sessions.get_mut(key)?;
        let mut order = self.order.borrow_mut();
        order.remove(&session.used);
        session.used = self.tick();
        order.insert(session.used, *key);
        Some(Rc::clone(&session.upstream))
    }

    /// A new session, used now. The one that was not used for longest ends if there are too many.
    pub(super) fn insert(&self, key: Key, mut session: Session) {
        while self.sessions.borrow().len() >= MOST {
            let oldest = self.order.borrow_mut().pop_first();
            let Some((_, oldest)) = oldest else { break };
            self.remove(&oldest, None);
        }
        session.used = self.tick();
        self.order.borrow_mut().insert(session.used, key);
        self.sessions.borrow_mut().insert(key, session);
    }

    /// Ends a session; with `of`, only if it is still that one.
    pub(super) fn remove(&self, key: &Key, of: Option<&Rc<Upstream>>) {
        let mut sessions = self.sessions.borrow_mut();
        let is_meant = |session: &Session| of.is_none_or(|of| Rc::ptr_eq(of, &session.upstream));
        if sessions.get(key).is_some_and(is_meant)
            && let Some(session) = sessions.remove(key)
        {
            self.order.borrow_mut().remove(&session.used);
            // Takes effect at its next turn, so that a task may end itself.
            session.task.abort();
        }
    }

    /// Ends all sessions.
    pub(crate) fn clear(&self) {
        let keys: Vec<Key> = self.sessions.borrow().keys().copied().collect();
        for key in keys {
            self.remove(&key, None);
        }
    }

    /// Ends the sessions of a port.
    pub(super) fn close(&self, port: u16) {
        let keys: Vec<Key> =
            self.sessions.borrow().keys().filter(|key| key.port == port).copied().collect();
        for key in keys {
            self.remove(&key, None);
        }
    }

    fn tick(&self) -> u64 {
        let now = self.clock.get().wrapping_add(1);
        self.clock.set(now);
        now
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::proxy::deadline::Deadlines;

    fn key(port: u16) -> Key {
        Key { port: 53, client: ([192, 0, 2, 1], port).into(), local: None }
    }

    #[test]
    fn the_session_unused_for_longest_makes_room() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        runtime.block_on(local.run_until(async {
            let deadlines = Deadlines::new(Instant::now());
            let table = Table::default();
            // One socket for all: the test is about the table.
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = socket.local_addr().unwrap();
            let upstream = Rc::new(Upstream::new(socket, address, deadlines.deadline(), None));
            let session = || {
                let task = tokio::task::spawn_local(std::future::pending::<()>());
                Session::new(Rc::clone(&upstream), task.abort_handle())
            };
            for port in 1..=u16::try_from(MOST).unwrap() {
                table.insert(key(port), session());
            }
            assert!(table.touch(&key(1)).is_some());
            table.insert(key(u16::MAX), session());
            assert_eq!(table.sessions.borrow().len(), MOST);
            assert_eq!(table.order.borrow().len(), MOST);
            assert!(table.touch(&key(1)).is_some(), "it was used");
            assert!(table.touch(&key(2)).is_none(), "it was not");
            table.close(53);
            assert_eq!((table.sessions.borrow().len(), table.order.borrow().len()), (0, 0));
        }));
    }
}
