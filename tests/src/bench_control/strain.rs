//! What goes on while it is measured: requests, and changes.

use std::{
    net::{SocketAddr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use testbed::kubernetes::ApiServer;

use super::objects::{host, ingress, slice};

/// One of so many changes is of an Ingress, the others are of EndpointSlices.
const INGRESS_OF: usize = 10;

/// Requests all the while, one after another.
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<(usize, usize)>,
}

impl Traffic {
    /// Asks these hosts in turn.
    pub(super) fn start(http: SocketAddr, hosts: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let own = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return (0, usize::MAX) };
            let (mut requests, mut errors) = (0, 0);
            while !own.load(Ordering::Relaxed) {
                let limit = Duration::from_secs(10);
                let host = host(requests % hosts);
                let answer = runtime.block_on(testbed::get(http, &host, "/p0", limit));
                errors += usize::from(!answer.is_ok_and(|answer| answer.status == 200));
                requests += 1;
                // A steady trickle: it is to find errors, not to use the processor.
                thread::sleep(Duration::from_millis(5));
            }
            (requests, errors)
        });
        Self { stop, thread }
    }

    /// How many requests there were, and how many of them were not answered with 200.
    pub(super) fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or((0, usize::MAX))
    }
}

/// Objects that change all the while.
pub(super) struct Churn {
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicUsize>,
    start: Instant,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Churn {
    /// Changes `rate` of `count` objects a second. Several ask: the API server takes its time.
    pub(super) fn start(
        server: &Arc<ApiServer>,
        backend: SocketAddrV4,
        count: usize,
        rate: u32,
    ) -> Self {
        const ASKING: usize = 4;
        let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let start = Instant::now();
        let asking = |first: usize| {
            let (stop, changes) = (Arc::clone(&stop), Arc::clone(&changes));
            let server = Arc::clone(server);
            thread::spawn(move || {
                for version in (first..).step_by(ASKING).skip(1) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let number = version % count;
                    let object = match (version / ASKING).is_multiple_of(INGRESS_OF) {
                        true => ingress(number, version),
                        false => slice(number, backend, version),
                    };
                    if server.objects().apply_object(&object).is_ok() {
                        changes.fetch_add(1, Ordering::Relaxed);
                    }
                    let due = Duration::from_secs(1) / rate * u32::try_from(version).unwrap_or(1);
                    thread::sleep((start + due).saturating_duration_since(Instant::now()));
                }
            })
        };
        let threads = (0..ASKING).map(asking).collect();
        Self { stop, changes, start, threads }
    }

    /// How many changes there were so far, and in which time.
    pub(super) fn changed(&self) -> (usize, Duration) {
        (self.changes.load(Ordering::Relaxed), self.start.elapsed())
    }

    pub(super) fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic has been reported by the thread itself.
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}
