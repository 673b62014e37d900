//! What the kernel's verifier thinks of each program.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Result, bail};
use testbed::programs;

/// Arguments of `testbed verify`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The eBPF object.
    object: PathBuf,
}

/// Prints a line for each program; fails if one is refused.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut refused = Vec::new();
    for (name, outcome) in programs::verify(&arguments.object)? {
        let line = match outcome {
            Ok(programs::Verified { instructions, bytes }) => {
                format!("{instructions} instructions verified, {bytes} bytes")
            }
            Err(error) => {
                refused.push(name);
                format!("refused: {}", last_words(&format!("{error:#}")))
            }
        };
        writeln!(io::stdout(), "@@ program {name}: {line}")?;
    }
    if !refused.is_empty() {
        bail!("refused: {}", refused.join(", "));
    }
    Ok(())
}

/// What the verifier says at the end of thousands of lines: its reason, then how far it came.
fn last_words(error: &str) -> &str {
    let reason = error.lines().rev().find(|line| {
        let figures = ["processed ", "verification time ", "stack depth ", ": "];
        !line.trim().is_empty() && !figures.iter().any(|start| line.starts_with(start))
    });
    reason.unwrap_or_default()
}
