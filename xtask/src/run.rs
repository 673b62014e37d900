//! `cargo xtask run -- ARGS`: builds the agent and becomes `penstock run ARGS`.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{
    build::{self, Profile},
    privileges,
};

/// Arguments of `cargo xtask run`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Build the agent as it is shipped; takes minutes instead of seconds.
    #[arg(long)]
    release: bool,
    /// Arguments of `penstock run`, for instance `--manifests deploy/demo --l4=off`.
    #[arg(last = true)]
    agent: Vec<OsString>,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let profile = if arguments.release { Profile::Release } else { Profile::Dev };
    let agent = build::agent(profile, &build::object(false)?)?;
    let mut command = if needs_rights(&arguments.agent) {
        privileges::as_root(&agent)?
    } else {
        Command::new(agent)
    };
    command.arg("run").args(&arguments.agent);
    privileges::become_it(command)
}

/// Only with the kernel tier off does the agent do without.
fn needs_rights(arguments: &[OsString]) -> bool {
    let off = |pair: &[OsString]| pair[0] == "--l4" && pair[1] == "off";
    !(arguments.iter().any(|argument| argument == "--l4=off") || arguments.windows(2).any(off))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_needed_unless_the_kernel_tier_is_off() {
        for (arguments, expected) in [
            (&["--manifests", "d"][..], true),
            (&["--l4=auto"], true),
            (&["--l4", "auto"], true),
            (&["--l4=off"], false),
            (&["--manifests", "d", "--l4", "off"], false),
            (&["off", "--l4"], true),
        ] {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            assert_eq!(needs_rights(&arguments), expected, "{arguments:?}");
        }
    }
}
