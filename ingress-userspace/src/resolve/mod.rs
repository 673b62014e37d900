//! What names outside the cluster stand for: looks up those that Services of type ExternalName
//! refer to, again and again as their answers' time to live asks for (reference section 5.6).
//! A thread of its own. Requests wait for a name only where it is not known before they come: the
//! server of external authentication (`Asking`), whose answers the workers keep for their time.
//!
//! Of one name: *unknown* until the first answer; then *known*, with addresses or with nothing,
//! until they run out; while name servers do not answer, the last addresses stay and are *late*.
#![forbid(unsafe_code)]

mod lookup;
mod schedule;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    task::JoinSet,
    time::Instant,
};

use self::{
    lookup::Lookup,
    schedule::{Answer, Schedule},
};
use crate::{
    config::NameServers,
    names::{Names, is_own},
};

/// Lookups under way at one time.
const PARALLEL: usize = 64;

/// Tells the resolver what to look up. When it is dropped, the resolver ends.
pub struct Wanted {
    names: UnboundedSender<BTreeSet<Arc<str>>>,
    ipv6: Arc<AtomicBool>,
}

/// Asks for a name on behalf of a request.
#[derive(Clone)]
pub struct Asking(UnboundedSender<Question>);

struct Question {
    name: Arc<str>,
    answer: oneshot::Sender<Result<Addresses, Unresolved>>,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// One at least; none of this node itself.
    pub addresses: Vec<IpAddr>,
    /// For how long that counts.
    pub time: Duration,
}

/// A name has no address, or nobody says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// It has none.
    #[error("the DNS has no address for it")]
    Nothing,
    /// It stands for this node itself: what only its own programs may reach would be given away.
    #[error("stands for this node itself, which is refused")]
    Own,
    /// The name servers do not answer.
    #[error("the name servers do not answer")]
    Failed,
}

/// What the resolver is told.
pub struct Told {
    wanted: UnboundedReceiver<BTreeSet<Arc<str>>>,
    questions: UnboundedReceiver<Question>,
    ipv6: Arc<AtomicBool>,
}

/// How a resolver is told what to look up, and asked.
#[must_use]
pub fn channel() -> (Wanted, Asking, Told) {
    let (sender, wanted) = unbounded_channel();
    let (asking, questions) = unbounded_channel();
    let ipv6 = Arc::new(AtomicBool::new(true));
    let told = Told { wanted, questions, ipv6: Arc::clone(&ipv6) };
    (Wanted { names: sender, ipv6 }, Asking(asking), told)
}

impl Asking {
    /// Looks a name up now.
    ///
    /// # Errors
    /// [`Unresolved`]; `Failed` also where the resolver has ended.
    pub async fn addresses(&self, name: Arc<str>) -> Result<Addresses, Unresolved> {
        let (answer, found) = oneshot::channel();
        self.0.send(Question { name, answer }).map_err(|_ended| Unresolved::Failed)?;
        found.await.unwrap_or(Err(Unresolved::Failed))
    }
}

impl Wanted {
    /// From now on these names and no others.
    pub fn tell(&self, names: BTreeSet<Arc<str>>) {
        // A resolver that has ended answers nothing any more, as it should.
        let _ended = self.names.send(names);
    }
}

impl Wanted {
    /// Whether names may stand for addresses of IPv6, from the next lookup of each on.
    pub fn set_ipv6(&self, ipv6: bool) {
        self.ipv6.store(ipv6, Ordering::Relaxed);
    }
}

/// Starts the resolver, which calls `sink` with all names whenever one of them changed. It ends
/// when its [`Wanted`] is dropped.
///
/// # Errors
/// There is no thread to be had.
pub fn start(
    servers: NameServers,
    told: Told,
    sink: impl FnMut(Names) + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new()
        .name("resolver".to_owned())
        .spawn(move || runtime.block_on(run(servers, told, sink)))
}

async fn run(servers: NameServers, mut told: Told, mut sink: impl FnMut(Names)) {
    let mut schedule = Schedule::default();
    let mut lookup: Option<Arc<Lookup>> = None;
    let mut running = JoinSet::new();
    let mut answering = JoinSet::new();
    loop {
        let now = Instant::now();
        while running.len() < PARALLEL {
            let Some(name) = schedule.next_due(now.into_std()) else { break };
            // Opened when there is something to look up, and until then no fault.
            let lookup = Arc::clone(
                lookup.get_or_insert_with(|| Arc::new(Lookup::new(&servers, &told.ipv6))),
            );
            running.spawn(async move {
                let answer = lookup.addresses(&name).await;
                (name, answer)
            });
        }
        // With all places taken, the next one to end makes the next round.
        let idle = now + Duration::from_secs(3600);
        let due = match running.len() < PARALLEL {
            true => schedule.earliest().map_or(idle, Instant::from_std),
            false => idle,
        };
        let changed = tokio::select! {
            names = told.wanted.recv() => match names {
                Some(names) => {
                    schedule.replace(names, Instant::now().into_std());
                    false
                }
                None => return,
            },
            Some(ended) = running.join_next() => {
                let mut changed = false;
                let mut ended = Some(ended);
                // What came at the same time makes one snapshot.
                while let Some(outcome) = ended {
                    if let Ok((name, answer)) = outcome {
                        changed |= schedule.answered(&name, answer, Instant::now().into_std());
                    }
                    ended = running.try_join_next();
                }
                changed
            }
            Some(question) = told.questions.recv(), if answering.len() < PARALLEL => {
                let lookup =
                    Arc::clone(lookup.get_or_insert_with(|| Arc::new(Lookup::new(&servers, &told.ipv6))));
                answering.spawn(async move {
                    let Question { name, answer } = question;
                    let found = addresses(lookup.addresses(&name).await);
                    let _request_over = answer.send(found);
                });
                false
            }
            Some(_answered) = answering.join_next() => false,
            () = tokio::time::sleep_until(due) => false,
        };
        if changed {
            sink(schedule.names());
        }
    }
}

fn addresses(answer: Answer) -> Result<Addresses, Unresolved> {
    match answer {
        Answer::Addresses(mut addresses, time) => {
            addresses.retain(|address| !is_own(*address));
            match addresses.is_empty() {
                true => Err(Unresolved::Own),
                false => Ok(Addresses { addresses, time }),
            }
        }
        Answer::Nothing(_) => Err(Unresolved::Nothing),
        Answer::Failed(_) => Err(Unresolved::Failed),
    }
}
