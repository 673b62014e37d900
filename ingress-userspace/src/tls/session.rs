//! Sessions that can be resumed, remembered here (RFC 5077's other half; RFC 8446, section 4.6.1,
//! with tickets that are mere names). Shared by all workers: sharded, so that they rarely meet.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rustls::server::StoresServerSessions;

use super::class::Label;

/// A power of two, well above the number of workers.
const SHARDS: usize = 64;

/// The sessions of all classes.
#[derive(Debug)]
pub(super) struct Sessions {
    shards: [Mutex<Shard>; SHARDS],
    /// How many sessions a shard keeps at most.
    room: AtomicUsize,
    /// How long, in milliseconds.
    lifetime: AtomicU64,
}

/// Two generations: when the young one is half of the room, or as old as sessions may get, the old
/// one is forgotten in one piece.
#[derive(Default)]
struct Shard {
    young: HashMap<Vec<u8>, Session>,
    old: HashMap<Vec<u8>, Session>,
    turned: Option<Instant>,
}

struct Session {
    secrets: Vec<u8>,
    begun: Instant,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("sessions", &(self.young.len() + self.old.len())).finish()
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            room: AtomicUsize::new(0),
            lifetime: AtomicU64::new(0),
        }
    }
}

impl Sessions {
    /// How many sessions are remembered from now on, and for how long.
    pub(super) fn resize(&self, sessions: usize, lifetime: Duration) {
        self.room.store(sessions.div_ceil(SHARDS), Ordering::Relaxed);
        let lifetime = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        self.lifetime.store(lifetime, Ordering::Relaxed);
    }

    fn lifetime(&self) -> Duration {
        Duration::from_millis(self.lifetime.load(Ordering::Relaxed))
    }

    /// Works on the shard of a key.
    fn with<T>(&self, key: &[u8], work: impl FnOnce(&mut Shard) -> T) -> T {
        // Names of sessions are random: their last byte spreads them as well as a hash.
        let shard = key.last().map_or(0, |byte| usize::from(*byte) % SHARDS);
        work(&mut self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, key: Vec<u8>, secrets: Vec<u8>, now: Instant) {
        let (room, lifetime) = (self.room.load(Ordering::Relaxed), self.lifetime());
        // Freed after the lock.
        let _forgotten = self.with(&key.clone(), |shard| {
            let turned = *shard.turned.get_or_insert(now);
            let full = shard.young.len() >= room.div_ceil(2);
            let forgotten = if full || now.saturating_duration_since(turned) >= lifetime {
                shard.turned = Some(now);
                let young = std::mem::take(&mut shard.young);
                std::mem::replace(&mut shard.old, young)
            } else {
                HashMap::new()
            };
            shard.young.insert(key, Session { secrets, begun: now });
            forgotten
        });
    }

    fn take(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let session =
            self.with(key, |shard| shard.young.remove(key).or_else(|| shard.old.remove(key)))?;
        let alive = now.saturating_duration_since(session.begun) < self.lifetime();
        alive.then_some(session.secrets)
    }

    fn get(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let lifetime = self.lifetime();
        self.with(key, |shard| {
            let session = shard.young.get(key).or_else(|| shard.old.get(key))?;
            let alive = now.saturating_duration_since(session.begun) < lifetime;
            alive.then(|| session.secrets.clone())
        })
    }
}

/// The sessions of one class: those of another are as unknown as any.
#[derive(Debug)]
pub(super) struct ClassSessions {
    pub(super) all: Arc<Sessions>,
    pub(super) label: Label,
}

impl ClassSessions {
    fn key(&self, name: &[u8]) -> Vec<u8> {
        [self.label.as_bytes(), name].concat()
    }
}

impl StoresServerSessions for ClassSessions {
    fn put(&self, name: Vec<u8>, secrets: Vec<u8>) -> bool {
        self.all.put(self.key(&name), secrets, Instant::now());
        true
    }

    fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.all.get(&self.key(name), Instant::now())
    }

    fn take(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.all.take(&self.key(name), Instant::now())
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(10);

    fn sessions(room: usize) -> Sessions {
        let sessions = Sessions::default();
        sessions.resize(room, LIFETIME);
        sessions
    }

    fn key(number: u32) -> Vec<u8> {
        number.to_le_bytes().iter().rev().copied().collect()
    }

    #[test]
    fn a_session_is_forgotten_after_its_time() {
        let sessions = sessions(1000);
        let now = Instant::now();
        sessions.put(key(1), vec![1], now);
        sessions.put(key(2), vec![2], now);
        let last = now + LIFETIME - Duration::from_millis(1);
        assert_eq!(sessions.get(&key(1), last), Some(vec![1]));
        assert_eq!(sessions.take(&key(2), last), Some(vec![2]));
        assert_eq!(sessions.take(&key(2), last), None, "taken");
        assert_eq!(sessions.get(&key(1), now + LIFETIME), None);
        assert_eq!(sessions.take(&key(1), now + LIFETIME), None);
    }

    #[test]
    fn there_is_room_for_as_many_as_asked_for_and_the_newest_stay() {
        let sessions = sessions(64 * 10);
        let now = Instant::now();
        for number in 0..10_000 {
            sessions.put(key(number), vec![0; 10], now);
        }
        let kept = |shard: &Mutex<Shard>| {
            let shard = shard.lock().expect("nothing panicked");
            shard.young.len() + shard.old.len()
        };
        let all: usize = sessions.shards.iter().map(kept).sum();
        assert!(all <= 640, "{all}");
        assert!(sessions.get(&key(9_999), now).is_some());
        assert!(sessions.get(&key(0), now).is_none());
    }

    #[test]
    fn classes_do_not_know_each_other_s_sessions() {
        let all = Arc::new(sessions(1000));
        let class = |text: &str| ClassSessions {
            all: Arc::clone(&all),
            label: Label::of([text.as_bytes()]),
        };
        let (one, other) = (class("one"), class("other"));
        assert!(one.put(key(1), vec![1]));
        assert_eq!(other.get(&key(1)), None);
        assert_eq!(other.take(&key(1)), None);
        assert_eq!(one.get(&key(1)), Some(vec![1]));
    }
}
