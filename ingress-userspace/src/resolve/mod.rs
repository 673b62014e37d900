//! What names outside the cluster stand for: looks up those that Services of type ExternalName
//! refer to, again and again as their answers' time to live asks for (reference section 5.6).
//! A thread of its own; no worker ever waits for a name.
//!
//! Of one name: *unknown* until the first answer; then *known*, with addresses or with nothing,
//! until they run out; while name servers do not answer, the last addresses stay and are *late*.
#![forbid(unsafe_code)]

mod lookup;
mod schedule;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, io, sync::Arc, thread, time::Duration};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::Instant,
};

use self::{lookup::Lookup, schedule::Schedule};
use crate::{config::NameServers, names::Names};

/// Lookups under way at one time.
const PARALLEL: usize = 64;

/// Tells the resolver what to look up. When it is dropped, the resolver ends.
pub struct Wanted(UnboundedSender<BTreeSet<Arc<str>>>);

/// What the resolver is told.
pub struct Told(UnboundedReceiver<BTreeSet<Arc<str>>>);

/// How a resolver is told what to look up.
#[must_use]
pub fn channel() -> (Wanted, Told) {
    let (sender, receiver) = unbounded_channel();
    (Wanted(sender), Told(receiver))
}

impl Wanted {
    /// From now on these names and no others.
    pub fn tell(&self, names: BTreeSet<Arc<str>>) {
        // A resolver that has ended answers nothing any more, as it should.
        let _ended = self.0.send(names);
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
    loop {
        let now = Instant::now();
        while running.len() < PARALLEL {
            let Some(name) = schedule.next_due(now.into_std()) else { break };
            // Opened when there is something to look up, and until then no fault.
            let lookup = Arc::clone(lookup.get_or_insert_with(|| Arc::new(Lookup::new(&servers))));
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
            names = told.0.recv() => match names {
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
            () = tokio::time::sleep_until(due) => false,
        };
        if changed {
            sink(schedule.names());
        }
    }
}
