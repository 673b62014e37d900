//! `cargo xtask bench control`: the agent beside a real API server. Needs Go, once.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use super::report;
use crate::{
    build::{self, Profile},
    demo, privileges, setup, workspace,
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
    /// How long objects change all the while, for each number of Ingresses: `90s`, `30m`.
    #[arg(long, default_value = "60s", value_parser = seconds)]
    churn: u64,
    /// How many events are timed, idle and in the churn.
    #[arg(long, default_value_t = 200)]
    events: usize,
    /// Write the table into docs/benchmarks/control.md.
    #[arg(long)]
    write: bool,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    setup::kubernetes()?;
    let agent = match &arguments.agent {
        Some(agent) => agent.clone(),
        None => build::agent_without_object(Profile::Count)?,
    };
    let counts: Vec<String> = arguments.ingresses.iter().map(usize::to_string).collect();
    let mut command = Command::new(demo::testbed(None)?);
    command.args(["bench-control", "--ingresses", &counts.join(",")]);
    command.args(["--churn", &arguments.churn.to_string()]);
    command.args(["--events", &arguments.events.to_string()]);
    command.args(["--machine", &format!("{}.", report::machine())]);
    if arguments.write {
        command.arg("--page").arg(workspace::root().join("docs/benchmarks/control.md"));
    }
    command.arg("--agent").arg(agent);
    privileges::become_it(command)
}

/// A time in seconds, of seconds or minutes.
fn seconds(text: &str) -> Result<u64, String> {
    let allowed = || "a time like `90s` or `30m`".to_owned();
    let (digits, each) = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(digits), _) => (digits, 1),
        (_, Some(digits)) => (digits, 60),
        _ => return Err(allowed()),
    };
    let number: u64 = digits.parse().map_err(|_no_number| allowed())?;
    number.checked_mul(each).filter(|seconds| *seconds > 0).ok_or_else(allowed)
}
