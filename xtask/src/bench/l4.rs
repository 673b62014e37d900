//! `cargo xtask bench l4`: what a packet costs in the kernel tier. The measurement itself is
//! `testbed bench-l4`, because it loads the programs.

use anyhow::Result;

use crate::{build, demo, privileges, step, workspace};

/// Arguments of `cargo xtask bench l4`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often each case and the empty program take turns.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// Packets of each in one turn.
    #[arg(long, default_value_t = 200_000)]
    packets: u32,
    /// Writes `docs/benchmarks/l4.md`.
    #[arg(long)]
    write: bool,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let object = build::object(false)?;
    let mut command = privileges::as_root(&demo::testbed(Some(&object))?)?;
    command.args(["bench-l4", "--rounds", &arguments.rounds.to_string()]);
    command.args(["--packets", &arguments.packets.to_string(), "--object"]).arg(object);
    if arguments.write {
        command.arg("--write").arg(workspace::root().join("docs/benchmarks/l4.md"));
    }
    step::attached("measuring the XDP programs", &mut command)
}
