//! The memory of a series: how many requests fell into which bucket, and their sums. One block for
//! all its histograms, so that to count a request touches three cache lines of it: the sums, the
//! lowest buckets of the durations, and the highest of the sizes.

use hashbrown::HashMap;

use super::record::{NONE, Record, long};
use crate::config::Metrics;

/// Durations that are measured, in the order of [`Layout::times`].
pub(crate) const TIMES: [&str; 4] = [
    "request_duration_seconds",
    "response_duration_seconds",
    "header_duration_seconds",
    "connect_duration_seconds",
];
/// Sizes, in the order of [`Layout::sizes`].
pub(crate) const SIZES: [&str; 3] = ["request_size", "response_size", "bytes_sent"];

/// Where in a block what is counted.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    time_bounds: Bounds,
    length_bounds: Bounds,
    size_bounds: Bounds,
    /// Which of [`TIMES`] are gathered: their first cell, and how far it is to the next bucket.
    times: [Option<Place>; 4],
    /// Likewise of [`SIZES`].
    sizes: [Option<Place>; 3],
    /// Cells of a block.
    stride: usize,
}

/// Where the buckets of a histogram are.
#[derive(Clone, Copy, Debug)]
struct Place {
    first: usize,
    step: usize,
}

/// Upper bounds of buckets.
#[derive(Clone, Debug)]
struct Bounds {
    /// As shown.
    shown: Box<[f64]>,
    /// In what is counted: microseconds or bytes.
    inner: Box<[u64]>,
}

impl Bounds {
    fn new(shown: &[f64], scale: f64) -> Self {
        // A bound of 0.1 s is 100 000 µs also where the product is a little less.
        let inner = shown.iter().map(|bound| (bound * scale + 1e-6).floor() as u64).collect();
        Self { shown: shown.into(), inner }
    }

    fn buckets(&self) -> usize {
        self.shown.len() + 1
    }

    fn bucket(&self, value: u64) -> usize {
        // Without a branch: there are few, and which it is cannot be foreseen.
        self.inner.iter().filter(|bound| value > **bound).count()
    }
}

impl Layout {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let time_bounds = Bounds::new(&metrics.time_buckets, 1e6);
        let length_bounds = Bounds::new(&metrics.length_buckets, 1.0);
        let size_bounds = Bounds::new(&metrics.size_buckets, 1.0);
        let is_gathered = |name: &str| !metrics.excluded.iter().any(|own| own == name);
        // The same bucket of all durations side by side: what is quick is quick in all of them.
        let step = TIMES.iter().filter(|name| is_gathered(name)).count();
        let mut next = 0..;
        let times = TIMES
            .map(|name| is_gathered(name).then(|| Place { first: next.next().unwrap_or(0), step }));
        let mut stride = step * time_bounds.buckets();
        let sizes = SIZES.map(|name| {
            let bounds = if name == "bytes_sent" { &size_bounds } else { &length_bounds };
            is_gathered(name).then(|| {
                let first = stride;
                stride += bounds.buckets();
                Place { first, step: 1 }
            })
        });
        Self { time_bounds, length_bounds, size_bounds, times, sizes, stride }
    }

    fn size_bounds(&self, index: usize) -> &Bounds {
        if index == 2 { &self.size_bounds } else { &self.length_bounds }
    }
}

/// What is added up of a series: a cache line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) requests: u64,
    /// Microseconds, in the order of [`TIMES`].
    pub(super) times: [u64; 4],
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// The blocks of all series.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    layout: Layout,
    sums: Vec<Sums>,
    cells: Vec<u32>,
    /// How often a cell has begun again at 0.
    carries: HashMap<usize, u64>,
    free: Vec<u32>,
}

/// A histogram as it is shown.
#[derive(Debug, PartialEq)]
pub(crate) struct Histogram {
    pub(crate) sum: f64,
    pub(crate) count: u64,
    /// By upper bound, the last one for all: not cumulative.
    pub(crate) buckets: Vec<(f64, u64)>,
}

