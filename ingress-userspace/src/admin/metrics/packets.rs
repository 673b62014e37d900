//! What the kernel tier counted.

use std::fmt;

use super::{super::Board, family, page::Page};

pub(super) fn write(page: &mut Page<'_>, board: &Board) -> fmt::Result {
    let counters = match board.steering.counters() {
        Some(Ok(counters)) => counters,
        Some(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "no packet counters");
            return Ok(());
        }
        None => return Ok(()),
    };
    let mut lines = page.family(&family::XDP_PACKETS)?;
    for (reason, counters) in &counters {
        lines.whole(&[reason.verdict().name(), reason.name()], counters.packets)?;
    }
    let mut lines = page.family(&family::XDP_BYTES)?;
    for (reason, counters) in &counters {
        lines.whole(&[reason.verdict().name(), reason.name()], counters.bytes)?;
    }
    Ok(())
}
