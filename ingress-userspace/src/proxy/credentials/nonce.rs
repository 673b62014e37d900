use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::{constant_time::verify_slices_are_equal, rand};
use data_encoding::HEXLOWER;

use super::Shared;

/// How long a client has for its first proof, as in ingress-nginx's module: for its user to type a
/// password.
const FIRST: Duration = Duration::from_secs(60);

/// How long it has for more with the same nonce, likewise.
const MORE: Duration = Duration::from_secs(10);

/// How many it has, likewise. Each has a bit.
const COUNTS: u32 = 20;

/// How many nonces are known to be in use, half of them at least; a client beyond that has to begin
/// again, which costs it a request.
const MOST: usize = 1 << 16;

/// Nonces need no memory before they are used: when each was made stands in it, sealed with the
/// key of the process.
pub(super) struct Nonces {
    /// When the process began.
    start: Instant,
    /// The lock is held for two look-ups at most, and only after a password was proved.
    used: Mutex<Used>,
}

/// Nonces that were used, in two generations: the older is dropped as a whole, once all of it have
/// run out.
#[derive(Default)]
struct Used {
    young: HashMap<Id, Use>,
    old: HashMap<Id, Use>,
    /// When the young ones began, since the start.
    since: Duration,
}

struct Use {
    /// Since the start.
    first: Duration,
    /// The counts that came, the lowest bit for 1.
    counts: u32,
}

/// When it was made, in milliseconds since the start, and randomness.
type Id = [u8; 16];

impl Nonces {
    pub(super) fn new(start: Instant) -> Self {
        Self { start, used: Mutex::default() }
    }

    /// A nonce that no client has.
    pub(super) fn make(&self, shared: &Shared) -> String {
        let made = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut random = [0; 8];
        // Without randomness two clients may get the same, and each only half of its counts.
        let _none = rand::fill(&mut random);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&made.to_be_bytes());
        id[8..].copy_from_slice(&random);
        let seal = shared.mark(&[b"nonce", &id]);
        HEXLOWER.encode(&[&id, &seal[..16]].concat())
    }

    /// Takes the count for this nonce. False: it is not one of ours, it has run out, or the count
    /// was taken before.
    pub(super) fn take(&self, shared: &Shared, nonce: &[u8], count: u32) -> bool {
        let now = self.start.elapsed();
        let Some(id) = id(shared, nonce) else { return false };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.take(id, count, now)
    }
}

/// What the seal is on.
fn id(shared: &Shared, nonce: &[u8]) -> Option<Id> {
    let bytes: [u8; 32] = HEXLOWER.decode(nonce).ok()?.try_into().ok()?;
    let (id, seal) = bytes.split_first_chunk::<16>()?;
    let own = shared.mark(&[b"nonce", id]);
    verify_slices_are_equal(own.get(..16)?, seal).ok()?;
    Some(*id)
}

impl Used {
    fn take(&mut self, id: Id, count: u32, now: Duration) -> bool {
        let Some(bit) = count.checked_sub(1).filter(|place| *place < COUNTS) else { return false };
        let bit = 1 << bit;
        // What is old was first used before this generation began.
        if now.saturating_sub(self.since) >= FIRST + MORE {
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
        let known = match self.young.get_mut(&id) {
            Some(known) => Some(known),
            None => self.old.get_mut(&id),
        };
        if let Some(known) = known {
            let right = now.saturating_sub(known.first) <= MORE && known.counts & bit == 0;
            known.counts |= bit;
            return right;
        }
        let [a, b, c, d, e, f, g, h, ..] = id;
        let made = Duration::from_millis(u64::from_be_bytes([a, b, c, d, e, f, g, h]));
        if now.saturating_sub(made) > FIRST || self.young.len() >= MOST {
            return false;
        }
        self.young.insert(id, Use { first: now, counts: bit });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(made: Duration, own: u8) -> Id {
        let mut id = [own; 16];
        id[..8].copy_from_slice(&u64::try_from(made.as_millis()).expect("soon").to_be_bytes());
        id
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_count_is_taken_once() {
        let (mut used, id) = (Used::default(), id(SECOND, 1));
        assert!(used.take(id, 1, SECOND * 2));
        assert!(!used.take(id, 1, SECOND * 2));
        assert!(used.take(id, 3, SECOND * 2), "they may overtake each other");
        assert!(used.take(id, 2, SECOND * 2));
        assert!(used.take(id, COUNTS, SECOND * 2));
        for none in [0, COUNTS + 1, u32::MAX] {
            assert!(!used.take(id, none, SECOND * 2), "{none}");
        }
    }

    #[test]
    fn a_nonce_runs_out() {
        let mut used = Used::default();
        let late = id(SECOND, 1);
        assert!(!used.take(late, 1, SECOND + FIRST + SECOND));
        let in_time = id(SECOND, 2);
        assert!(used.take(in_time, 1, SECOND + FIRST));
        assert!(used.take(in_time, 2, SECOND + FIRST + MORE));
        assert!(!used.take(in_time, 3, SECOND + FIRST + MORE + SECOND));
    }

    #[test]
    fn what_is_forgotten_is_not_new() {
        let mut used = Used::default();
        let first = id(Duration::ZERO, 1);
        assert!(used.take(first, 1, SECOND));
        let mut now = SECOND;
        // However time passes, what was used is never taken again.
        for own in 2..200 {
            now += SECOND * 7;
            assert!(used.take(id(now, own), 1, now));
            assert!(!used.take(first, 1, now));
            assert!(!used.take(id(now, own), 1, now));
        }
        assert!(used.young.len() + used.old.len() < 30, "and it is forgotten");
    }

    #[test]
    fn only_so_many_are_known() {
        let mut used = Used::default();
        for number in 0..MOST {
            let mut id = id(SECOND, 0);
            id[8..].copy_from_slice(&number.to_be_bytes());
            assert!(used.take(id, 1, SECOND));
        }
        assert!(!used.take(id(SECOND, 0xFF), 1, SECOND));
        let later = SECOND + FIRST + MORE;
        assert!(used.take(id(later, 0xFF), 1, later));
    }

    #[test]
    fn a_nonce_is_sealed() {
        let shared = Shared::new().expect("randomness");
        let nonce = shared.nonces.make(&shared);
        assert_eq!(nonce.len(), 64);
        assert_ne!(nonce, shared.nonces.make(&shared));
        let other = Shared::new().expect("randomness");
        assert!(!other.nonces.take(&other, nonce.as_bytes(), 1), "that of another process");
        for place in [0, 20, 40, 63] {
            let mut changed = nonce.clone().into_bytes();
            changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
            assert!(!shared.nonces.take(&shared, &changed, 1), "{place}");
        }
        assert!(shared.nonces.take(&shared, nonce.as_bytes(), 1));
        assert!(!shared.nonces.take(&shared, nonce.as_bytes(), 1));
        assert!(!shared.nonces.take(&shared, b"", 1));
    }
}
