//! Clients outside the cluster: some with a connection for each request, some that keep theirs.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use testbed::{
    Answer, Connection,
    kubernetes::cluster::{Cluster, Place},
};

use crate::{
    balancer::{Balancer, inside},
    site::{HOST, until},
};

/// How long a request may take, its connection included: retransmissions on the way are no errors.
const LIMIT: Duration = Duration::from_secs(20);
/// Clients with a connection for each request.
pub(crate) const NEWCOMERS: usize = 3;
/// Clients that keep their connection.
const REGULARS: usize = 12;
/// Between two requests of a client.
const PACE: Duration = Duration::from_millis(50);
/// The Service's path.
const PATH: &str = "/";

/// Where clients go.
#[derive(Clone)]
pub(crate) enum Door {
    /// To whichever node a balancer has found ready.
    Nodes(Arc<Balancer>),
    /// To a virtual address.
    Virtual(IpAddr),
}

impl Door {
    async fn open(&self, turn: usize) -> anyhow::Result<Connection> {
        let address = match self {
            Self::Virtual(address) => *address,
            Self::Nodes(balancer) => loop {
                match balancer.next(turn) {
                    Some(address) => break address.into(),
                    None => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            },
        };
        Connection::open(SocketAddr::from((address, 80)), None, LIMIT).await
    }
}

/// Constant requests. They end on drop.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    seen: Mutex<Seen>,
}

/// What clients saw.
#[derive(Clone, Default)]
struct Seen {
    /// Requests of newcomers and of regulars that were answered with 200.
    answered: [usize; 2],
    errors: Vec<Failure>,
    pods: BTreeMap<String, Pod>,
    /// The longest that a newcomer's request took.
    slowest: Duration,
    /// The node that answers each regular.
    owners: [Option<u8>; REGULARS],
}

/// What a client saw of a pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pod {
    /// When it began to ask what this pod answered first.
    pub(crate) first: SystemTime,
    /// How many requests the pod answered.
    pub(crate) answers: usize,
}

/// A request that was not answered with 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The node that had answered on this connection before; `None` where nobody had.
    pub(crate) owner: Option<u8>,
    /// When the request began, and with it the connection where nobody had answered on it before.
    pub(crate) begun: Instant,
    /// What went wrong.
    pub(crate) what: String,
}

impl Traffic {
    /// Begins, and returns when all clients have been answered.
    pub(crate) fn start(cluster: &Arc<Cluster>, door: &Door) -> Self {
        let shared = Arc::<Shared>::default();
        let (cluster, own, door) = (Arc::clone(cluster), Arc::clone(&shared), door.clone());
        let thread = thread::spawn(move || {
            inside(&cluster, Place::Client, || async {
                let clients = tokio::task::JoinSet::from_iter(
                    (0..NEWCOMERS + REGULARS).map(|number| client(number, door.clone(), &own)),
                );
                clients.join_all().await;
            });
        });
        let own = Self { shared, thread: Some(thread) };
        until("each client that stays knows its node", || {
            own.seen().owners.iter().all(Option::is_some)
        });
        own
    }

    /// How many requests of newcomers, and of regulars, were answered with 200.
    pub(crate) fn answered(&self) -> [usize; 2] {
        self.seen().answered
    }

    /// Waits until there were many more answers, and there was no error since the last time that
    /// somebody asked.
    pub(crate) fn goes_on(&self, after: &str) -> String {
        self.many_more(after);
        let errors = self.take_errors();
        assert_eq!(errors, Vec::new(), "{after}");
        let [newcomers, regulars] = self.answered();
        format!("{after}: {newcomers} and {regulars} requests in all, no error")
    }

    /// Waits until there were many more answers to newcomers and to regulars.
    pub(crate) fn many_more(&self, after: &str) {
        let before = self.answered();
        until(&format!("{after}: requests are answered"), || {
            let now = self.answered();
            now[0] > before[0] + 30 && now[1] > before[1] + 120
        });
    }

