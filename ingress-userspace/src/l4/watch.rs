//! One task for each peer that asks it five times a second how it is doing.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesOrdered};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{MissedTickBehavior, timeout},
};

use super::{
    health::{self, Probe, Tunnel},
    question::{self, Question},
};

/// Every so many questions one is as long as the path should take: every five seconds.
const FULL_EVERY: u16 = 25;

/// What peers are asked about, as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// This node's address.
    pub(super) own: Option<IpAddr>,
    /// The port of `/readyz` on all nodes.
    pub(super) health_port: u16,
    /// The port of the tunnel, on all nodes.
    pub(super) tunnel_port: u16,
    /// The services, asked about in turn.
    pub(super) services: Vec<SocketAddr>,
    /// How long a packet to each peer may be on its link. Bytes.
    pub(super) lengths: HashMap<IpAddr, u16>,
}

/// What a peer was found to be.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) probe: Probe,
    pub(super) tunnel: Tunnel,
    /// Whether a packet as long as the link takes got through, if one was sent.
    pub(super) full: Option<bool>,
}

/// The tasks.
pub(super) struct Watches {
    asked: watch::Sender<Arc<Asked>>,
    tasks: HashMap<String, (IpAddr, AbortHandle)>,
}

impl Watches {
    pub(super) fn new(asked: Asked) -> Self {
        Self { asked: watch::channel(Arc::new(asked)).0, tasks: HashMap::new() }
    }

    /// Whether this peer is asked.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tasks.contains_key(name)
    }

    /// From now on this is what peers are asked about.
    pub(super) fn ask(&self, asked: Asked) {
        self.asked.send_if_modified(|known| {
            let changes = **known != asked;
            if changes {
                *known = Arc::new(asked);
            }
            changes
        });
    }

    /// Asks these peers, and none that left or moved.
    pub(super) fn follow(
        &mut self,
        peers: HashMap<String, IpAddr>,
        seen: &mpsc::UnboundedSender<Seen>,
    ) {
        self.tasks.retain(|name, (address, task)| {
            let stays = peers.get(name) == Some(address);
            if !stays {
                task.abort();
            }
            stays
        });
        for (name, address) in peers {
            if !self.tasks.contains_key(&name) {
                let task = run(name.clone(), address, self.asked.subscribe(), seen.clone());
                self.tasks.insert(name, (address, tokio::spawn(task).abort_handle()));
            }
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        for (_, task) in self.tasks.values() {
            task.abort();
        }
    }
}

/// Asks a peer until it is told to stop.
async fn run(
    name: String,
    peer: IpAddr,
    asked: watch::Receiver<Arc<Asked>>,
    seen: mpsc::UnboundedSender<Seen>,
) {
    let mut ticks = tokio::time::interval(health::INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Answers count in the order of the questions. The next question does not wait for the answer
    // to the one before, so that three that are missed take little longer than one.
    let mut flying = FuturesOrdered::new();
    let mut number: u16 = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                number = number.wrapping_add(1);
                let asked = Arc::clone(&asked.borrow());
                flying.push_back(look(name.clone(), peer, asked, number));
            }
            Some(found) = flying.next() => {
                if seen.send(found).is_err() {
                    return;
                }
            }
        }
    }
}

async fn look(name: String, peer: IpAddr, asked: Arc<Asked>, number: u16) -> Seen {
    let of_agent = health::probe(SocketAddr::new(peer, asked.health_port));
    let of_tunnel = through_tunnel(&asked, peer, number, 0);
    let length = asked.lengths.get(&peer).copied().map_or(0, usize::from);
    let full = async {
        match number % FULL_EVERY == 1 && length > 0 {
            true => Some(through_tunnel(&asked, peer, number, length).await),
            false => None,
        }
    };
    let (probe, tunnel, full) = tokio::join!(of_agent, of_tunnel, full);
    // Only beside a short question that was answered a long one says something about its length.
    let full = match (tunnel, full) {
        (Tunnel::Takes | Tunnel::Refuses, Some(Tunnel::Takes | Tunnel::Refuses)) => Some(true),
        (Tunnel::Takes | Tunnel::Refuses, Some(Tunnel::Missed)) => Some(false),
        _ => None,
    };
    Seen { name, probe, tunnel, full }
}

async fn through_tunnel(asked: &Asked, peer: IpAddr, number: u16, length: usize) -> Tunnel {
    let count = asked.services.len().max(1);
    let service = asked.services.get(usize::from(number) % count).copied();
    let (Some(own), Some(service)) = (asked.own, service) else { return Tunnel::Unasked };
    if own.is_ipv4() != peer.is_ipv4() {
        return Tunnel::Unasked;
    }
    let peer = SocketAddr::new(peer, asked.tunnel_port);
    let question = Question { own, peer, service, length };
    timeout(health::TIMEOUT, question::ask(question, number)).await.unwrap_or(Tunnel::Missed)
}

/// Long enough for a peer that is there to have been asked and to have answered.
pub const SETTLED: Duration = health::TIMEOUT.saturating_add(health::INTERVAL.saturating_mul(3));
