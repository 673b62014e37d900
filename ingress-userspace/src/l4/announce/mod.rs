//! Announcing virtual addresses on a link that nodes share with clients or their router: one node
//! answers ARP and neighbour solicitations for an address, and says so when it begins to.
//!
//! Who that is needs no agreement. Each node works it out from the members and what it sees of their
//! health ([`elect`]), the same as it does for the rows of the table. While two nodes see different
//! things an address may have two announcers, or none that answers: the former does no harm, for
//! whichever node a packet comes to steers it to its owner, and the latter ends with the probe that
//! tells.
//!
//! Whether a node is able to announce is not part of that: nobody asks it. One whose interface cannot
//! be used ([`Troubles`]) or is not steered, or that could not add the address to its loopback
//! interface, is chosen all the same while it is well otherwise, and nobody answers for the address
//! then. It says so, and people have to see to it.
//!
//! ```text
//! elect                     members and their health → who announces which address (pure)
//! arp, discovery            what is asked, and what is said (pure)
//! trouble                   where nothing can be announced, and why
//! link                      the sockets of one interface
//! ```

mod arp;
mod discovery;
mod elect;
mod link;
mod trouble;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use tokio::sync::watch;

pub(super) use elect::announcer;
use link::{Ended, Link};
use trouble::Troubles;

/// What this node announces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Announced {
    /// The addresses.
    addresses: BTreeSet<IpAddr>,
    /// The interfaces that are steered, with the number of each.
    steered: BTreeMap<String, u32>,
    /// Another number whenever a node has changed: each says again then what is its own. Who took an
    /// address over while this node was out of sight, and then dies, would leave it to nobody else.
    round: u64,
}

impl Announced {
    /// What is announced on this interface: nothing without its program, for the node would be sent
    /// packets that it does not steer, nor in the name of another that has its name now.
    fn on(&self, interface: &str, index: u32) -> BTreeSet<IpAddr> {
        match self.steered.get(interface) {
            Some(steered) if *steered == index => self.addresses.clone(),
            _ => BTreeSet::new(),
        }
    }
}

/// Before an interface that did not work is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The announcement at work, until it is dropped.
pub(super) struct Announcing {
    announced: watch::Sender<Announced>,
    troubles: Troubles,
}

impl Announcing {
    /// Announces these addresses from now on, on those of the interfaces that are steered; `anew`:
    /// also those that were announced before are told of once more.
    pub(super) fn tell(
        &self,
        addresses: BTreeSet<IpAddr>,
        steered: BTreeMap<String, u32>,
        anew: bool,
    ) {
        self.announced.send_if_modified(|before| {
            let others = before.addresses != addresses;
            if others {
                tracing::info!(?addresses, "this node announces");
                before.addresses = addresses;
            }
            let elsewhere = before.steered != steered;
            before.steered = steered;
            before.round += u64::from(anew);
            others || elsewhere || anew
        });
    }

    /// Why nothing is announced on one of the interfaces, if that is so.
    pub(super) fn trouble(&self) -> Option<String> {
        self.troubles.first()
    }
}

/// Begins to announce on these interfaces: nothing yet.
pub(super) fn start(interfaces: impl IntoIterator<Item = String>) -> Announcing {
    let (sender, announced) = watch::channel(Announced::default());
    let troubles = Troubles::default();
    for interface in interfaces {
        tokio::spawn(run(interface, announced.clone(), troubles.clone()));
    }
    Announcing { announced: sender, troubles }
}

async fn run(interface: String, mut announced: watch::Receiver<Announced>, troubles: Troubles) {
    loop {
        let ended = match Link::open(&interface) {
            Ok(mut link) => link.serve(&mut announced, &troubles).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(Ended::Unwanted) => return,
            Ok(Ended::Changed) => {
                tracing::info!(interface, "the interface has changed: announcing anew");
                continue;
            }
            Err(error) => {
                // One that stays away is told of once.
                if troubles.begin(&interface, &error) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(interface, error, "virtual addresses are not announced for now");
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
        if announced.has_changed().is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_announced_on_an_interface_that_is_not_steered() {
        let address = IpAddr::from([203, 0, 113, 9]);
        let announced = Announced {
            addresses: BTreeSet::from([address]),
            steered: BTreeMap::from([("eth0".to_owned(), 2)]),
            round: 0,
        };
        assert_eq!(announced.on("eth0", 2), BTreeSet::from([address]));
        // Made anew, and the program is not attached yet.
        assert!(announced.on("eth0", 7).is_empty());
        assert!(announced.on("eth1", 2).is_empty());
    }

    #[test]
    fn an_interface_that_is_steered_again_is_told_what_is_announced() {
        let (sender, mut announced) = watch::channel(Announced::default());
        let announcing = Announcing { announced: sender, troubles: Troubles::default() };
        let addresses = BTreeSet::from([IpAddr::from([203, 0, 113, 9])]);
        let steered = |index: u32| BTreeMap::from([("eth0".to_owned(), index)]);
        let mut told = |index: u32, anew: bool| {
            announcing.tell(addresses.clone(), steered(index), anew);
            let told = announced.has_changed().expect("the sender is there");
            announced.mark_unchanged();
            told
        };
        assert!(told(2, false));
        assert!(!told(2, false));
        assert!(told(2, true));
        assert!(told(7, false));
        assert!(!told(7, false));
    }
}
