//! What the benchmarks of `cargo xtask bench` need and no package has: a backend that is never the
//! bottleneck, the floor under every proxy, and the loads that wrk and h2load cannot make.
#![forbid(unsafe_code)]

mod backend;
mod certificates;
mod forward;
mod handshakes;
mod poll;
mod rate;
mod response;
mod sequential;
mod splice;
mod tls;
mod websockets;

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Load, a backend and a floor for benchmarks of proxies.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answers `/` with 1 kB, `/1m` with 1 MiB, takes bodies and accepts WebSockets.
    Backend { listen: SocketAddr },
    /// Forwards bytes between each client and a connection of its own: what no proxy can beat.
    Forward { listen: SocketAddr, backend: SocketAddr },
    /// Writes an ECDSA and an RSA certificate of one authority for a host each.
    Certificates {
        directory: PathBuf,
        #[arg(long)]
        ecdsa: String,
        #[arg(long)]
        rsa: String,
    },
    /// TLS 1.3 handshakes, as many as the server makes.
    Handshakes(handshakes::Arguments),
    /// Requests at a fixed rate, whatever the answers take.
    Rate(rate::Arguments),
    /// One request after the other: for instruction counts.
    Sequential(sequential::Arguments),
    /// What passing a MiB on costs, copied and spliced.
    Splice {
        #[arg(long, default_value_t = 2000)]
        mebibytes: usize,
    },
    /// Opens WebSockets, says so, and keeps them until its input ends.
    Websockets {
        address: SocketAddr,
        #[arg(long)]
        host: String,
        #[arg(long)]
        connections: usize,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the file limit")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("cannot raise the file limit")?;
    match command {
        Command::Backend { listen } => backend::serve(listen),
        Command::Forward { listen, backend } => forward::forward(listen, backend),
        Command::Certificates { directory, ecdsa, rsa } => {
            certificates::write(&directory, &ecdsa, &rsa)
        }
        Command::Handshakes(arguments) => handshakes::main(&arguments),
        Command::Rate(arguments) => rate::main(&arguments),
        Command::Sequential(arguments) => sequential::main(&arguments),
        Command::Splice { mebibytes } => splice::main(mebibytes),
        Command::Websockets { address, host, connections } => {
            websockets::hold(address, &host, connections)
        }
    }
}

/// Prints a line for the caller to read, at once.
fn say(line: &str) -> Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// How long a peer may take for anything before a load gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);
