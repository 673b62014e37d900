//! A client outside the cluster behind a load balancer that asks each node whether it is ready, as
//! any of them does.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use testbed::{
    Answer,
    kubernetes::cluster::{Cluster, Place},
};

use crate::NODES;

/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How often the balancer asks, and how long it waits for the answer.
const PROBE: Duration = Duration::from_millis(500);

/// Constant requests. They end on drop.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    ready: [AtomicBool; NODES as usize],
    answered: AtomicUsize,
    errors: Mutex<Vec<String>>,
}

impl Traffic {
    /// Asks for a path of a host, again and again, through whichever nodes are ready.
    pub(crate) fn start(cluster: &Arc<Cluster>, host: &'static str, path: &'static str) -> Self {
        let shared = Arc::<Shared>::default();
        let probes = (1..=NODES).map(|number| {
            let (cluster, shared) = (Arc::clone(cluster), Arc::clone(&shared));
            thread::spawn(move || probe(&cluster, &shared, number))
        });
        let mut threads: Vec<JoinHandle<()>> = probes.collect();
        let (cluster, own) = (Arc::clone(cluster), Arc::clone(&shared));
        threads.push(thread::spawn(move || ask(&cluster, &own, host, path)));
        Self { shared, threads }
    }

    /// How many requests were answered with 200.
    pub(crate) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// What went wrong.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.shared.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

fn probe(cluster: &Cluster, shared: &Shared, number: u8) {
    let admin = SocketAddr::from((Place::Node(number).address(), 10254));
    let inside = cluster.inside(Place::Client, || async {
        while !shared.stop.load(Ordering::Relaxed) {
            let answer = testbed::get(admin, "node", "/readyz", PROBE).await;
            let ready = answer.is_ok_and(|answer| answer.status == 200);
            shared.ready[usize::from(number) - 1].store(ready, Ordering::Relaxed);
            tokio::time::sleep(PROBE).await;
        }
    });
    inside.expect("the client's namespace is there");
}

fn ask(cluster: &Cluster, shared: &Shared, host: &str, path: &str) {
    let inside = cluster.inside(Place::Client, || async {
        let mut turn = 0;
        while !shared.stop.load(Ordering::Relaxed) {
            turn += 1;
            let number = u8::try_from(turn % usize::from(NODES)).expect("few nodes") + 1;
            if !shared.ready[usize::from(number) - 1].load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            let address = SocketAddr::from((Place::Node(number).address(), 80));
            match testbed::get(address, host, path, LIMIT).await {
                Ok(answer) if answer.status == 200 => {
                    shared.answered.fetch_add(1, Ordering::Relaxed);
                }
                other => {
                    let what = match other {
                        Ok(answer) => answer.status.to_string(),
                        Err(error) => format!("{error:#}"),
                    };
                    let mut errors = shared.errors.lock().unwrap_or_else(PoisonError::into_inner);
                    errors.push(format!("n{number}: {what}"));
                }
            }
        }
    });
    inside.expect("the client's namespace is there");
}

/// The client's answer to one request through a node.
pub(crate) fn get(cluster: &Cluster, node: Place, host: &str, path: &str) -> Option<Answer> {
    let address = SocketAddr::from((node.address(), 80));
    let inside = cluster
        .inside(Place::Client, || async { testbed::get(address, host, path, LIMIT).await.ok() });
    inside.expect("the client's namespace is there")
}
