//! Announcing virtual addresses on a link that nodes share with clients or their router: one node
//! answers ARP and neighbour solicitations for an address, and says so when it begins to.
//!
//! Who that is needs no agreement. Each node works it out from the members and what it sees of their
//! health ([`elect`]), the same as it does for the rows of the table. While two nodes see different
//! things an address may have two announcers, or none that answers: the former does no harm, for
//! whichever node a packet comes to steers it to its owner, and the latter ends with the probe that
//! tells.
//!
//! ```text
//! elect                     members and their health → who announces which address (pure)
//! arp, discovery            what is asked, and what is said (pure)
//! link                      the sockets of one interface
//! ```

mod arp;
mod discovery;
mod elect;
mod link;

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use tokio::sync::watch;

pub(super) use elect::announcer;
use link::Link;

/// What this node announces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Announced {
    /// The addresses.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Another number whenever a node has changed: each says again then what is its own. Who took an
    /// address over while this node was out of sight, and then dies, would leave it to nobody else.
    pub(super) round: u64,
}

/// Before an interface that did not work is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Answers on these interfaces for what is announced, until the sender of it is dropped.
pub(super) fn start(interfaces: impl IntoIterator<Item = String>) -> watch::Sender<Announced> {
    let (sender, announced) = watch::channel(Announced::default());
    for interface in interfaces {
        tokio::spawn(run(interface, announced.clone()));
    }
    sender
}

async fn run(interface: String, mut announced: watch::Receiver<Announced>) {
    // One that stays away is told of once.
    let mut told = false;
    loop {
        let ended = match Link::open(&interface) {
            Ok(mut link) => {
                told = false;
                link.serve(&mut announced).await
            }
            Err(error) => Err(error),
        };
        let Err(error) = ended else { return };
        if !told {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(interface, error, "virtual addresses are not announced for now");
            told = true;
        }
        tokio::time::sleep(AGAIN).await;
        if announced.has_changed().is_err() {
            return;
        }
    }
}