impl Blocks {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            sums: Vec::new(),
            cells: Vec::new(),
            carries: HashMap::new(),
            free: Vec::new(),
        }
    }

    /// Blocks that were taken and not given back.
    pub(super) fn in_use(&self) -> usize {
        self.sums.len() - self.free.len()
    }

    /// A block of zeros.
    pub(super) fn take(&mut self) -> u32 {
        if let Some(block) = self.free.pop() {
            return block;
        }
        let block = u32::try_from(self.sums.len()).unwrap_or(u32::MAX);
        self.sums.push(Sums::default());
        self.cells.resize(self.cells.len() + self.layout.stride, 0);
        block
    }

    pub(super) fn give(&mut self, block: u32) {
        let range = self.range(block);
        if !self.carries.is_empty() {
            self.carries.retain(|cell, _| !range.contains(cell));
        }
        if let (Some(sums), Some(cells)) =
            (self.sums.get_mut(block as usize), self.cells.get_mut(range))
        {
            *sums = Sums::default();
            cells.fill(0);
            self.free.push(block);
        }
    }

    fn range(&self, block: u32) -> std::ops::Range<usize> {
        let first = block as usize * self.layout.stride;
        first..first + self.layout.stride
    }

    pub(super) fn add(&mut self, block: u32, record: &Record) {
        let range = self.range(block);
        let first = range.start;
        let (Some(sums), Some(cells)) =
            (self.sums.get_mut(block as usize), self.cells.get_mut(range))
        else {
            return;
        };
        sums.requests += 1;
        sums.received = sums.received.wrapping_add(record.received);
        sums.sent = sums.sent.wrapping_add(record.sent);
        let mut count = |cell: usize| {
            if let Some(number) = cells.get_mut(cell) {
                let (sum, carry) = number.overflowing_add(1);
                *number = sum;
                if carry {
                    *self.carries.entry(first + cell).or_default() += 1;
                }
            }
        };
        let layout = &self.layout;
        let times = [record.request, record.response, long(record.header), long(record.connect)];
        for ((place, value), sum) in layout.times.iter().zip(times).zip(&mut sums.times) {
            let (Some(place), true) = (place, value != NONE) else { continue };
            *sum = sum.wrapping_add(value);
            count(place.first + place.step * layout.time_bounds.bucket(value));
        }
        let sizes = [record.received, record.sent, record.sent];
        for (index, (place, value)) in layout.sizes.iter().zip(sizes).enumerate() {
            if let Some(place) = place {
                count(place.first + layout.size_bounds(index).bucket(value));
            }
        }
    }

    pub(super) fn requests(&self, block: u32) -> u64 {
        self.sums.get(block as usize).map_or(0, |sums| sums.requests)
    }

    pub(super) fn sums(&self, block: u32) -> Sums {
        self.sums.get(block as usize).copied().unwrap_or_default()
    }

    /// The buckets of the duration of requests, each of which begins again at 0 after the highest
    /// number; none where it is not gathered.
    pub(super) fn requested(&self, block: u32) -> impl Iterator<Item = u32> {
        let place = self.layout.times.first().copied().flatten();
        let first = self.range(block).start;
        let cells = place.into_iter().flat_map(move |place| {
            (0..self.layout.time_bounds.buckets())
                .map(move |bucket| first + place.first + place.step * bucket)
        });
        cells.map(|cell| self.cells.get(cell).copied().unwrap_or(0))
    }

    /// Bytes that came from clients and went to them.
    pub(super) fn bytes(&self, block: u32) -> (u64, u64) {
        self.sums.get(block as usize).map_or((0, 0), |sums| (sums.received, sums.sent))
    }

    /// A duration by its place in [`TIMES`]; `None`: it is not gathered.
    pub(super) fn time(&self, block: u32, index: usize) -> Option<Histogram> {
        let place = (*self.layout.times.get(index)?)?;
        let sum = *self.sums.get(block as usize)?.times.get(index)?;
        let sum = sum as f64 / 1e6;
        Some(self.histogram(block, place, &self.layout.time_bounds, sum))
    }

    /// A size by its place in [`SIZES`]; `None`: it is not gathered.
    pub(super) fn size(&self, block: u32, index: usize) -> Option<Histogram> {
        let place = (*self.layout.sizes.get(index)?)?;
        let sums = self.sums.get(block as usize)?;
        let sum = if index == 0 { sums.received } else { sums.sent };
        let sum = sum as f64;
        Some(self.histogram(block, place, self.layout.size_bounds(index), sum))
    }

    fn histogram(&self, block: u32, place: Place, bounds: &Bounds, sum: f64) -> Histogram {
        let first = self.range(block).start + place.first;
        let shown = bounds.shown.iter().copied().chain([f64::MAX]);
        let buckets: Vec<_> = shown
            .enumerate()
            .map(|(bucket, bound)| {
                let cell = first + place.step * bucket;
                let carried = self.carries.get(&cell).map_or(0, |carries| carries << 32);
                (bound, carried + u64::from(self.cells.get(cell).copied().unwrap_or(0)))
            })
            .collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        Histogram { sum, count, buckets }
    }

    /// How much memory the series take. Bytes.
    pub(super) fn memory(&self) -> usize {
        self.sums.capacity() * size_of::<Sums>() + self.cells.capacity() * size_of::<u32>()
    }
}
