//! `testbed soak`: minutes of changes, as a table.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Result, ensure};
use testbed::{Binaries, failover};

/// Arguments of `testbed soak`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The agent.
    #[arg(long)]
    agent: PathBuf,
    /// The eBPF object.
    #[arg(long)]
    object: PathBuf,
    /// For how many seconds.
    #[arg(long)]
    seconds: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binaries = Binaries { agent: arguments.agent.clone(), object: arguments.object.clone() };
    let soak = failover::soak(Duration::from_secs(arguments.seconds), &binaries)?;
    write!(io::stdout(), "{}", soak.lines())?;
    let wrong = soak.wrong();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
