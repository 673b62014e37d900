//! `cargo xtask bench soak`: minutes of table changes, drains and killed agents under load. The
//! measurement itself is `testbed soak`, because it makes a cluster in a box.

use anyhow::Result;

use crate::{
    build::{self, Profile},
    demo, privileges, setup, step,
};

/// Arguments of `cargo xtask bench soak`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// For how many seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    setup::cluster_in_a_box()?;
    let object = build::object(false)?;
    let agent = build::agent(Profile::Dev, &object)?;
    let mut command = privileges::as_root(&demo::testbed(Some(&object))?)?;
    command.args(["soak", "--agent"]).arg(agent).arg("--object").arg(object);
    command.args(["--seconds", &arguments.seconds.to_string()]);
    step::attached("changing things under load", &mut command)
}
