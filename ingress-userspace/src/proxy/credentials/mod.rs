//! Whether the name and password that come with a request are right (reference section 8.2).
//! Passwords are compared without a clock telling how, and a name that is none costs what one that
//! is costs. What is expensive to compare is compared beside the worker's loop, one at a time for
//! each list of users, and remembered for a while.

mod basic;
mod digest;
mod nonce;
mod password;
mod remembered;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak},
    thread,
    time::Instant,
};

use aws_lc_rs::{hmac, rand};
use tokio::sync::Semaphore;

pub(super) use self::{basic::Basic, digest::Digest};
use self::{nonce::Nonces, remembered::Remembered};
use super::counters::Counters;
use crate::model::{HashedName, Password, Users};

/// How many requests of one list of users wait for a comparison, per worker, before others are
/// turned away.
const MOST_WAITING: usize = 64;

/// Lists of users that a worker remembers before it looks which of them are gone.
const MANY: usize = 64;

/// Whether a client is who it says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// It is.
    Right,
    /// It is not.
    Wrong,
    /// It is, but what proves it has been used up: it can prove it again at once.
    Stale,
    /// Too many ask at once.
    Busy,
}

/// What the workers of a process share. Looked at by requests that bring a password, and by no
/// others.
pub(super) struct Shared {
    /// Made when the process starts.
    key: hmac::Key,
    /// One for each comparison that may be under way: they keep processors busy.
    permits: Arc<Semaphore>,
    nonces: Nonces,
}

impl Shared {
    /// Fails where there is no randomness.
    pub(super) fn new() -> std::io::Result<Arc<Self>> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new());
        let key = key.map_err(|_no_more_is_known| std::io::Error::other("no randomness"))?;
        let processors = thread::available_parallelism().map_or(1, usize::from);
        // The other half is for those who are let in already.
        let permits = Arc::new(Semaphore::new((processors / 2).max(1)));
        Ok(Arc::new(Self { key, permits, nonces: Nonces::new(Instant::now()) }))
    }

    /// What these texts are known by in this process.
    fn mark(&self, texts: &[&[u8]]) -> Mark {
        let mut context = hmac::Context::with_key(&self.key);
        for text in texts {
            context.update(&text.len().to_le_bytes());
            context.update(text);
        }
        let mut mark = Mark::default();
        mark.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        mark
    }

    /// What stands for the user of a name that is none.
    fn stand_in<'u, P>(&self, users: &'u Users<P>, name: &[u8]) -> Option<&'u P> {
        let [a, b, c, d, e, f, g, h, ..] = self.mark(&[b"name", name]);
        users.stand_in(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// A keyed hash.
type Mark = [u8; 32];

/// What a worker knows of passwords.
pub(super) struct Credentials {
    shared: Arc<Shared>,
    /// By the address of the list, which the entry keeps from being used again.
    lists: RefCell<HashMap<*const Users<Password>, Rc<List>>>,
}

/// What a worker knows of a list of users.
struct List {
    users: Weak<Users<Password>>,
    remembered: RefCell<Remembered>,
    /// Whose turn it is to compare.
    turn: Arc<Semaphore>,
    waiting: Cell<usize>,
}

/// Counts a request as waiting.
struct Waiting<'l>(&'l List);

impl<'l> Waiting<'l> {
    fn new(list: &'l List) -> Option<Self> {
        let waiting = list.waiting.get();
        list.waiting.set(waiting + 1);
        let own = Self(list);
        (waiting < MOST_WAITING).then_some(own)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

impl Credentials {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, lists: RefCell::default() }
    }

