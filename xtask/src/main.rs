//! Everything a person types: `cargo xtask <command>`. Each command is a file; those that need
//! tools call [`setup`] first, so that a fresh machine and a laptop in use run the same.
#![forbid(unsafe_code)]

mod build;
mod setup;
mod step;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, runs, tests and measures Penstock.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Finds or installs the eBPF toolchain and the Debian packages that the other commands need.
    Setup(setup::Arguments),
    /// Builds the eBPF object and the agent, optimised.
    Build(build::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Setup(arguments) => setup::main(&arguments),
        Command::Build(arguments) => build::main(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
