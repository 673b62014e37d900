//! The requests under way of each client in one zone, as NGINX's `limit_conn` counts them.

use std::num::NonZeroU32;

use hashbrown::{HashTable, hash_table::Entry};

/// The counts of one zone, or of a share of it.
#[derive(Debug)]
pub(super) struct Slots {
    counts: HashTable<Count>,
    /// As NGINX would count. Bytes.
    used: usize,
    size: usize,
}

#[derive(Debug)]
struct Count {
    hash: u64,
    key: Box<[u8]>,
    /// Above zero.
    requests: u32,
}

impl Slots {
    /// With room for so many bytes.
    pub(super) fn new(size: usize) -> Self {
        Self { counts: HashTable::new(), used: 0, size }
    }

    /// One more request of this client. False: it has as many as it may, or there is no room for
    /// another client.
    pub(super) fn take(&mut self, hash: u64, key: &[u8], most: NonZeroU32) -> bool {
        let is_it = |count: &Count| *count.key == *key;
        match self.counts.entry(hash, is_it, |count| count.hash) {
            Entry::Occupied(mut entry) => {
                let count = entry.get_mut();
                let free = count.requests < most.get();
                count.requests += u32::from(free);
                free
            }
            Entry::Vacant(entry) => {
                let cost = cost(key);
                let free = self.used + cost <= self.size;
                if free {
                    entry.insert(Count { hash, key: key.into(), requests: 1 });
                    self.used += cost;
                }
                free
            }
        }
    }

    /// Requests of this client under way.
    pub(super) fn of(&self, hash: u64, key: &[u8]) -> u32 {
        self.counts.find(hash, |count| *count.key == *key).map_or(0, |count| count.requests)
    }

    /// A request of this client has ended.
    pub(super) fn free(&mut self, hash: u64, key: &[u8]) {
        let Ok(mut entry) = self.counts.find_entry(hash, |count| *count.key == *key) else {
            return;
        };
        entry.get_mut().requests -= 1;
        if entry.get().requests == 0 {
            entry.remove();
            self.used -= cost(key);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }
}

/// What NGINX allocates for a client on a machine of 64 bits: 64 bytes for an address.
fn cost(key: &[u8]) -> usize {
    (36 + key.len()).next_power_of_two()
}
