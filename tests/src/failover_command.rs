//! `testbed failover`: all cases, with and without the second chance, as a table.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Result, ensure};
use testbed::{
    Binaries,
    failover::{self, CASES, Outcome},
};

/// Arguments of `testbed failover`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The agent.
    #[arg(long)]
    agent: PathBuf,
    /// The eBPF object.
    #[arg(long)]
    object: PathBuf,
    /// Only cases whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Also with one candidate per row, to show what the others are good for.
    #[arg(long)]
    without: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binaries = Binaries { agent: arguments.agent.clone(), object: arguments.object.clone() };
    let mut out = io::stdout();
    writeln!(out, "{}", Outcome::HEAD)?;
    let mut missed = Vec::new();
    let only = arguments.only.as_deref().unwrap_or_default();
    for case in CASES.iter().filter(|case| case.name.contains(only)) {
        let chances: &[bool] = if arguments.without { &[true, false] } else { &[true] };
        for chance in chances {
            let outcome = failover::measure(case, *chance, &binaries)?;
            writeln!(out, "{}", outcome.row(case.name, *chance))?;
            out.flush()?;
            if *chance && outcome.broken + outcome.failed + outcome.hung > 0 {
                missed.push(format!("{}: {}", case.name, outcome.said.unwrap_or_default()));
            }
        }
    }
    ensure!(missed.is_empty(), "connections broke, failed or hung:\n{}", missed.join("\n"));
    Ok(())
}
