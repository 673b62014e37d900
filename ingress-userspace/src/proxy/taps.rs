//! Requests as they are answered, for who watches (`penstock tap`). While nobody does, a request finds
//! that out by one load; while somebody does, what a tap cannot take at once is lost, and counted.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::model::{BackendKey, ObjectRef};

/// Taps at once.
const MOST: usize = 8;
/// Requests that wait for who watches.
const AHEAD: usize = 1024;
/// The longest path, host or method that is told. Bytes.
pub(super) const LONGEST: usize = 2048;

/// A request that was answered. Without its query, its fields and bodies: they hold secrets.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// When it came.
    pub(crate) time: SystemTime,
    pub(crate) client: String,
    pub(crate) method: String,
    pub(crate) tls: bool,
    pub(crate) version: &'static str,
    /// As it was asked for.
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) has_query: bool,
    pub(crate) status: u16,
    pub(crate) ingress: Option<ObjectRef>,
    /// Who was asked, a canary included.
    pub(crate) service: Option<BackendKey>,
    /// The last one that was asked, where an access log is written.
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) attempts: usize,
    pub(crate) request_id: String,
    pub(crate) phases: Phases,
    /// Bytes.
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// How long its parts took; `None`: there was no such part, or requests are not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Phases {
    pub(crate) total: Option<Duration>,
    /// Before the last attempt at an endpoint: the stages, the body that is waited for, earlier
    /// attempts.
    pub(crate) before: Option<Duration>,
    /// Of the last attempt: to have a connection.
    pub(crate) connect: Option<Duration>,
    /// From then until the head of the answer was there.
    pub(crate) wait: Option<Duration>,
    /// From then to the end of the answer.
    pub(crate) answer: Option<Duration>,
}

/// Which requests are of interest: all that is given has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// The host as asked for, lower case; `*.` at its front stands for any before it.
    pub(crate) host: Option<String>,
    /// The beginning of the path.
    pub(crate) path: Option<String>,
    pub(crate) method: Option<String>,
    /// First and last status of a range.
    pub(crate) status: Option<(u16, u16)>,
    /// Namespace, and name.
    pub(crate) ingress: Option<(Option<String>, String)>,
    pub(crate) slower: Option<Duration>,
}

impl Filter {
    fn takes(&self, own: &Answered) -> bool {
        let host = |wanted: &String| match wanted.strip_prefix('*') {
            Some(end) => own.host.len() > end.len() && own.host.ends_with(end),
            None => own.host == *wanted,
        };
        let ingress = |(namespace, name): &(Option<String>, String)| {
            own.ingress.as_ref().is_some_and(|own| {
                *own.name == **name && namespace.as_ref().is_none_or(|it| *own.namespace == **it)
            })
        };
        self.host.as_ref().is_none_or(host)
            && self.path.as_ref().is_none_or(|begin| own.path.starts_with(begin))
            && self.method.as_ref().is_none_or(|method| own.method == *method)
            && self.status.is_none_or(|(first, last)| (first..=last).contains(&own.status))
            && self.ingress.as_ref().is_none_or(ingress)
            && self.slower.is_none_or(|least| own.phases.total.is_some_and(|own| own >= least))
    }
}

#[derive(Debug)]
struct Tap {
    filter: Filter,
    sender: mpsc::Sender<Box<Answered>>,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Shared {
    /// How many there are: what each request looks at.
    open: AtomicUsize,
    taps: ArcSwap<Vec<Arc<Tap>>>,
    changing: Mutex<()>,
}

/// All taps of a process. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taps(Arc<Shared>);

impl Taps {
    /// Somebody watches.
    #[inline]
    pub(super) fn are_open(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) > 0
    }

