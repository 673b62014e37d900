//! `testbed failover`: all cases, with and without the second chance, as a table.

use std::{
    fs,
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
    /// Writes the table there too, with what its columns mean.
    #[arg(long)]
    write: Option<PathBuf>,
}

/// What comes before the table.
const EXPLAINED: &str = "# What breaks while nodes come, go and fail\n\nBy `cargo xtask bench failover --write`, in network namespaces of one machine: five nodes (four where one\njoins), 120 connections that stay open and carry a request every 0.4 seconds, and 16 clients that connect\nanew for each. *Open* is how many of the former were open when the change began. *Broken* are those that\nwere cut although their owner lived, *broken with their owner* those whose agent or node died, *noticed\nafter* the longest time until their client knew. *Hung* are requests on open connections that took longer\nthan a second. Of the *new* connections after the change began, so many *failed*. Without *second chance* a\nrow of the table has one candidate, as in a balancer that remembers nothing.\n\n";

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let is_whole = arguments.only.is_none() && arguments.without;
    ensure!(arguments.write.is_none() || is_whole, "the table is of all cases, with and without");
    let binaries = Binaries { agent: arguments.agent.clone(), object: arguments.object.clone() };
    let mut out = io::stdout();
    writeln!(out, "{}", Outcome::HEAD)?;
    let mut table = format!("{EXPLAINED}{}\n", Outcome::HEAD);
    let mut missed = Vec::new();
    let only = arguments.only.as_deref().unwrap_or_default();
    for case in CASES.iter().filter(|case| case.name.contains(only)) {
        let chances: &[bool] = if arguments.without { &[true, false] } else { &[true] };
        for chance in chances {
            let outcome = failover::measure(case, *chance, &binaries)?;
            let row = outcome.row(case.name, *chance);
            writeln!(out, "{row}")?;
            table += &format!("{row}\n");
            out.flush()?;
            if *chance && outcome.broken + outcome.failed + outcome.hung > 0 {
                missed.push(format!("{}: {}", case.name, outcome.said.unwrap_or_default()));
            }
        }
    }
    if let Some(path) = &arguments.write {
        fs::write(path, table)?;
    }
    ensure!(missed.is_empty(), "connections broke, failed or hung:\n{}", missed.join("\n"));
    Ok(())
}
