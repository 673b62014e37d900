//! Memory for bodies that are held before anything of them goes on: what the firewall judges, and
//! what an application must know the length of. It is one for all workers, and nobody gets all of
//! it: not one client, and not the requests of one Ingress.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use crate::model::ObjectRef;

/// All of it. Bytes.
const MOST: usize = 256 << 20;
/// What requests of one Ingress may hold. Bytes.
const OF_INGRESS: usize = MOST / 2;
/// What requests of one client may hold: one body of the largest size, and the beginning of another.
/// Bytes.
const OF_CLIENT: usize = 72 << 20;

/// Who asks, where something is shared out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asking {
    pub(super) ingress: ObjectRef,
    /// An address, or the /64 of IPv6 that a client picks its addresses from.
    pub(super) client: IpAddr,
}

impl Asking {
    pub(super) fn new(ingress: &ObjectRef, client: IpAddr) -> Self {
        let client = match client.to_canonical() {
            IpAddr::V4(own) => IpAddr::V4(own),
            IpAddr::V6(own) => {
                let prefix = u128::from(own) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(prefix))
            }
        };
        Self { ingress: ingress.clone(), client }
    }
}

/// The memory of all workers.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Ledger>);

/// What is held. Whoever holds nothing has no entry.
#[derive(Debug, Default)]
struct Ledger {
    all: usize,
    ingresses: HashMap<ObjectRef, usize>,
    clients: HashMap<IpAddr, usize>,
}

impl Memory {
    /// Nothing of it yet.
    pub(super) fn hold(self: &Arc<Self>, asking: Asking) -> Held {
        Held { memory: Arc::clone(self), asking, bytes: 0 }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What of it one request has.
#[derive(Debug)]
pub(super) struct Held {
    memory: Arc<Memory>,
    asking: Asking,
    bytes: usize,
}

impl Held {
    /// Takes so much more. False: there is no more, for this client, this Ingress or anyone; then
    /// nothing was taken.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let Asking { ingress, client } = &self.asking;
        let taken = self.memory.with(|own| {
            let has = |of: Option<&usize>, most: usize| of.copied().unwrap_or(0) + bytes <= most;
            let room = own.all + bytes <= MOST
                && has(own.ingresses.get(ingress), OF_INGRESS)
                && has(own.clients.get(client), OF_CLIENT);
            if room && bytes > 0 {
                own.all += bytes;
                *own.ingresses.entry(ingress.clone()).or_default() += bytes;
                *own.clients.entry(*client).or_default() += bytes;
            }
            room
        });
        if taken {
            self.bytes += bytes;
        }
        taken
    }
}

#[cfg(test)]
impl Held {
    /// What it has. Bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        self.memory.with(|own| {
            own.all = own.all.saturating_sub(self.bytes);
            give_back(&mut own.ingresses, &self.asking.ingress, self.bytes);
            give_back(&mut own.clients, &self.asking.client, self.bytes);
        });
    }
}

fn give_back<K: Hash + Eq>(all: &mut HashMap<K, usize>, key: &K, bytes: usize) {
    if let Some(own) = all.get_mut(key) {
        *own = own.saturating_sub(bytes);
        if *own == 0 {
            all.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(ingress: &str, client: &str) -> Asking {
        let ingress = ObjectRef::new("Ingress", "web", ingress);
        Asking::new(&ingress, client.parse().expect("an address"))
    }

    #[test]
    fn nobody_gets_all_of_it() {
        let memory = Arc::<Memory>::default();
        let hold = |ingress, client| memory.hold(asking(ingress, client));
        let mut one = hold("a", "192.0.2.1");
        assert!(one.grow(OF_CLIENT) && !one.grow(1), "of a client");
        assert!(!hold("b", "192.0.2.1").grow(1), "elsewhere too");
        let mut two = hold("a", "192.0.2.2");
        assert!(two.grow(OF_INGRESS - OF_CLIENT) && !two.grow(1), "of an Ingress");
        assert!(!hold("a", "192.0.2.3").grow(1));
        let mut three = hold("b", "192.0.2.3");
        assert!(three.grow(OF_CLIENT));
        let mut four = hold("c", "192.0.2.4");
        assert!(four.grow(MOST - OF_INGRESS - OF_CLIENT) && !four.grow(1), "of all");
        drop((one, two, three, four));
        memory.with(|own| {
            assert_eq!(own.all, 0);
            assert!(own.ingresses.is_empty() && own.clients.is_empty(), "nothing is left behind");
        });
        assert!(hold("a", "192.0.2.1").grow(OF_CLIENT));
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let client = |text| asking("a", text).client;
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
    }
}
