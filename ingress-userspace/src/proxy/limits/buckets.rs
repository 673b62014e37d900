//! The leaky buckets of one zone, with the arithmetic of NGINX's `limit_req`: thousandths of a
//! request and whole milliseconds, each rounding included. No clock and no lock of its own.

use hashbrown::HashTable;
use slab::Slab;

use crate::model::RequestRate;

/// A bucket is let go when it has not been used for so long and is empty. Milliseconds.
const IDLE: u64 = 60_000;

/// Nobody: the end of the list.
const NONE: usize = usize::MAX;

/// The buckets of one zone, or of a share of it.
#[derive(Debug)]
pub(super) struct Buckets {
    buckets: Slab<Bucket>,
    /// Places in `buckets`, by hash of the key.
    index: HashTable<usize>,
    newest: usize,
    oldest: usize,
    /// As NGINX would count. Bytes.
    used: usize,
    size: usize,
}

#[derive(Debug)]
struct Bucket {
    hash: u64,
    key: Box<[u8]>,
    /// What is in it. Thousandths of a request.
    excess: u64,
    /// When that was so. Milliseconds.
    last: u64,
    newer: usize,
    older: usize,
}

/// Why a request does not go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The bucket would overflow.
    Full,
    /// There is no room for another bucket.
    NoRoom,
}

/// A request that would go in; see [`Buckets::fill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    place: usize,
    excess: u64,
}

impl Buckets {
    /// With room for so many bytes.
    pub(super) fn new(size: usize) -> Self {
        Self {
            buckets: Slab::new(),
            index: HashTable::new(),
            newest: NONE,
            oldest: NONE,
            used: 0,
            size,
        }
    }

    /// Whether a request goes into the bucket of this key. A bucket that is looked at is the newest.
    pub(super) fn look(
        &mut self,
        hash: u64,
        key: &[u8],
        rate: RequestRate,
        now: u64,
    ) -> Result<Fit, Refusal> {
        let found = self
            .index
            .find(hash, |place| self.buckets.get(*place).is_some_and(|bucket| *bucket.key == *key));
        let Some(place) = found.copied() else { return self.add(hash, key, rate, now) };
        self.unlink(place);
        self.link(place);
        let bucket = self.buckets.get(place).ok_or(Refusal::NoRoom)?;
        let excess = (bucket.excess + 1000).saturating_sub(leaked(bucket, rate, now));
        if excess > rate.burst { Err(Refusal::Full) } else { Ok(Fit { place, excess }) }
    }

    /// Whether a request would go into the bucket of this key, as far as that goes by the bucket
    /// alone: who has none yet, may be told another thing when there is no room.
    pub(super) fn would_take(&self, hash: u64, key: &[u8], rate: RequestRate, now: u64) -> bool {
        let found = self
            .index
            .find(hash, |place| self.buckets.get(*place).is_some_and(|bucket| *bucket.key == *key));
        let bucket = found.and_then(|place| self.buckets.get(*place));
        bucket.is_none_or(|own| {
            (own.excess + 1000).saturating_sub(leaked(own, rate, now)) <= rate.burst
        })
    }

    /// Takes the request in that was just looked at; `now` is the same.
    pub(super) fn fill(&mut self, fit: Fit, now: u64) {
        if let Some(bucket) = self.buckets.get_mut(fit.place) {
            bucket.excess = fit.excess;
            // Another worker may have been here a moment later.
            bucket.last = bucket.last.max(now);
        }
    }

    /// The first request of a client costs nothing.
    fn add(&mut self, hash: u64, key: &[u8], rate: RequestRate, now: u64) -> Result<Fit, Refusal> {
        let cost = cost(key);
        self.expire(rate, now, false);
        if self.used + cost > self.size {
            self.expire(rate, now, true);
            if self.used + cost > self.size {
                return Err(Refusal::NoRoom);
            }
        }
        let place = self.buckets.insert(Bucket {
            hash,
            key: key.into(),
            excess: 0,
            last: 0,
            newer: NONE,
            older: NONE,
        });
        let buckets = &self.buckets;
        let of = |place: &usize| buckets.get(*place).map_or(0, |bucket| bucket.hash);
        self.index.insert_unique(hash, place, of);
        self.link(place);
        self.used += cost;
        Ok(Fit { place, excess: 0 })
    }

    /// Lets the oldest two go that are idle; before, if it is forced, the oldest as it is.
    fn expire(&mut self, rate: RequestRate, now: u64, forced: bool) {
        for step in usize::from(!forced)..3 {
            let Some(bucket) = self.buckets.get(self.oldest) else { return };
            let idle = now.saturating_sub(bucket.last) >= IDLE
                && bucket.excess <= leaked(bucket, rate, now);
            if step > 0 && !idle {
                return;
            }
            self.remove(self.oldest);
        }
    }

    fn remove(&mut self, place: usize) {
        self.unlink(place);
        let Some(bucket) = self.buckets.try_remove(place) else { return };
        if let Ok(entry) = self.index.find_entry(bucket.hash, |own| *own == place) {
            entry.remove();
        }
        self.used -= cost(&bucket.key);
    }

    fn link(&mut self, place: usize) {
        let before = std::mem::replace(&mut self.newest, place);
        if let Some(bucket) = self.buckets.get_mut(place) {
            (bucket.newer, bucket.older) = (NONE, before);
        }
        match self.buckets.get_mut(before) {
            Some(bucket) => bucket.newer = place,
            None => self.oldest = place,
        }
    }

    fn unlink(&mut self, place: usize) {
        let Some(bucket) = self.buckets.get(place) else { return };
        let (newer, older) = (bucket.newer, bucket.older);
        match self.buckets.get_mut(newer) {
            Some(bucket) => bucket.older = older,
            None => self.newest = older,
        }
        match self.buckets.get_mut(older) {
            Some(bucket) => bucket.newer = newer,
            None => self.oldest = newer,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }
}

/// What leaked out of a bucket since it was used last. Thousandths of a request.
fn leaked(bucket: &Bucket, rate: RequestRate, now: u64) -> u64 {
    // The clocks of workers are read before the lock is taken: `now` may be older.
    rate.rate.saturating_mul(now.saturating_sub(bucket.last)) / 1000
}

/// What NGINX allocates for a bucket on a machine of 64 bits: 128 bytes for an address.
fn cost(key: &[u8]) -> usize {
    (80 + key.len()).next_power_of_two()
}