    /// Whether this is the name and the password of one of the users.
    pub(super) async fn basic(
        &self,
        users: &Arc<Users<Password>>,
        own: &Basic,
        counters: &Counters,
    ) -> Identity {
        let (name, given) = (own.name(), own.password());
        let known = users.get(name);
        let Some(stored) = known.or_else(|| self.shared.stand_in(users, name)) else {
            return Identity::Wrong;
        };
        let text = match stored {
            Password::Plain(plain) => {
                // The marks have one length, and to know how far they agree helps nobody.
                let right = self.shared.mark(&[given]) == self.shared.mark(&[plain]);
                return identity(right && known.is_some());
            }
            Password::Sha1 { digest, salt } => {
                return identity(password::is_sha1(given, digest, salt) && known.is_some());
            }
            Password::Crypt { text, .. } => text,
        };
        if !password::may_be_crypted(given) {
            return Identity::Wrong;
        }
        let list = self.list(users);
        let mark = self.shared.mark(&[b"basic", name, given, text.as_bytes()]);
        let remembers = || list.remembered.borrow_mut().contains(&mark, Instant::now());
        if remembers() {
            return Identity::Right;
        }
        let Some(_waiting) = Waiting::new(&list) else {
            counters.password_turned_away();
            return Identity::Busy;
        };
        let Ok(turn) = Arc::clone(&list.turn).acquire_owned().await else { return Identity::Busy };
        // Whoever had the turn may have asked the same: browsers open six connections at once.
        if remembers() {
            return Identity::Right;
        }
        let permits = Arc::clone(&self.shared.permits);
        let Ok(permit) = permits.acquire_owned().await else { return Identity::Busy };
        counters.password_compared();
        let (stored, given) = (stored.clone(), given.to_vec());
        let compared = tokio::task::spawn_blocking(move || {
            let right = password::is_crypted(&given, &stored);
            // Both last as long as the comparison: a client that leaves ends its request, not this.
            drop(permit);
            (right, turn)
        });
        // Whoever is next looks at what is remembered: its turn comes after that.
        let Ok((right, _turn)) = compared.await else { return Identity::Wrong };
        let right = right && known.is_some();
        if right {
            list.remembered.borrow_mut().insert(mark, Instant::now());
        }
        identity(right)
    }

    /// Whether this proves the password of one of the users of this realm. `again`: this
    /// request has used up its proof already.
    pub(super) fn digest(
        &self,
        users: &Users<HashedName>,
        realm: &str,
        (method, target): (&str, &str),
        own: &Digest<'_>,
        again: bool,
    ) -> Identity {
        let (name, asked) = (own.name(), own.is_for(realm, target));
        let known = users.get(&name);
        let Some(stored) = known.or_else(|| self.shared.stand_in(users, &name)) else {
            return Identity::Wrong;
        };
        let right = own.proves(stored, method) && known.is_some() && asked;
        match right {
            // Only for those who know a password is anything written down.
            true if again || self.shared.nonces.take(&self.shared, own.nonce(), own.count()) => {
                Identity::Right
            }
            true => Identity::Stale,
            false => Identity::Wrong,
        }
    }

    /// A nonce for a client to prove a password with, at any worker of this process.
    pub(super) fn nonce(&self) -> String {
        self.shared.nonces.make(&self.shared)
    }

    fn list(&self, users: &Arc<Users<Password>>) -> Rc<List> {
        let mut lists = self.lists.borrow_mut();
        if let Some(list) = lists.get(&Arc::as_ptr(users)) {
            return Rc::clone(list);
        }
        if lists.len() >= MANY {
            lists.retain(|_, list| list.users.strong_count() > 0);
        }
        let list = Rc::new(List {
            users: Arc::downgrade(users),
            remembered: RefCell::default(),
            turn: Arc::new(Semaphore::new(1)),
            waiting: Cell::default(),
        });
        lists.insert(Arc::as_ptr(users), Rc::clone(&list));
        list
    }

    /// Forgets the users of Secrets that changed or are gone.
    pub(super) fn forget(&self) {
        self.lists.borrow_mut().retain(|_, list| list.users.strong_count() > 0);
    }
}

/// What follows the name of the scheme, which is lower case.
fn credentials_of<'h>(value: &'h [u8], scheme: &[u8]) -> Option<&'h [u8]> {
    let (own, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?.trim_ascii();
    own.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn identity(right: bool) -> Identity {
    if right { Identity::Right } else { Identity::Wrong }
}
