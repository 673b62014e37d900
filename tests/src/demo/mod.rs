//! The demo: what Penstock does, seen from outside.

mod counters;
mod failover;
mod hand;
mod page;
mod place;
mod requests;
mod spread;

use std::path::PathBuf;

use anyhow::{Context, Result};
use testbed::{Authority, Binaries, Cluster, Loopback, Options};

use place::Place;

/// Arguments of `testbed demo`; `cargo xtask demo` gives the paths.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The agent.
    #[arg(long)]
    agent: PathBuf,
    /// The eBPF object; needed unless `--no-l4` is given.
    #[arg(long, required_unless_present = "no_l4")]
    object: Option<PathBuf>,
    /// The manifests to load.
    #[arg(long)]
    manifests: PathBuf,
    /// Leave everything running afterwards, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// One agent on plain loopback, without the kernel tier.
    #[arg(long)]
    no_l4: bool,
}

/// How many nodes the demo's manifests describe.
const NODES: u8 = 3;
/// The host of `deploy/demo/secure.yaml`, and its Secret.
const SECURE: (&str, &str, &str) = ("secure.example.com", "secure", "secure-example-com");

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let authority = Authority::new()?;
    let (host, namespace, name) = SECURE;
    let secret = authority.secret(namespace, name, &[host])?;
    let more = vec![("secret.yaml".to_owned(), secret)];
    if arguments.no_l4 {
        let loopback = Loopback::start(arguments.agent.clone(), &arguments.manifests, &more)?;
        page::say("One agent on the loopback, without the kernel tier.");
        let mut place = Place::Loopback(loopback);
        requests::show(&mut place, &authority)?;
        if arguments.keep {
            hand::show(&place, &authority)?;
        }
        return Ok(());
    }
    let object = arguments.object.clone().context("--object is missing")?;
    let binaries = Binaries { agent: arguments.agent.clone(), object };
    page::say("A client, a router, three nodes with an agent each, and their pods …");
    let cluster = Cluster::start(Options {
        nodes: NODES,
        binaries: binaries.clone(),
        manifests: arguments.manifests.clone(),
        more,
        ..Options::default()
    })?;
    let mut place = Place::Cluster(cluster);
    requests::show(&mut place, &authority)?;
    let Place::Cluster(mut cluster) = place else { unreachable!("made above") };
    spread::show(&cluster)?;
    counters::show(&cluster, &binaries)?;
    failover::show(&mut cluster, &binaries)?;
    if arguments.keep {
        hand::show(&Place::Cluster(cluster), &authority)?;
    }
    Ok(())
}
