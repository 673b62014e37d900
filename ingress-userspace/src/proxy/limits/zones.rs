//! The zones of one Ingress, cut into shares with a lock each.

use std::{
    hash::{BuildHasher as _, RandomState},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    buckets::{Buckets, Refusal},
    slots::Slots,
};
use crate::model::{Limits, RequestRate};

/// ingress-nginx's: 40 960 addresses, or 81 920 of clients with requests under way. Bytes.
const SIZE: usize = 5 << 20;

/// How many locks an Ingress has.
const SHARES: usize = 16;

/// What one Ingress counts of its clients.
#[derive(Debug)]
pub(crate) struct Zones {
    shares: [Mutex<Share>; SHARES],
    hasher: RandomState,
}

/// What is counted of some of the clients.
#[derive(Debug)]
struct Share {
    per_second: Buckets,
    per_minute: Buckets,
    connections: Slots,
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// `limit-rps` or `limit-rpm`.
    Requests,
    /// `limit-connections`.
    Connections,
}

/// A request that counts as under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    zones: Arc<Zones>,
    hash: u64,
    key: Box<[u8]>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.zones.share(self.hash).connections.free(self.hash, &self.key);
    }
}

impl Default for Zones {
    fn default() -> Self {
        Self::with_size(SIZE)
    }
}

impl Zones {
    /// Each zone with so many bytes.
    pub(super) fn with_size(size: usize) -> Self {
        let share = |_| {
            let size = size / SHARES;
            let buckets = || Buckets::new(size);
            let connections = Slots::new(size);
            Mutex::new(Share { per_second: buckets(), per_minute: buckets(), connections })
        };
        Self { shares: std::array::from_fn(share), hasher: RandomState::new() }
    }

    /// Counts a request of this client: first by the rates, of which either both take it in or
    /// none, then as one that is under way.
    pub(crate) fn admit(
        self: &Arc<Self>,
        limits: &Limits,
        key: &[u8],
        now: u64,
    ) -> Result<Option<Slot>, Rejected> {
        let hash = self.hasher.hash_one(key);
        let mut share = self.share(hash);
        share.rates(limits, hash, key, now).map_err(|_full| Rejected::Requests)?;
        let Some(most) = limits.connections else { return Ok(None) };
        self.slot(share, hash, key, most).map(Some)
    }

    /// What [`Self::admit`] would say. Counts nothing.
    pub(crate) fn would_admit(
        &self,
        limits: &Limits,
        key: &[u8],
        now: u64,
    ) -> Result<(), Rejected> {
        let hash = self.hasher.hash_one(key);
        let share = self.share(hash);
        let fits = |buckets: &Buckets, rate: Option<RequestRate>| {
            rate.is_none_or(|rate| buckets.would_take(hash, key, rate, now))
        };
        if !(fits(&share.per_second, limits.per_second)
            && fits(&share.per_minute, limits.per_minute))
        {
            return Err(Rejected::Requests);
        }
        match limits.connections {
            Some(most) if share.connections.of(hash, key) >= most.get() => {
                Err(Rejected::Connections)
            }
            _ => Ok(()),
        }
    }

    fn slot(
        self: &Arc<Self>,
        mut share: MutexGuard<'_, Share>,
        hash: u64,
        key: &[u8],
        most: NonZeroU32,
    ) -> Result<Slot, Rejected> {
        if !share.connections.take(hash, key, most) {
            return Err(Rejected::Connections);
        }
        drop(share);
        Ok(Slot { zones: Arc::clone(self), hash, key: key.into() })
    }

    fn share(&self, hash: u64) -> MutexGuard<'_, Share> {
        // The tables within go by the other end of the hash.
        let place = usize::try_from(hash >> 32).unwrap_or_default() % SHARES;
        self.shares[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for share in &self.shares {
            let share = share.lock().unwrap_or_else(PoisonError::into_inner);
            counts[0] += share.per_second.len();
            counts[1] += share.per_minute.len();
            counts[2] += share.connections.len();
        }
        counts
    }
}

impl Share {
    fn rates(&mut self, limits: &Limits, hash: u64, key: &[u8], now: u64) -> Result<(), Refusal> {
        let look = |buckets: &mut Buckets, rate: Option<RequestRate>| {
            rate.map(|rate| buckets.look(hash, key, rate, now)).transpose()
        };
        let second = look(&mut self.per_second, limits.per_second)?;
        let minute = look(&mut self.per_minute, limits.per_minute)?;
        if let Some(fit) = second {
            self.per_second.fill(fit, now);
        }
        if let Some(fit) = minute {
            self.per_minute.fill(fit, now);
        }
        Ok(())
    }
}