    /// Tells whoever wants to know.
    #[cold]
    pub(super) fn tell(&self, answered: &Answered) {
        for tap in self.0.taps.load().iter().filter(|tap| tap.filter.takes(answered)) {
            if tap.sender.try_send(Box::new(answered.clone())).is_err() {
                tap.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Begins to watch; `None`: enough others do.
    pub(crate) fn open(&self, filter: Filter) -> Option<Watch> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let tap = Arc::new(Tap { filter, sender, lost: AtomicU64::new(0) });
        let is_new = self.change(|taps| {
            let is_new = taps.len() < MOST;
            if is_new {
                taps.push(Arc::clone(&tap));
            }
            is_new
        });
        is_new.then(|| Watch { taps: self.clone(), tap, receiver })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Arc<Tap>>) -> T) -> T {
        let _one_at_a_time = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taps = Vec::clone(&self.0.taps.load());
        let outcome = change(&mut taps);
        let open = taps.len();
        self.0.taps.store(Arc::new(taps));
        self.0.open.store(open, Ordering::Relaxed);
        outcome
    }
}

/// Somebody who watches, until this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    taps: Taps,
    tap: Arc<Tap>,
    receiver: mpsc::Receiver<Box<Answered>>,
}

impl Watch {
    /// The next request.
    pub(crate) async fn next(&mut self) -> Option<Box<Answered>> {
        self.receiver.recv().await
    }

    /// Requests that were not taken since this was asked last.
    pub(crate) fn lost(&self) -> u64 {
        self.tap.lost.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.taps.change(|taps| taps.retain(|own| !Arc::ptr_eq(own, &self.tap)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(host: &str, status: u16) -> Answered {
        Answered {
            time: SystemTime::UNIX_EPOCH,
            client: "192.0.2.1".to_owned(),
            method: "GET".to_owned(),
            tls: false,
            version: "HTTP/1.1",
            host: host.to_owned(),
            path: "/cart/1".to_owned(),
            has_query: false,
            status,
            ingress: Some(ObjectRef::new("Ingress", "web", "shop")),
            service: None,
            endpoint: None,
            attempts: 0,
            request_id: String::new(),
            phases: Phases { total: Some(Duration::from_millis(20)), ..Phases::default() },
            received: 0,
            sent: 0,
        }
    }

    #[test]
    fn all_that_is_given_has_to_hold() {
        let own = answered("shop.example.com", 503);
        let some = |text: &str| Some(text.to_owned());
        let takes = |filter: Filter| filter.takes(&own);
        assert!(takes(Filter::default()));
        assert!(takes(Filter { host: some("shop.example.com"), ..Filter::default() }));
        assert!(takes(Filter { host: some("*.example.com"), ..Filter::default() }));
        assert!(!takes(Filter { host: some("*.shop.example.com"), ..Filter::default() }));
        assert!(!takes(Filter { host: some("example.com"), ..Filter::default() }));
        assert!(takes(Filter { status: Some((500, 599)), ..Filter::default() }));
        assert!(!takes(Filter { status: Some((200, 299)), ..Filter::default() }));
        assert!(takes(Filter { path: some("/cart"), method: some("GET"), ..Filter::default() }));
        assert!(!takes(Filter { path: some("/cart"), method: some("PUT"), ..Filter::default() }));
        let ingress = |namespace: Option<&str>, name: &str| Filter {
            ingress: Some((namespace.map(ToOwned::to_owned), name.to_owned())),
            ..Filter::default()
        };
        assert!(takes(ingress(None, "shop")));
        assert!(takes(ingress(Some("web"), "shop")));
        assert!(!takes(ingress(Some("other"), "shop")));
        let slower = |millis| Some(Duration::from_millis(millis));
        assert!(takes(Filter { slower: slower(20), ..Filter::default() }));
        assert!(!takes(Filter { slower: slower(21), ..Filter::default() }));
    }

    #[test]
    fn what_is_not_taken_is_counted_and_a_tap_ends_with_its_watch() {
        let taps = Taps::default();
        assert!(!taps.are_open());
        let watch = taps.open(Filter::default()).expect("the first");
        assert!(taps.are_open());
        (0..AHEAD + 3).for_each(|_| taps.tell(&answered("a", 200)));
        assert_eq!((watch.lost(), watch.lost()), (3, 0));
        let others: Vec<_> = (1..MOST).map(|_| taps.open(Filter::default())).collect();
        assert!(others.iter().all(Option::is_some));
        assert!(taps.open(Filter::default()).is_none());
        drop(watch);
        assert!(taps.open(Filter::default()).is_some());
        drop(others);
        assert!(!taps.are_open());
    }
}
