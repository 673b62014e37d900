//! The last so many seconds by host or by Ingress.

use std::{sync::Arc, time::Instant};

use hashbrown::HashMap;

use super::sample::{Sample, Sum, Tally};

/// What requests are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Host,
    Ingress,
}

impl By {
    /// What a tally belongs to: namespace and Ingress, or nothing and the host; `None`: it is not told
    /// apart so.
    fn key(self, tally: &Tally) -> Option<(&str, &str)> {
        let labels = &*tally.labels;
        match self {
            Self::Host => labels.host.as_deref().map(|host| ("", host)),
            Self::Ingress => {
                (!labels.ingress.is_empty()).then_some((&*labels.namespace, &*labels.ingress))
            }
        }
    }
}

/// What somebody had in a window. What it is not told apart by is empty.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) namespace: String,
    pub(crate) ingress: String,
    pub(crate) host: String,
    pub(crate) sum: Sum,
    /// How many requests there were, in equal parts of the window; the last may be shorter.
    pub(crate) line: Vec<u64>,
}

impl Row {
    fn of(by: By, (namespace, name): (&str, &str), length: usize) -> Self {
        let (ingress, host) = if by == By::Host { ("", name) } else { (name, "") };
        Self {
            namespace: namespace.into(),
            ingress: ingress.into(),
            host: host.into(),
            sum: Sum::default(),
            line: vec![0; length],
        }
    }

    /// What it is sorted by.
    pub(crate) fn name(&self) -> (&str, &str, &str) {
        (&self.host, &self.namespace, &self.ingress)
    }
}

/// The samples of the last so many seconds.
pub(crate) fn last(samples: &[Arc<Sample>], seconds: usize, now: Instant) -> &[Arc<Sample>] {
    let is_older = |sample: &Arc<Sample>| {
        let begun = sample.at.checked_sub(sample.lasted).unwrap_or(sample.at);
        // Half a second of tolerance: the last sample is up to one old.
        now.saturating_duration_since(begun).as_millis() > seconds as u128 * 1000 + 500
    };
    let first = samples.partition_point(is_older);
    // Those whose tallies are forgotten would make all others too small.
    let first =
        samples.iter().rposition(|sample| sample.is_cut).map_or(first, |cut| first.max(cut + 1));
    samples.get(first..).unwrap_or_default()
}

/// Who had requests in these samples, in no order; their lines have so many points at most.
pub(crate) fn rows(samples: &[Arc<Sample>], by: By, points: usize) -> Vec<Row> {
    let each = samples.len().div_ceil(points.max(1)).max(1);
    let length = samples.len().div_ceil(each);
    let mut rows: HashMap<(&str, &str), Row> = HashMap::new();
    for (place, sample) in samples.iter().enumerate() {
        for tally in &sample.tallies {
            let Some(key) = by.key(tally) else { continue };
            let row = rows.entry(key).or_insert_with(|| Row::of(by, key, length));
            row.sum.add(&tally.sum);
            if let Some(point) = row.line.get_mut(place / each) {
                *point += tally.sum.requests();
            }
        }
    }
    rows.into_values().collect()
}

/// Of each of these samples, what belongs to this name: an Ingress with its namespace, or a host
/// with an empty one.
pub(crate) fn of(samples: &[Arc<Sample>], by: By, name: (&str, &str)) -> Vec<Sum> {
    let one = |sample: &Arc<Sample>| {
        let mut sum = Sum::default();
        for tally in sample.tallies.iter().filter(|tally| by.key(tally) == Some(name)) {
            sum.add(&tally.sum);
        }
        sum
    };
    samples.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proxy::counters::Labels;

    /// A second that ended so long ago, with so many requests for each host.
    fn second(now: Instant, ago: u64, hosts: &[(&str, u32)]) -> Arc<Sample> {
        let tally = |(host, requests): &(&str, u32)| {
            let labels = Labels {
                host: Some((*host).into()),
                namespace: "web".into(),
                ingress: "shop".into(),
                ..Labels::default()
            };
            let sum = Sum { classes: [0, 0, *requests, 0, 0, 0], ..Sum::default() };
            Tally { labels: Arc::new(labels), sum }
        };
        let at = now - Duration::from_secs(ago);
        Arc::new(Sample { tallies: hosts.iter().map(tally).collect(), ..Sample::empty(at) })
    }

    fn samples(now: Instant) -> Vec<Arc<Sample>> {
        (0..10).rev().map(|ago| second(now, ago, &[("a", 1), ("b", 2)])).collect()
    }

    #[test]
    fn a_window_is_the_last_seconds() {
        let now = Instant::now() + Duration::from_secs(3600);
        let mut all = samples(now);
        assert_eq!(last(&all, 4, now).len(), 4);
        assert_eq!(last(&all, 600, now).len(), 10);
        assert_eq!(last(&[], 600, now).len(), 0);
        // Nothing was looked at for a while.
        assert_eq!(last(&all, 4, now + Duration::from_secs(2)).len(), 2);
        // Of the first seconds it is forgotten whose the requests were.
        all[7] = Arc::new(all[7].without_tallies());
        assert_eq!(last(&all, 600, now).len(), 2);
    }

    #[test]
    fn rows_are_sums_of_what_belongs_together() {
        let now = Instant::now() + Duration::from_secs(3600);
        let all = samples(now);
        let mut hosts = rows(&all, By::Host, 4);
        hosts.sort_by(|one, two| one.name().cmp(&two.name()));
        let told: Vec<_> =
            hosts.iter().map(|row| (&*row.host, row.sum.requests(), &row.line[..])).collect();
        assert_eq!(told, [("a", 10, &[3, 3, 3, 1][..]), ("b", 20, &[6, 6, 6, 2][..])]);
        let ingresses = rows(&all, By::Ingress, 30);
        assert_eq!(ingresses.len(), 1);
        assert_eq!(ingresses[0].name(), ("", "web", "shop"));
        assert_eq!((ingresses[0].sum.requests(), ingresses[0].line.len()), (30, 10));
        let requests = |by, name| -> u64 { of(&all, by, name).iter().map(Sum::requests).sum() };
        assert_eq!(requests(By::Ingress, ("web", "shop")), 30);
        assert_eq!(requests(By::Host, ("", "b")), 20);
        assert_eq!(requests(By::Host, ("web", "shop")), 0);
    }
}
