//! Debug builds of the programs say what became of each packet: their lines go to the agent's log.

use std::time::Duration;

use aya::Ebpf;
use aya_log::EbpfLogger;

/// Between two looks at the lines that wait. tokio can be woken by the ring buffer only through a
/// call that is unsafe, which a debugging aid is not worth.
const LOOK: Duration = Duration::from_millis(50);

/// What passes the lines on until it is dropped; `None` for programs that say nothing.
pub(super) fn follow(object: &mut Ebpf) -> Option<impl Future<Output = ()> + Send + 'static> {
    // Release builds have no such map.
    let mut logger = EbpfLogger::init(object).ok()?;
    Some(async move {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            logger.flush();
        }
    })
}
