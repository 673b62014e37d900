//! What a person does with a cluster of real nodes. `cargo xtask cluster` builds what it takes and
//! comes here.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use testbed::kubernetes::{
    Programs,
    cluster::{Cluster, Image, Layout, Place, run_node},
};

/// Arguments of `testbed cluster`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which of the clusters on this machine.
    #[arg(long, default_value = "penstock")]
    name: String,
    /// The directory with Kubernetes' programs.
    #[arg(long)]
    programs: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Makes the cluster.
    Up {
        /// How many nodes.
        #[arg(default_value_t = 3)]
        nodes: u8,
    },
    /// Takes it away.
    Down,
    /// What there is of it.
    Status,
    /// kubectl, with all rights.
    #[command(disable_help_flag = true)]
    Kubectl {
        /// kubectl's arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// A command on a node (n1, n2, …), beside the API server (control) or outside (client).
    Exec {
        /// Where.
        place: String,
        /// The command and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Gives every node an image from an archive.
    Import {
        /// The archive: of an OCI image layout, or as docker saves one.
        archive: PathBuf,
    },
    /// Cuts a node's power.
    Cut {
        /// The node's number.
        node: u8,
    },
    /// Starts a node whose power was cut.
    Boot {
        /// The node's number.
        node: u8,
    },
    /// The first process of a node.
    #[command(hide = true)]
    Node {
        /// Its number.
        number: u8,
    },
}

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let layout = Layout::new(&arguments.name)?;
    if let Action::Node { number } = arguments.action {
        return run_node(&layout, number, arguments.programs);
    }
    let programs = Programs::of_cluster(arguments.programs)?;
    let testbed = env::current_exe()?;
    let find = |layout| Cluster::find(layout, programs.clone(), testbed.clone());
    match arguments.action {
        Action::Up { nodes } => up(layout, nodes, programs, testbed),
        Action::Down => {
            Cluster::down(&layout)?;
            say(&format!("nothing is left of the cluster {}", layout.name()));
            Ok(())
        }
        Action::Status => status(&find(layout)?),
        Action::Kubectl { arguments } => become_it(find(layout)?.kubectl().args(arguments)),
        Action::Exec { place, command } => {
            let Some(place) = Place::parse(&place) else {
                bail!("{place:?} is no place: n1 to n9, control, client");
            };
            let (program, arguments) = command.split_first().context("no command")?;
            let mut command = find(layout)?.command(place, program)?;
            become_it(command.args(arguments))
        }
        Action::Import { archive } => find(layout)?.import(&archive),
        Action::Cut { node } => find(layout)?.cut(node),
        Action::Boot { node } => find(layout)?.boot(node),
        Action::Node { .. } => unreachable!("answered above"),
    }
}

fn up(layout: Layout, nodes: u8, programs: Programs, testbed: PathBuf) -> Result<()> {
    let start = Instant::now();
    let images = ["pause", "echo"].map(|name| Image {
        name: format!("localhost/{name}:1"),
        program: programs.directory().join(name),
    });
    let cluster = Cluster::up(layout, nodes, programs, testbed, &images, |step| {
        say(&format!("{:5.1} s  {step}", start.elapsed().as_secs_f32()));
    })?;
    status(&cluster)
}

fn status(cluster: &Cluster) -> Result<()> {
    let layout = cluster.layout();
    say(&format!("cluster {}: API server https://{}", layout.name(), layout.server()));
    say(&format!("kubeconfig {}", layout.kubeconfig().display()));
    say(&format!("logs       {}", layout.directory().display()));
    let name = match layout.name() {
        "penstock" => String::new(),
        other => format!(" --name {other}"),
    };
    say(&format!(
        "All of it is in network namespaces: `cargo xtask cluster{name} kubectl …` reaches it,\n\
         `cargo xtask cluster{name} exec client curl http://{}/` is somebody outside of it.",
        Place::Node(1).address()
    ));
    let status = cluster.kubectl().args(["get", "nodes", "-o", "wide"]).status()?;
    if !status.success() {
        bail!("the API server does not answer");
    }
    Ok(())
}

fn say(line: &str) {
    // A closed pipe at the other end is no reason to stop.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Becomes the command, so that the terminal and the exit code are its own.
fn become_it(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    Err(command.exec()).with_context(|| format!("cannot run {program}"))
}
