//! `cargo xtask bench`: measurements against the peers that people would use instead.

mod http;
mod peer;
mod process;
mod xdp;

use anyhow::Result;

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// CPU time per proxied request: Penstock, nginx and haproxy in turn, on one core each.
    Http(http::Arguments),
    /// Nanoseconds per packet of the XDP programs, above an empty one. Needs root.
    Xdp(xdp::Arguments),
}

pub(crate) fn main(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Http(arguments) => http::main(arguments),
        Bench::Xdp(arguments) => xdp::main(arguments),
    }
}
