//! Debug builds of the programs say what became of each packet: their lines go to the agent's log.

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

/// What passes the lines on until it is dropped; `None` for programs that say nothing. Must be
/// polled within a runtime.
pub(super) fn follow(object: &mut Ebpf) -> Option<impl Future<Output = ()> + Send + 'static> {
    // Release builds have no such map.
    let logger = EbpfLogger::init(object).ok()?;
    Some(async move {
        let mut logger = match AsyncFd::register_with_interest(logger, Interest::READABLE) {
            Ok(logger) => logger,
            Err(error) => {
                tracing::warn!(%error, "cannot read what the programs log");
                return;
            }
        };
        while let Ok(mut guard) = logger.readable_mut().await {
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    })
}
