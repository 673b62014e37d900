//! `cargo xtask bench failover`: what happens to connections while nodes come, go and fail. The
//! measurement itself is `testbed failover`, because it makes a cluster in a box.

use anyhow::Result;

use crate::{
    build::{self, Profile},
    demo, privileges, setup, step, workspace,
};

/// Arguments of `cargo xtask bench failover`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only cases whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Leave out the runs with one candidate per row, which show what the others are good for.
    #[arg(long)]
    quick: bool,
    /// Writes `docs/benchmarks/failover.md`.
    #[arg(long)]
    write: bool,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    setup::cluster_in_a_box()?;
    let object = build::object(false)?;
    let agent = build::agent(Profile::Dev, &object)?;
    let mut command = privileges::as_root(&demo::testbed(Some(&object))?)?;
    command.args(["failover", "--agent"]).arg(agent).arg("--object").arg(object);
    if let Some(only) = &arguments.only {
        command.args(["--only", only]);
    }
    if !arguments.quick {
        command.arg("--without");
    }
    if arguments.write {
        command.arg("--write").arg(workspace::root().join("docs/benchmarks/failover.md"));
    }
    step::attached("measuring failover", &mut command)
}
