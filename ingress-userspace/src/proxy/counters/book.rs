//! All series of requests: whose records belong where. Locked for a batch, never for a request, and
//! nobody on the way of a request waits for it.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hashbrown::{HashMap, HashSet};
use slab::Slab;

use super::{
    layout::{Blocks, Histogram, Layout},
    recent::{Other, Recent, Seen},
    record::{Record, Variant},
};
use crate::{
    config::Metrics,
    model::{BackendKey, Host, HostName, Model, Route, Target},
    route::{HostTable, RouteTable},
};

/// Records of a batch: 8 KiB, a part of a core's first cache.
pub(super) const BATCH: usize = 128;
/// Batches that wait while the book is in use; then the oldest are lost. 4 MiB.
const WAITING: usize = 512;
/// Of those, a worker adds up so many beside its own: it has requests to answer.
const TURN: usize = 8;
/// Series that a route has before they are told apart by the status' class alone: endpoints choose
/// statuses, and must not choose how much memory we use.
const VARIANTS: usize = 64;
/// Series of all routes together before all are told apart by the status' class alone: then there
/// are at most nine more of each route and canary.
const SERIES: usize = 200_000;
/// For how long a route's number is known after its last snapshot: until each worker has added up
/// what its last requests were, with a lot to spare.
const GRACE: Duration = Duration::from_secs(10);
/// The block of what is not counted.
const UNCOUNTED: u32 = u32::MAX;
/// The set of labels of what is not counted, or was forgotten.
const NO_SET: usize = usize::MAX;

/// What tells routes apart in metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Labels {
    /// The host as configured: `*.example.com` for a wildcard, `_` for all others; `None` where
    /// hosts are not told apart.
    pub(crate) host: Option<Arc<str>>,
    pub(crate) namespace: Arc<str>,
    pub(crate) ingress: Arc<str>,
    pub(crate) service: Arc<str>,
    /// The path as the Ingress writes it.
    pub(crate) path: Arc<str>,
}

/// The series of one set of labels.
#[derive(Clone, Debug)]
struct Set {
    labels: Arc<Labels>,
    variants: Vec<(Variant, Option<Arc<str>>, u32)>,
    /// The last publication that had it.
    mark: u64,
}

/// The numbers of one compiled host.
#[derive(Debug)]
struct Numbers {
    /// By number, from the host's own on: place in [`Book::sets`].
    sets: Box<[usize]>,
    /// Requests under way may still have these numbers.
    table: Weak<HostTable>,
    mark: u64,
    /// Since when nobody can.
    dead: Option<Instant>,
}

#[derive(Debug)]
struct Book {
    per_host: bool,
    per_undefined_host: bool,
    status_classes: bool,
    /// [`SERIES`], fewer in tests.
    most: usize,
    sets: Slab<Set>,
    by_labels: HashMap<Arc<Labels>, usize>,
    /// By the first of them.
    numbers: BTreeMap<u64, Numbers>,
    /// The blocks of records without canary.
    known: HashMap<(u64, Variant), u32>,
    blocks: Blocks,
    /// What is in no series.
    other: Other,
    /// What the backends of the last publication are called, by their identifiers: another Service
    /// may come into the place of one.
    services: Vec<Arc<str>>,
    mark: u64,
}

/// The series of all workers.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) enabled: bool,
    book: Mutex<Book>,
    waiting: Mutex<VecDeque<Vec<Record>>>,
    /// Requests that were not added up.
    lost: AtomicU64,
}

/// One series at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) labels: Arc<Labels>,
    /// The backend that was asked instead of the Service's, as ingress-nginx calls it.
    pub(crate) canary: Option<Arc<str>>,
    variant: Variant,
    block: u32,
}

/// All series at one moment.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) series: Vec<Series>,
    blocks: Blocks,
}

