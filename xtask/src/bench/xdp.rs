//! `cargo xtask bench xdp`: what a packet costs in the kernel tier. The measurement itself is
//! `testbed bench-xdp`, because it loads the programs.

use anyhow::Result;

use crate::{build, demo, privileges, step};

/// Arguments of `cargo xtask bench xdp`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often each case and the empty program take turns.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Calls of each in one turn.
    #[arg(long, default_value_t = 2000)]
    calls: u32,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let object = build::object(false)?;
    let mut command = privileges::as_root(&demo::testbed(Some(&object))?)?;
    command.args(["bench-xdp", "--rounds", &arguments.rounds.to_string()]);
    command.args(["--calls", &arguments.calls.to_string(), "--object"]).arg(object);
    step::attached("measuring the XDP programs", &mut command)
}
