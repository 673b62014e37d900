//! What a worker knows of the names of servers: their addresses for as long as these count, and how
//! TLS is done with them.

use std::{cell::RefCell, collections::HashMap, net::IpAddr, rc::Rc, sync::Arc, time::Duration};

use crate::{
    model::UpstreamTls,
    resolve::{Asking, Unresolved},
};

/// Names that are kept. With a name beneath a wildcard in the URL, clients choose it.
const MOST: usize = 1024;

/// How long addresses count at least and at most, whatever the DNS says.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);
/// How long nothing is asked again after a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// How long an address that took no connection is asked after all others.
const LOST: Duration = Duration::from_secs(30);

pub(super) struct Lookups {
    asking: Asking,
    names: RefCell<HashMap<Rc<str>, Known>>,
    tls: RefCell<HashMap<Rc<str>, Arc<UpstreamTls>>>,
}

struct Known {
    /// `None`: it has none.
    addresses: Option<Rc<[IpAddr]>>,
    /// Worker's milliseconds.
    until: u64,
    /// Those that took no connection, or not in time, and until when that counts.
    lost: Vec<(IpAddr, u64)>,
}

impl Lookups {
    pub(super) fn new(asking: Asking) -> Self {
        Self { asking, names: RefCell::default(), tls: RefCell::default() }
    }

    /// The addresses of a name, `None` if there are none. While name servers do not answer, the last
    /// addresses stay. `now`: the worker's milliseconds.
    pub(super) async fn addresses(&self, name: &Rc<str>, now: u64) -> Option<Rc<[IpAddr]>> {
        let last = match self.names.borrow().get(name) {
            Some(known) if now < known.until => return known.addresses.clone(),
            known => known.and_then(|known| known.addresses.clone()),
        };
        let found = self.asking.addresses((&**name).into()).await;
        let (addresses, time) = match found {
            Ok(found) => (Some(found.addresses.into()), found.time.clamp(SHORTEST, LONGEST)),
            Err(why) => {
                tracing::warn!(name = &**name, %why, "an authentication server cannot be asked");
                (last.filter(|_| why == Unresolved::Failed), PAUSE)
            }
        };
        let until = now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let mut names = self.names.borrow_mut();
        if names.len() >= MOST && !names.contains_key(name) {
            names.retain(|_, known| now < known.until);
            if names.len() >= MOST {
                names.clear();
            }
        }
        let lost = names.remove(name).map(|known| known.lost).unwrap_or_default();
        names.insert(Rc::clone(name), Known { addresses: addresses.clone(), until, lost });
        addresses
    }

    /// This address of the name took no connection.
    pub(super) fn lost(&self, name: &Rc<str>, address: IpAddr, now: u64) {
        if let Some(known) = self.names.borrow_mut().get_mut(name) {
            known.lost.retain(|(other, until)| *other != address && now < *until);
            known.lost.push((address, now + LOST.as_millis() as u64));
        }
    }

    /// It did so lately.
    pub(super) fn has_lost(&self, name: &Rc<str>, address: IpAddr, now: u64) -> bool {
        let names = self.names.borrow();
        let lost = names.get(name).map(|known| &*known.lost).unwrap_or_default();
        lost.iter().any(|(own, until)| *own == address && now < *until)
    }

    /// TLS to a server of this name: the name is sent, no certificate is checked, as by
    /// ingress-nginx. Always the same for one name, so that connections and sessions are kept.
    pub(super) fn tls(&self, name: &Rc<str>) -> Arc<UpstreamTls> {
        let mut all = self.tls.borrow_mut();
        if let Some(known) = all.get(name) {
            return Arc::clone(known);
        }
        if all.len() >= MOST {
            all.clear();
        }
        let own = name.strip_suffix('.').unwrap_or(name);
        let policy =
            UpstreamTls { name: Some(own.into()), send_name: true, ..UpstreamTls::default() };
        let policy = Arc::new(policy);
        all.insert(Rc::clone(name), Arc::clone(&policy));
        policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that never answers: its resolver has ended.
    fn deserted() -> Lookups {
        let (_wanted, asking, _told) = crate::resolve::channel();
        Lookups::new(asking)
    }

    #[tokio::test]
    async fn last_addresses_stay_while_no_name_server_answers() {
        let lookups = deserted();
        let name = Rc::from("auth.example.com");
        assert_eq!(lookups.addresses(&name, 0).await, None);
        let addresses: Rc<[IpAddr]> = Rc::new([IpAddr::from([192, 0, 2, 1])]);
        let known = Known { addresses: Some(Rc::clone(&addresses)), until: 10, lost: Vec::new() };
        lookups.names.borrow_mut().insert(Rc::clone(&name), known);
        assert_eq!(lookups.addresses(&name, 9).await.as_deref(), Some(&*addresses));
        assert_eq!(lookups.addresses(&name, 11).await.as_deref(), Some(&*addresses));
        assert_eq!(lookups.names.borrow()[&name].until, 2011);
    }

    #[tokio::test]
    async fn who_took_no_connection_is_remembered_for_a_while() {
        let lookups = deserted();
        let name = Rc::from("auth.example.com");
        let [one, two] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        lookups.lost(&name, one, 0);
        assert!(!lookups.has_lost(&name, one, 0), "nobody knows the name");
        assert_eq!(lookups.addresses(&name, 0).await, None);
        lookups.lost(&name, one, 5);
        // Looking the name up again changes nothing.
        assert_eq!(lookups.addresses(&name, 3000).await, None);
        assert!(lookups.has_lost(&name, one, 30_004) && !lookups.has_lost(&name, two, 30_004));
        assert!(!lookups.has_lost(&name, one, 30_005));
        lookups.lost(&name, two, 40_000);
        assert_eq!(lookups.names.borrow()[&name].lost, [(two, 70_000)]);
    }

    #[tokio::test]
    async fn names_that_clients_make_up_take_little_room() {
        let lookups = deserted();
        for number in 0..3 * MOST {
            let name = Rc::from(format!("{number}.example.com"));
            assert_eq!(lookups.addresses(&name, 0).await, None);
            lookups.tls(&name);
            assert!(lookups.names.borrow().len() <= MOST);
            assert!(lookups.tls.borrow().len() <= MOST);
        }
    }

    #[test]
    fn one_name_has_one_policy() {
        let lookups = deserted();
        let (one, two) = (Rc::from("a.example.com"), Rc::from("b.example.com."));
        assert!(Arc::ptr_eq(&lookups.tls(&one), &lookups.tls(&one)));
        assert_eq!(lookups.tls(&two).name.as_deref(), Some("b.example.com"));
    }
}