    /// What went wrong since the last time that somebody asked.
    pub(crate) fn take_errors(&self) -> Vec<Failure> {
        std::mem::take(&mut self.seen().errors)
    }

    /// The longest that a newcomer's request took since the last time that somebody asked.
    pub(crate) fn take_slowest(&self) -> Duration {
        std::mem::take(&mut self.seen().slowest)
    }

    /// How many regulars each of the nodes answers.
    pub(crate) fn owned_by(&self, node: u8) -> usize {
        self.seen().owners.iter().filter(|owner| **owner == Some(node)).count()
    }

    /// What clients saw of each pod.
    pub(crate) fn pods(&self) -> BTreeMap<String, Pod> {
        self.seen().pods.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen()
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

/// One client. A regular opens another connection where the last answer said that it was the last, or
/// the server closed it before the next request: both are ordinary, and no errors.
fn client(number: usize, door: Door, shared: &Arc<Shared>) -> impl Future<Output = ()> + use<> {
    let shared = Arc::clone(shared);
    async move {
        let regular = number.checked_sub(NEWCOMERS);
        let mut kept: Option<(Connection, Option<u8>)> = None;
        let mut turn = number;
        while !shared.stop.load(Ordering::Relaxed) {
            tokio::time::sleep(PACE).await;
            let (start, clock) = (Instant::now(), SystemTime::now());
            if kept.as_mut().is_some_and(|(connection, _)| connection.is_closed()) {
                kept = None;
            }
            let (owner, outcome) = match kept.take() {
                Some((mut connection, owner)) => {
                    let answer = connection.get(HOST, PATH, LIMIT).await;
                    (owner, answer.map(|answer| (answer, connection)))
                }
                None => {
                    turn += 1;
                    (None, ask_anew(&door, turn).await)
                }
            };
            let mut seen = shared.seen();
            match outcome {
                Ok((answer, connection)) if answer.status == 200 => {
                    let (pod, owner) = told(&answer);
                    let pod = seen.pods.entry(pod).or_insert(Pod { first: clock, answers: 0 });
                    pod.answers += 1;
                    match regular {
                        Some(regular) => {
                            seen.answered[1] += 1;
                            seen.owners[regular] = owner;
                            if answer.header("connection") != "close" {
                                kept = Some((connection, owner));
                            }
                        }
                        None => {
                            seen.answered[0] += 1;
                            seen.slowest = seen.slowest.max(start.elapsed());
                        }
                    }
                }
                Ok((answer, _)) => {
                    let what = answer.status.to_string();
                    seen.errors.push(Failure { owner, begun: start, what });
                }
                Err(error) => {
                    let what = format!("{error:#}");
                    seen.errors.push(Failure { owner, begun: start, what });
                }
            }
        }
    }
}

async fn ask_anew(door: &Door, turn: usize) -> anyhow::Result<(Answer, Connection)> {
    let mut connection = door.open(turn).await?;
    let answer = connection.get(HOST, PATH, LIMIT).await?;
    Ok((answer, connection))
}

/// The pod that answered, and the node that asked it: by the node's address, or by the one that it has
/// towards its own pods.
fn told(answer: &Answer) -> (String, Option<u8>) {
    let echo: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let pod = echo["pod"].as_str().unwrap_or_default().to_owned();
    let peer: Option<SocketAddr> = echo["peer"].as_str().and_then(|peer| peer.parse().ok());
    let owner = peer.and_then(|peer| match peer.ip() {
        IpAddr::V4(address) => match address.octets() {
            [10, 244, number, _] => Some(number),
            [10, 99, 0, last] => last.checked_sub(10),
            _ => None,
        },
        IpAddr::V6(_) => None,
    });
    (pod, owner)
}

/// The client's answer to one request.
pub(crate) fn get(cluster: &Cluster, address: IpAddr, host: &str, path: &str) -> Option<Answer> {
    let address = SocketAddr::from((address, 80));
    inside(cluster, Place::Client, || async { testbed::get(address, host, path, LIMIT).await.ok() })
}
