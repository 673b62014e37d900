//! The demo, the cluster of real nodes, what keeps the machine clean after it, and the measurement of the XDP programs.
#![forbid(unsafe_code)]

mod bench_control;
mod bench_l4;
mod cluster_commands;
mod demo;
mod failover_command;
mod soak_command;
mod verify;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

/// A cluster in a box.
#[derive(Parser)]
enum Command {
    /// Shows what Penstock does with real requests.
    Demo(demo::Arguments),
    /// Measures how the agent follows a cluster.
    BenchControl(bench_control::Arguments),
    /// Measures the XDP programs.
    BenchL4(bench_l4::Arguments),
    /// Changes nodes while hundreds of connections are open, and counts what breaks.
    Failover(failover_command::Arguments),
    /// Minutes of changes under load.
    Soak(soak_command::Arguments),
    /// Loads the programs and shows what the kernel's verifier thinks of each.
    Verify(verify::Arguments),
    /// A cluster of real nodes on this machine.
    Cluster(cluster_commands::Arguments),
    /// Takes away what boxes of dead processes left.
    Clean,
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::BenchControl(arguments) => bench_control::run(&arguments),
        Command::BenchL4(arguments) => bench_l4::run(&arguments),
        Command::Failover(arguments) => failover_command::run(&arguments),
        Command::Soak(arguments) => soak_command::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Cluster(arguments) => cluster_commands::run(arguments),
        Command::Clean => {
            let _ = writeln!(io::stdout(), "{} boxes taken away", testbed::clean());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
