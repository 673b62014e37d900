//! What was counted since somebody looked last, for who keeps a history: the difference of two looks
//! at the numbers that are there anyway. Nothing on the way of a request knows of it.

use std::sync::Arc;

use super::{
    book::Labels,
    layout::{Blocks, Sums},
    record::Variant,
};

/// Classes of status codes: `3` is `3xx`, 0 all that is none of them.
pub(crate) const CLASSES: usize = 6;

/// What is in no series, since its host is not to be told apart (`--metrics-per-undefined-host`).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Other([u64; CLASSES]);

impl Other {
    pub(super) fn add(&mut self, variant: Variant) {
        if let Some(number) = self.0.get_mut(class(variant)) {
            *number += 1;
        }
    }
}

/// What a reader has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    other: Other,
    /// By block. One that is given to another series begins again.
    series: Vec<Option<Before>>,
}

#[derive(Debug)]
struct Before {
    labels: Arc<Labels>,
    variant: Variant,
    canary: Option<Arc<str>>,
    sums: Sums,
    buckets: Box<[u32]>,
}

/// What was counted between two looks.
#[derive(Debug)]
pub(crate) struct Recent {
    /// Of no series, by class.
    pub(crate) other: [u64; CLASSES],
    /// Those that something was counted for, in no order.
    pub(crate) series: Vec<RecentSeries>,
}

/// The same for one series.
#[derive(Debug)]
pub(crate) struct RecentSeries {
    pub(crate) labels: Arc<Labels>,
    /// Below [`CLASSES`].
    pub(crate) class: usize,
    pub(crate) requests: u64,
    /// The sum of their durations.
    pub(crate) micros: u64,
    /// Bytes.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// By the bounds of `--time-buckets`, the last one for all above: not cumulative. Empty where
    /// durations are not gathered.
    pub(crate) buckets: Box<[u32]>,
}

impl Seen {
    pub(super) fn other(&mut self, now: &Other) -> [u64; CLASSES] {
        let before = std::mem::replace(&mut self.other, *now);
        std::array::from_fn(|class| now.0[class].saturating_sub(before.0[class]))
    }

    /// What is new of a series; `None`: nothing.
    pub(super) fn series(
        &mut self,
        blocks: &Blocks,
        block: u32,
        labels: &Arc<Labels>,
        (variant, canary): (Variant, &Option<Arc<str>>),
    ) -> Option<RecentSeries> {
        let place = block as usize;
        if self.series.len() <= place {
            self.series.resize_with(place + 1, || None);
        }
        let known = self.series.get_mut(place)?;
        let sums = blocks.sums(block);
        // Less than before: it was given back, and taken again for the same.
        let is_same = known.as_ref().is_some_and(|before| {
            Arc::ptr_eq(&before.labels, labels)
                && before.variant == variant
                && before.canary == *canary
                && before.sums.requests <= sums.requests
        });
        if !is_same {
            *known = None;
        }
        let old = known.as_ref().map(|before| before.sums).unwrap_or_default();
        if sums.requests == old.requests {
            return None;
        }
        let all: Box<[u32]> = blocks.requested(block).collect();
        let buckets = match known {
            None => all.clone(),
            Some(before) => {
                all.iter().zip(&before.buckets).map(|(now, old)| now.wrapping_sub(*old)).collect()
            }
        };
        let (labels, canary) = (Arc::clone(labels), canary.clone());
        let recent = RecentSeries {
            labels: Arc::clone(&labels),
            class: class(variant),
            requests: sums.requests - old.requests,
            micros: sums.times[0].wrapping_sub(old.times[0]),
            received: sums.received.wrapping_sub(old.received),
            sent: sums.sent.wrapping_sub(old.sent),
            buckets,
        };
        *known = Some(Before { labels, variant, canary, sums, buckets: all });
        Some(recent)
    }
}

fn class(variant: Variant) -> usize {
    let class = usize::from(variant.by_class().status);
    if class < CLASSES { class } else { 0 }
}
