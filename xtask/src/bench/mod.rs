//! `cargo xtask bench`: measurements against the peers that people would use instead.

mod case;
mod control;
mod failover;
mod failures;
mod http;
mod instructions;
mod l4;
mod load;
mod peer;
mod plot;
mod process;
mod report;
mod soak;
mod turn;

use anyhow::Result;

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// How fast the agent follows an API server with many objects, and its memory.
    Control(control::Arguments),
    /// What happens to connections while nodes come, go and fail. Needs root.
    Failover(failover::Arguments),
    /// CPU time, memory and latency: Penstock and its peers in turn, on one core each.
    Http(http::Arguments),
    /// Instructions per request of the agent, against those on record. Needs valgrind.
    Instructions(instructions::Arguments),
    /// Nanoseconds per packet of the XDP programs, above an empty one. Needs root.
    L4(l4::Arguments),
    /// Minutes of table changes, drains and killed agents under load. Needs root.
    Soak(soak::Arguments),
}

pub(crate) fn main(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Control(arguments) => control::main(arguments),
        Bench::Failover(arguments) => failover::main(arguments),
        Bench::Http(arguments) => http::main(arguments),
        Bench::Instructions(arguments) => instructions::main(arguments),
        Bench::L4(arguments) => l4::main(arguments),
        Bench::Soak(arguments) => soak::main(arguments),
    }
}

/// Installs every peer.
pub(crate) fn peers() -> Result<()> {
    peer::Name::ALL.into_iter().try_for_each(peer::Name::install)
}

/// Counts instructions per request and fails where they are more than those on record.
pub(crate) fn instructions() -> Result<()> {
    instructions::main(&instructions::Arguments::default())
}
