//! `cargo xtask cluster`: a real Kubernetes cluster on this machine, to try Penstock in. Builds what
//! it takes and becomes the program that does it.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{
    build::{self, Profile},
    demo, privileges, setup,
};

/// Arguments of `cargo xtask cluster`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which cluster: several can be up side by side.
    #[arg(long, default_value = "penstock")]
    name: String,
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Makes the cluster: as many nodes as are asked for, with kubelet, containerd and kube-proxy.
    Up {
        /// How many nodes, up to nine.
        #[arg(default_value_t = 3)]
        nodes: u8,
    },
    /// Takes it away; nothing of it is left.
    Down,
    /// Says what there is of it, and how to reach it.
    Status,
    /// kubectl, with all rights.
    #[command(disable_help_flag = true)]
    Kubectl {
        /// kubectl's arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Runs a command on a node (n1, n2, …), beside the API server (control) or outside (client).
    Exec {
        /// Where.
        place: OsString,
        /// The command and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Gives every node an image from an archive: there is no registry.
    Import {
        /// The archive: of an OCI image layout, or as docker saves one.
        archive: OsString,
    },
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let programs = setup::kubernetes()?;
    let built = build::binary(Profile::Dev, "testbed");
    // What only asks a cluster does not wait for a build.
    let testbed = match &arguments.action {
        Action::Up { .. } => {
            setup::nodes()?;
            demo::testbed(None)?
        }
        _ if built.is_file() => built,
        _ => demo::testbed(None)?,
    };
    let mut command: Command = privileges::as_root(&testbed)?;
    command.args(["cluster", "--name", &arguments.name, "--programs"]).arg(programs);
    match &arguments.action {
        Action::Up { nodes } => command.args(["up", &nodes.to_string()]),
        Action::Down => command.arg("down"),
        Action::Status => command.arg("status"),
        Action::Kubectl { arguments } => command.arg("kubectl").args(arguments),
        Action::Exec { place, command: own } => command.arg("exec").arg(place).args(own),
        Action::Import { archive } => command.arg("import").arg(archive),
    };
    privileges::become_it(command)
}