impl Shared {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self::with(metrics, SERIES)
    }

    pub(super) fn with(metrics: &Metrics, most: usize) -> Self {
        let mut book = Book {
            per_host: metrics.per_host,
            per_undefined_host: metrics.per_undefined_host,
            status_classes: metrics.status_classes,
            most,
            sets: Slab::new(),
            by_labels: HashMap::new(),
            numbers: BTreeMap::new(),
            known: HashMap::new(),
            blocks: Blocks::new(Layout::new(metrics)),
            other: Other::default(),
            services: Vec::new(),
            mark: 0,
        };
        // What belongs to no host has number 0.
        let labels = book.labels_of(&HostName::CatchAll, None, None);
        let set = labels.map_or(NO_SET, |labels| book.set(labels));
        let nobody = Numbers { sets: [set].into(), table: Weak::new(), mark: 0, dead: None };
        book.numbers.insert(0, nobody);
        Self {
            enabled: metrics.enabled,
            book: Mutex::new(book),
            waiting: Mutex::default(),
            lost: AtomicU64::new(0),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds up a batch, or leaves it to whoever works at the book next. Waits for nobody.
    pub(super) fn add(&self, batch: &mut Vec<Record>) {
        match self.book.try_lock() {
            Ok(book) => self.add_to(book, batch),
            Err(TryLockError::Poisoned(book)) => self.add_to(book.into_inner(), batch),
            Err(TryLockError::WouldBlock) => self.leave(batch),
        }
    }

    fn add_to(&self, mut book: MutexGuard<'_, Book>, batch: &mut Vec<Record>) {
        book.add(batch);
        for _ in 0..TURN {
            let Some(mut batch) = self.waiting().pop_front() else { return };
            book.add(&mut batch);
        }
    }

    fn leave(&self, batch: &mut Vec<Record>) {
        let mut waiting = self.waiting();
        let mut room = match waiting.len() < WAITING {
            true => Vec::with_capacity(BATCH),
            false => waiting.pop_front().unwrap_or_default(),
        };
        self.lost.fetch_add(room.len() as u64, Ordering::Relaxed);
        room.clear();
        waiting.push_back(mem::replace(batch, room));
    }

    /// Adds up all that waits.
    fn catch_up(&self, book: &mut Book) {
        let mut waiting = mem::take(&mut *self.waiting());
        waiting.iter_mut().for_each(|batch| book.add(batch));
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Vec<Record>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses the book until it is dropped.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Sized {
        self.book()
    }

    /// Batches that wait.
    #[cfg(test)]
    pub(super) fn waits(&self) -> usize {
        self.waiting().len()
    }

    /// Requests that were not added up, since the book was in use for so long.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// These routes are about to be served, and no others: forgets the series of those that are no
    /// more, as ingress-nginx does.
    pub(super) fn publish(&self, model: &Model, routes: &RouteTable) {
        if self.enabled {
            let mut book = self.book();
            self.catch_up(&mut book);
            book.publish(model, routes, Instant::now());
        }
    }

    /// What was counted since this reader looked last. Workers leave their batches meanwhile.
    pub(super) fn since(&self, seen: &mut Seen) -> Recent {
        let mut book = self.book();
        self.catch_up(&mut book);
        let mut recent = Recent { other: seen.other(&book.other), series: Vec::new() };
        for (_, set) in &book.sets {
            for (variant, canary, block) in &set.variants {
                let counted = seen.series(&book.blocks, *block, &set.labels, (*variant, canary));
                recent.series.extend(counted);
            }
        }
        recent
    }

    /// All that was counted and added up so far. Copied, so that workers do not wait for readers.
    pub(super) fn counted(&self) -> Counted {
        let mut book = self.book();
        self.catch_up(&mut book);
        let mut series = Vec::with_capacity(book.sets.len());
        for (_, set) in &book.sets {
            series.extend(set.variants.iter().map(|(variant, canary, block)| Series {
                labels: Arc::clone(&set.labels),
                canary: canary.clone(),
                variant: *variant,
                block: *block,
            }));
        }
        Counted { series, blocks: book.blocks.clone() }
    }
}

impl Book {
    fn add(&mut self, batch: &mut Vec<Record>) {
        for record in batch.drain(..) {
            let block = match self.known.get(&(record.number, record.variant)) {
                Some(block) if record.canary.is_none() => *block,
                _ => self.find(&record),
            };
            if block == UNCOUNTED {
                self.other.add(record.variant);
            } else {
                self.blocks.add(block, &record);
            }
        }
    }

    /// The block of a record.
    fn find(&mut self, record: &Record) -> u32 {
        let block = self.look_up(record).unwrap_or(UNCOUNTED);
        // Statuses are endpoints' to make up: what is known is bounded as the series are.
        let most = VARIANTS * (self.sets.len() + self.numbers.len());
        if record.canary.is_none() && self.known.len() < most {
            self.known.insert((record.number, record.variant), block);
        }
        block
    }

    fn look_up(&mut self, record: &Record) -> Option<u32> {
        let (first, numbers) = self.numbers.range(..=record.number).next_back()?;
        let place = usize::try_from(record.number - first).ok()?;
        let set = self.sets.get_mut(*numbers.sets.get(place)?)?;
        let canary: Option<Arc<str>> =
            record.canary.as_ref().map(|backend| backend.key.to_string().into());
        let mut variant = record.variant;
        if self.status_classes {
            variant = variant.by_class();
        }
        let of = |set: &Set, variant| {
            let own = set.variants.iter().find(|own| own.0 == variant && own.1 == canary);
            own.map(|own| own.2)
        };
        if let Some(block) = of(set, variant) {
            return Some(block);
        }
        if set.variants.len() >= VARIANTS || self.blocks.in_use() >= self.most {
            variant = variant.coarse();
            if let Some(block) = of(set, variant) {
                return Some(block);
            }
        }
        let block = self.blocks.take();
        set.variants.push((variant, canary, block));
        Some(block)
    }

    fn set(&mut self, labels: Labels) -> usize {
        if let Some(place) = self.by_labels.get(&labels) {
            return *place;
        }
        let labels = Arc::new(labels);
        let set = Set { labels: Arc::clone(&labels), variants: Vec::new(), mark: self.mark };
        let place = self.sets.insert(set);
        self.by_labels.insert(labels, place);
        place
    }

    fn publish(&mut self, model: &Model, routes: &RouteTable, now: Instant) {
        self.mark += 1;
        let is_renamed = self.renamed(model);
        let mut renumbered = Vec::new();
        for host in model.hosts.iter() {
            let Some(table) = routes.table(&host.name) else { continue };
            let first = table.first_number();
            if !self.numbers.contains_key(&first) {
                let sets = self.sets_of(host, model);
                let table = Arc::downgrade(table);
                self.numbers.insert(first, Numbers { sets, table, mark: 0, dead: None });
            } else if host.routes.iter().chain(&host.app_root).any(&is_renamed) {
                let sets = self.sets_of(host, model);
                renumbered.push(first..first.saturating_add(sets.len() as u64));
                if let Some(numbers) = self.numbers.get_mut(&first) {
                    numbers.sets = sets;
                }
            }
            self.mark(first);
        }
        if !renumbered.is_empty() {
            renumbered.sort_by_key(|range| range.start);
            self.known.retain(|(number, _), _| !contains(&renumbered, *number));
        }
        self.mark(0);
        let canaries = canaries(model);
        for (_, set) in &mut self.sets {
            set.variants.retain(|(_, canary, block)| {
                let is_one = canary.as_ref().is_none_or(|canary| canaries.contains(&**canary));
                if !is_one {
                    self.blocks.give(*block);
                }
                is_one
            });
        }
        self.prune(now);
    }

    /// Whether a route's Service is called otherwise than when it was published last.
    fn renamed(&mut self, model: &Model) -> impl Fn(&Arc<Route>) -> bool + use<> {
        let names: Vec<_> = model.backends.iter().map(|own| Arc::clone(&own.key.service)).collect();
        let differs: HashSet<usize> =
            (0..names.len()).filter(|id| names.get(*id) != self.services.get(*id)).collect();
        self.services = names;
        move |route| match &route.target {
            Target::Backend(id) if !differs.is_empty() => {
                usize::try_from(id.0).is_ok_and(|id| differs.contains(&id))
            }
            _ => false,
        }
    }

    /// What these numbers belong to is served.
    fn mark(&mut self, first: u64) {
        let Some(numbers) = self.numbers.get_mut(&first) else { return };
        numbers.mark = self.mark;
        for place in &numbers.sets {
            if let Some(set) = self.sets.get_mut(*place) {
                set.mark = self.mark;
            }
        }
    }

    /// The sets of a host: its own, those of its routes, that of `app-root`.
    fn sets_of(&mut self, host: &Host, model: &Model) -> Box<[usize]> {
        let routes = host.routes.iter().map(Some).chain([host.app_root.as_ref()]);
        let all: Vec<_> = std::iter::once(None)
            .chain(routes)
            .map(|route| self.labels_of(&host.name, route.map(|route| &**route), Some(model)))
            .collect();
        all.into_iter().map(|labels| labels.map_or(NO_SET, |labels| self.set(labels))).collect()
    }

    /// `None`: its requests are not counted.
    fn labels_of(
        &self,
        host: &HostName,
        route: Option<&Route>,
        model: Option<&Model>,
    ) -> Option<Labels> {
        let is_defined = matches!(host, HostName::Exact(_));
        if self.per_host && !is_defined && !self.per_undefined_host {
            return None;
        }
        let mut labels = Labels { host: self.per_host.then(|| label(host)), ..Labels::default() };
        let Some(route) = route else { return Some(labels) };
        labels.path = Arc::clone(&route.path);
        // The built-in default backend is no Ingress.
        if route.ingress.kind == "Ingress" {
            labels.namespace = Arc::clone(&route.ingress.namespace);
            labels.ingress = Arc::clone(&route.ingress.name);
        }
        if let (Target::Backend(id), Some(model)) = (&route.target, model)
            && let Some(backend) = usize::try_from(id.0).ok().and_then(|id| model.backends.get(id))
        {
            let BackendKey { service, .. } = &backend.key;
            labels.service = Arc::clone(service);
        }
        Some(labels)
    }

    /// Forgets the series that are not served any more, and numbers that no request can have.
    fn prune(&mut self, now: Instant) {
        let mark = self.mark;
        let mut freed = HashSet::new();
        let mut removed = HashSet::new();
        self.sets.retain(|place, set| {
            if set.mark == mark {
                return true;
            }
            freed.extend(set.variants.iter().map(|(_, _, block)| *block));
            self.by_labels.remove(&set.labels);
            removed.insert(place);
            false
        });
        freed.iter().for_each(|block| self.blocks.give(*block));
        let mut forgotten = Vec::new();
        self.numbers.retain(|first, numbers| {
            if numbers.mark == mark {
                numbers.dead = None;
                return true;
            }
            for place in &mut numbers.sets {
                if removed.contains(place) {
                    *place = NO_SET;
                }
            }
            if numbers.table.strong_count() > 0 {
                return true;
            }
            let keep = now.duration_since(*numbers.dead.get_or_insert(now)) < GRACE;
            if !keep {
                forgotten.push(*first..first.saturating_add(numbers.sets.len() as u64));
            }
            keep
        });
        if !freed.is_empty() || !forgotten.is_empty() {
            forgotten.sort_by_key(|range| range.start);
            self.known.retain(|(number, _), block| {
                !contains(&forgotten, *number) && !freed.contains(block)
            });
        }
    }
}

impl Counted {
    pub(crate) fn requests(&self, series: &Series) -> u64 {
        self.blocks.requests(series.block)
    }

    /// Bytes that came from clients and went to them.
    pub(crate) fn bytes(&self, series: &Series) -> (u64, u64) {
        self.blocks.bytes(series.block)
    }

    /// A duration by its place in [`super::TIMES`]; `None`: it is not gathered.
    pub(crate) fn time(&self, series: &Series, index: usize) -> Option<Histogram> {
        self.blocks.time(series.block, index)
    }

    /// A size by its place in [`super::SIZES`]; `None`: it is not gathered.
    pub(crate) fn size(&self, series: &Series, index: usize) -> Option<Histogram> {
        self.blocks.size(series.block, index)
    }

    /// How much memory the histograms take. Bytes.
    pub(crate) fn memory(&self) -> usize {
        self.blocks.memory()
    }
}

impl Series {
    pub(crate) fn method(&self) -> &'static str {
        self.variant.method()
    }

    pub(crate) fn status(&self) -> String {
        self.variant.status()
    }

    /// The class of the status, 1 to 5; 0: it has none.
    pub(crate) fn class(&self) -> usize {
        match self.variant.by_class().status {
            class @ 1..=5 => usize::from(class),
            _ => 0,
        }
    }
}

/// One of these ranges, which are sorted and do not overlap, has the number.
fn contains(ranges: &[Range<u64>], number: u64) -> bool {
    let place = ranges.partition_point(|range| range.start <= number);
    let before = place.checked_sub(1).and_then(|place| ranges.get(place));
    before.is_some_and(|range| range.contains(&number))
}

/// The backends that are asked instead of others.
fn canaries(model: &Model) -> HashSet<String> {
    let canaries = model.backends.iter().filter_map(|one| one.balancing.canary.as_ref());
    canaries
        .filter_map(|own| model.backends.get(usize::try_from(own.backend.0).ok()?))
        .map(|backend| backend.key.to_string())
        .collect()
}

fn label(name: &HostName) -> Arc<str> {
    match name {
        HostName::Exact(name) => Arc::clone(name),
        HostName::Wildcard(suffix) => format!("*.{suffix}").into(),
        HostName::CatchAll => Arc::from("_"),
    }
}
