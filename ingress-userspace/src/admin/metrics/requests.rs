//! What is counted by Ingress.

use std::fmt;

use super::{
    family::{self, Family},
    page::{Labels, Page},
};
use crate::proxy::counters::{Counted, Histogram, SIZES, Series, TIMES};

/// In the order of [`TIMES`].
const DURATIONS: [&Family; TIMES.len()] = [
    &family::REQUEST_DURATION,
    &family::RESPONSE_DURATION,
    &family::HEADER_DURATION,
    &family::CONNECT_DURATION,
];
/// In the order of [`SIZES`].
const LENGTHS: [&Family; SIZES.len()] =
    [&family::REQUEST_SIZE, &family::RESPONSE_SIZE, &family::BYTES_SENT];

pub(super) fn write(page: &mut Page<'_>, counted: &Counted, is_shown: &[bool; 8]) -> fmt::Result {
    let [requests, times @ .., request_size, response_size, bytes_sent] = is_shown;
    // Escaped once for all families.
    let labelled: Vec<_> =
        counted.series.iter().map(|series| (labels(page, series), series)).collect();
    if *requests {
        let mut lines = page.family(&family::REQUESTS)?;
        for (labels, series) in &labelled {
            lines.whole_of(labels, counted.requests(series))?;
        }
    }
    for (index, family) in DURATIONS.into_iter().enumerate() {
        if times.get(index).is_some_and(|shown| *shown) {
            histograms(page, family, &labelled, |series| counted.time(series, index))?;
        }
    }
    let sizes = [request_size, response_size, bytes_sent];
    for (index, (family, shown)) in LENGTHS.into_iter().zip(sizes).enumerate() {
        if *shown {
            histograms(page, family, &labelled, |series| counted.size(series, index))?;
        }
    }
    Ok(())
}

fn labels(page: &Page<'_>, series: &Series) -> Labels {
    let own = &*series.labels;
    let status = series.status();
    let canary = series.canary.as_deref().unwrap_or_default();
    let values = [
        &*status,
        series.method(),
        &*own.path,
        &*own.namespace,
        &*own.ingress,
        &*own.service,
        canary,
        own.host.as_deref().unwrap_or_default(),
    ];
    let told = if own.host.is_some() { values.len() } else { values.len() - 1 };
    page.labels(&family::REQUESTS, values.get(..told).unwrap_or_default())
}

fn histograms(
    page: &mut Page<'_>,
    family: &'static Family,
    labelled: &[(Labels, &Series)],
    histogram: impl Fn(&Series) -> Option<Histogram>,
) -> fmt::Result {
    let mut lines = page.family(family)?;
    for (labels, series) in labelled {
        match histogram(series) {
            // Nothing was measured: a request that no endpoint was asked for.
            Some(own) if own.count > 0 => {
                lines.histogram(labels, own.sum, own.count, &own.buckets)?;
            }
            _ => {}
        }
    }
    Ok(())
}
