//! `cargo xtask demo`: builds everything and becomes the cluster in a box.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{
    build::{self, Profile},
    privileges, setup, step, workspace,
};

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave everything running afterwards, to try by hand; Ctrl-C ends it.
    #[arg(long)]
    keep: bool,
    /// One agent on plain loopback: needs neither root nor BPF.
    #[arg(long)]
    no_l4: bool,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let mut command = if arguments.no_l4 {
        let agent = build::agent_without_object(Profile::Dev)?;
        let mut command = Command::new(testbed(None)?);
        command.args(["demo", "--no-l4", "--agent"]).arg(agent);
        command
    } else {
        setup::cluster_in_a_box()?;
        let object = build::object(false)?;
        let agent = build::agent(Profile::Dev, &object)?;
        let mut command = privileges::as_root(&testbed(Some(&object))?)?;
        command.args(["demo", "--agent"]).arg(agent).arg("--object").arg(object);
        command
    };
    command.arg("--manifests").arg(workspace::root().join("deploy/demo"));
    if arguments.keep {
        command.arg("--keep");
    }
    step::say("");
    privileges::become_it(command)
}

/// Builds the cluster in a box; the path of the binary. `object` is what the agent was built with:
/// with another one the code that they share would be built anew, now and the next time.
pub(crate) fn testbed(object: Option<&Path>) -> Result<PathBuf> {
    let mut command = Command::new(workspace::cargo());
    command
        .args(["build", "--locked", "--package", "penstock-tests", "--bin", "testbed"])
        .current_dir(workspace::root());
    build::embed(&mut command, object);
    step::run("building the cluster in a box", "testbed", &mut command)?;
    Ok(build::binary(Profile::Dev, "testbed"))
}
