//! The metrics, as Prometheus reads them. Names and labels that people's dashboards know from
//! ingress-nginx keep them (reference section 10); ours begin with `penstock_`. A page may be large:
//! it is written on a thread of its own, in parts, while probes are answered.

mod configuration;
#[cfg(test)]
mod document;
mod family;
mod fingerprint;
mod packets;
mod page;
mod plain;
mod process;
mod requests;
mod runtime;
mod stream;

pub(crate) use fingerprint::Hashes;
pub(super) use stream::{Body, answer};

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use self::{page::Page, plain::Plain};
use super::Board;
use crate::config::OF_REQUESTS;

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Version 0.0.4.
    Plain,
    OpenMetrics,
}

/// What a page is made of.
struct Scrape(Arc<Board>);

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let board = &*self.0;
        let controller = [
            board.controller_class.clone(),
            board.controller_namespace.clone(),
            board.controller_pod.clone(),
        ];
        let mut page = Page::new(encoder, controller);
        let page = &mut page;
        let memory = {
            let counted = board.registry.requests();
            let shown = OF_REQUESTS.map(|name| {
                board.metrics.enabled && !board.metrics.excluded.iter().any(|own| own == name)
            });
            requests::write(page, &counted, &shown)?;
            counted.memory() as u64
        };
        configuration::write(page, board)?;
        let totals = board.registry.totals();
        runtime::process(page, &totals)?;
        runtime::proxy(page, &totals)?;
        runtime::state(page, board)?;
        configuration::durations(page, board)?;
        page.whole(&family::METRICS_MEMORY, memory)?;
        page.whole(&family::METRICS_LOST, board.registry.lost())?;
        packets::write(page, board)
    }
}

/// Writes a page.
fn write(board: Arc<Board>, format: Format, to: &mut impl fmt::Write) -> fmt::Result {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(board)));
    match format {
        Format::OpenMetrics => text::encode(to, &registry),
        Format::Plain => text::encode(&mut Plain::new(to), &registry),
    }
}
