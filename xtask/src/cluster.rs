//! `cargo xtask cluster`: a real Kubernetes cluster on this machine, to try Penstock in. Builds what
//! it takes and becomes the program that does it.

use std::{ffi::OsString, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    build::{self, Profile},
    demo, image, manifests, privileges, setup, step,
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
    /// Builds Penstock's image, gives it to every node and applies deploy/kubernetes/penstock.yaml.
    Install {
        /// How the agent is compiled: count takes a part of the time of release.
        #[arg(long, value_enum, default_value = "count")]
        profile: Profile,
        /// Values for the chart other than its own, as helm takes them; repeatable. Without any,
        /// deploy/kubernetes/penstock.yaml is applied.
        #[arg(long, value_name = "FILE")]
        values: Vec<PathBuf>,
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
    let on_cluster = || -> Result<Command> {
        let mut command = privileges::as_root(&testbed)?;
        command.args(["cluster", "--name", &arguments.name, "--programs"]).arg(&programs);
        Ok(command)
    };
    if let Action::Install { profile, values } = &arguments.action {
        return install(*profile, values, on_cluster);
    }
    let mut command = on_cluster()?;
    match &arguments.action {
        Action::Up { nodes } => command.args(["up", &nodes.to_string()]),
        Action::Down => command.arg("down"),
        Action::Status => command.arg("status"),
        Action::Kubectl { arguments } => command.arg("kubectl").args(arguments),
        Action::Exec { place, command: own } => command.arg("exec").arg(place).args(own),
        Action::Import { archive } => command.arg("import").arg(archive),
        Action::Install { .. } => unreachable!("done above"),
    };
    privileges::become_it(command)
}

/// As a user would, but for the registry.
fn install(
    profile: Profile,
    values: &[PathBuf],
    on_cluster: impl Fn() -> Result<Command>,
) -> Result<()> {
    let manifests = manifests::with(values)?;
    let archive = image::archive(profile)?;
    step::attached("importing the image", on_cluster()?.arg("import").arg(&archive))?;
    let kubectl = |arguments: &[&str]| -> Result<Command> {
        let mut command = on_cluster()?;
        command.arg("kubectl").args(arguments);
        Ok(command)
    };
    let daemonset = ["daemonset/penstock-controller", "--namespace=penstock"];
    let mut there = kubectl(&["get", "--ignore-not-found", "--output=name"])?;
    let there = there.args(daemonset).output().context("cannot ask for what is installed")?;
    let apply = ["apply", "--server-side", "-f"];
    step::attached("applying the manifests", kubectl(&apply)?.arg(manifests))?;
    // Of an image under the same name nobody takes notice.
    if !there.stdout.is_empty() {
        step::attached("starting anew", kubectl(&["rollout", "restart"])?.args(daemonset))?;
    }
    step::attached(
        "waiting for the agents",
        kubectl(&["rollout", "status", "--timeout=600s"])?.args(daemonset),
    )
}
