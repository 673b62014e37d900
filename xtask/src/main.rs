//! Everything a person types: `cargo xtask <command>`. Each command is a file; those that need
//! tools call [`setup`] first, so that a fresh machine and a laptop in use run the same.
#![forbid(unsafe_code)]

mod bench;
mod book;
mod build;
mod cluster;
mod demo;
mod image;
mod kernels;
mod lint;
mod load;
mod manifests;
mod privileges;
mod run;
mod setup;
mod step;
mod test;
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
    /// Makes the container image, as a tarball in the OCI's layout: needs no container engine.
    Image(image::Arguments),
    /// Writes deploy/kubernetes/penstock.yaml from the chart.
    Manifests(manifests::Arguments),
    /// Makes a cluster in a box, sends it requests, kills a node's agent and shows what happens.
    Demo(demo::Arguments),
    /// A real Kubernetes cluster on this machine, without Docker: `up`, `kubectl …`, `down`.
    Cluster(cluster::Arguments),
    /// Runs every check and every test.
    Test(test::Arguments),
    /// Checks formatting, lints and dependencies.
    Lint,
    /// Builds the book of docs/, for a browser.
    Book,
    /// Boots older kernels under emulation and runs the packet tests and the agent on them.
    Kernels(kernels::Arguments),
    /// Builds the agent and runs it with the rights it needs: `cargo xtask run -- --manifests DIR`.
    Run(run::Arguments),
    /// Measures Penstock against its peers.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Attaches the XDP program alone to an interface and shows its counters.
    Load(load::Load),
    /// Shows the counters and takes the program away.
    Unload(load::Unload),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Setup(arguments) => setup::main(&arguments),
        Command::Build(arguments) => build::main(&arguments),
        Command::Image(arguments) => image::main(&arguments),
        Command::Manifests(arguments) => manifests::main(&arguments),
        Command::Demo(arguments) => demo::main(&arguments),
        Command::Cluster(arguments) => cluster::main(&arguments),
        Command::Test(arguments) => test::main(&arguments),
        Command::Lint => lint::main(),
        Command::Book => book::main(),
        Command::Kernels(arguments) => kernels::main(&arguments),
        Command::Run(arguments) => run::main(&arguments),
        Command::Bench(bench) => bench::main(&bench),
        Command::Load(arguments) => load::load(&arguments),
        Command::Unload(arguments) => load::unload(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::complain(&format!("error: {error:#}"));
            error.downcast_ref().map_or(ExitCode::FAILURE, |e: &step::Failed| e.code().into())
        }
    }
}
