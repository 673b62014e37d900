//! `cargo xtask load` and `unload`: the XDP program alone, on one interface of this machine.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    build::{self, Profile},
    privileges, step,
};

/// Arguments of `cargo xtask load`.
#[derive(clap::Args)]
pub(crate) struct Load {
    /// An interface to attach to; may be repeated.
    #[arg(long = "interface", required = true, value_name = "IF")]
    interfaces: Vec<String>,
    /// A virtual address to steer; may be repeated. Default: one that nobody has (203.0.113.1).
    #[arg(long)]
    vip: Vec<std::net::IpAddr>,
    #[command(flatten)]
    pins: Pins,
}

/// Arguments of `cargo xtask unload`.
#[derive(clap::Args)]
pub(crate) struct Unload {
    #[command(flatten)]
    pins: Pins,
}

#[derive(clap::Args)]
struct Pins {
    /// Where links and maps are pinned, in a mounted bpffs; the agent has a default.
    #[arg(long)]
    bpf_dir: Option<PathBuf>,
}

/// Attaches the program and shows its counters.
pub(crate) fn load(arguments: &Load) -> Result<()> {
    let mut load = vec!["load".to_owned()];
    let interfaces = arguments.interfaces.iter();
    load.extend(interfaces.flat_map(|name| ["--interface".to_owned(), name.clone()]));
    load.extend(arguments.vip.iter().flat_map(|vip| ["--vip".to_owned(), vip.to_string()]));
    let agent = agent()?;
    attached(&agent, &load, &arguments.pins)?;
    attached(&agent, &["counters".to_owned()], &arguments.pins)
}

/// Shows the counters and takes the program away.
pub(crate) fn unload(arguments: &Unload) -> Result<()> {
    let agent = agent()?;
    // A load that was cut short has no counters yet, and an older version's are not read; both have
    // to be taken away all the same.
    let counters = step::output(&mut l4(&agent, &["counters".to_owned()], &arguments.pins)?);
    attached(&agent, &["unload".to_owned()], &arguments.pins)?;
    match counters {
        Some(counters) => step::say(counters.trim_end()),
        None => step::complain("unloaded without showing the counters: they could not be read"),
    }
    Ok(())
}

fn agent() -> Result<PathBuf> {
    build::agent(Profile::Dev, &build::object(false)?)
}

fn attached(agent: &Path, arguments: &[String], pins: &Pins) -> Result<()> {
    let mut command = l4(agent, arguments, pins)?;
    step::attached(&format!("penstock l4 {}", arguments.join(" ")), &mut command)
}

fn l4(agent: &Path, arguments: &[String], pins: &Pins) -> Result<Command> {
    let mut command = privileges::as_root(agent)?;
    command.arg("l4").args(arguments);
    if let Some(directory) = &pins.bpf_dir {
        command.arg("--bpf-dir").arg(directory);
    }
    Ok(command)
}
