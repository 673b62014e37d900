//! What is in front of the nodes where a cluster is used, and without which no client could be spared
//! the end of a node: who looks after the nodes, and sends clients to those that are well.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use testbed::kubernetes::cluster::{Cluster, Place};
use tokio::net::TcpStream;

use crate::site::NODES;

/// Between two looks at a node, and how long one may take.
const LOOK: Duration = Duration::from_millis(300);
/// The same for the router.
const HELLO: Duration = Duration::from_millis(100);
/// After how many hellos without an answer a node is gone for the router.
const SILENT: u32 = 3;
/// Where the agent says whether it is ready.
const HEALTH: u16 = 10254;

/// Someone who looks after the nodes until it is dropped.
pub(crate) struct Balancer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    well: [AtomicBool; NODES as usize],
}

impl Balancer {
    /// As a cloud's balancer, which asks each node for `/readyz`: clients go to nodes that are ready.
    pub(crate) fn by_readiness(cluster: &Arc<Cluster>) -> Self {
        let shared = Arc::<Shared>::default();
        let threads = (1..=NODES).map(|number| {
            let (cluster, shared) = (Arc::clone(cluster), Arc::clone(&shared));
            thread::spawn(move || {
                inside(&cluster, Place::Client, || async {
                    while !shared.stopped() {
                        shared.set(number, is_ready(number).await);
                        tokio::time::sleep(LOOK).await;
                    }
                });
            })
        });
        Self { threads: threads.collect(), shared }
    }

    /// As a router with a routing protocol, for virtual addresses: it sends connections by their
    /// addresses and ports to every node that has announced itself, which one does once its agent is
    /// ready, and that is not silent. What the agent does afterwards is no concern of the router's:
    /// the node's kernel steers on.
    pub(crate) fn by_reachability(cluster: &Arc<Cluster>) -> Self {
        let shared = Arc::<Shared>::default();
        let (own, cluster) = (Arc::clone(&shared), Arc::clone(cluster));
        cluster.route_over(&[]).expect("the router can be told");
        let router = thread::spawn(move || {
            let mut silent = [0; NODES as usize];
            while !own.stopped() {
                let before = own.nodes();
                inside(&cluster, Place::Switch, || async {
                    for number in 1..=NODES {
                        let silent = &mut silent[usize::from(number) - 1];
                        *silent = if is_there(number).await { 0 } else { *silent + 1 };
                        if *silent >= SILENT {
                            own.set(number, false);
                        } else if !own.is_well(number) && is_ready(number).await {
                            own.set(number, true);
                        }
                    }
                    tokio::time::sleep(HELLO).await;
                });
                if own.nodes() != before {
                    cluster.route_over(&own.nodes()).expect("the router can be told");
                }
            }
        });
        Self { shared, threads: vec![router] }
    }

    /// The nodes that clients are sent to.
    pub(crate) fn nodes(&self) -> Vec<u8> {
        self.shared.nodes()
    }

    /// The next node for a client, by turns; `None` while there is none.
    pub(crate) fn next(&self, turn: usize) -> Option<Ipv4Addr> {
        let nodes = self.nodes();
        let number = nodes.get(turn.checked_rem(nodes.len())?)?;
        Some(Place::Node(*number).address())
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn set(&self, number: u8, well: bool) {
        self.well[usize::from(number) - 1].store(well, Ordering::Relaxed);
    }

    fn is_well(&self, number: u8) -> bool {
        self.well[usize::from(number) - 1].load(Ordering::Relaxed)
    }

    fn nodes(&self) -> Vec<u8> {
        (1..=NODES).filter(|number| self.is_well(*number)).collect()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

async fn is_ready(number: u8) -> bool {
    let admin = SocketAddr::from((Place::Node(number).address(), HEALTH));
    let answer = testbed::get(admin, "node", "/readyz", Duration::from_secs(2)).await;
    answer.is_ok_and(|answer| answer.status == 200)
}

/// Whether the node's kernel answers at all: by a reset where nobody listens.
async fn is_there(number: u8) -> bool {
    let address = SocketAddr::from((Place::Node(number).address(), 1));
    let answer =
        tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await;
    match answer {
        Ok(Err(error)) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        Ok(Ok(_)) => true,
        Err(_silence) => false,
    }
}

/// Runs the future in a place of the cluster.
pub(crate) fn inside<T: Send, F: Future<Output = T>>(
    cluster: &Cluster,
    place: Place,
    work: impl FnOnce() -> F + Send,
) -> T {
    cluster.inside(place, work).expect("the place is there")
}
