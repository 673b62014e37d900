//! `cargo xtask bench control`: the agent beside a real API server. Needs Go, once.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{
    build::{self, Profile},
    demo, privileges, setup,
};

/// Arguments of `cargo xtask bench control`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The agent's binary; default: one that is built for it.
    #[arg(long)]
    agent: Option<PathBuf>,
    /// How many Ingresses, with five paths each and two endpoints.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    ingresses: Vec<usize>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    setup::kubernetes()?;
    let agent = match &arguments.agent {
        Some(agent) => agent.clone(),
        None => build::agent_without_object(Profile::Count)?,
    };
    let counts: Vec<String> = arguments.ingresses.iter().map(usize::to_string).collect();
    let mut command = Command::new(demo::testbed(None)?);
    command.args(["bench-control", "--ingresses", &counts.join(","), "--agent"]).arg(agent);
    privileges::become_it(command)
}
