//! `cargo xtask build`: the eBPF object, then the agent with the object inside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{setup, step, workspace};

/// Arguments of `cargo xtask build`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Unoptimised agent, and programs that log each verdict.
    #[arg(long)]
    debug: bool,
}

/// How the agent is compiled.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// Quick to build: for tests and the demo.
    Dev,
    /// Optimised, as it is shipped.
    Release,
    /// Optimised, and built in a fraction of the time: to count instructions, and for loads.
    Count,
}

impl Profile {
    /// Cargo's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
            Self::Count => "count",
        }
    }

    fn directory(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
            Self::Count => "count",
        }
    }
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let profile = if arguments.debug { Profile::Dev } else { Profile::Release };
    let object = object(arguments.debug)?;
    let agent = agent(profile, &object)?;
    for (what, path) in [("eBPF object", &object), ("agent", &agent)] {
        let bytes = fs::metadata(path).with_context(|| path.display().to_string())?.len();
        step::say(&format!("{what:<12} {:>8}  {}", size(bytes), workspace::shown(path)));
    }
    Ok(())
}

/// Builds the eBPF programs; the path of the object.
pub(crate) fn object(log: bool) -> Result<PathBuf> {
    let setup::Ebpf { toolchain, linker } = setup::ebpf()?;
    let target = workspace::target().join("ebpf");
    let flags = [
        format!("-Clinker={}", linker.path.display()),
        "-Clink-arg=--btf".into(),
        "-Cdebuginfo=2".into(),
        // Headers lie at any address: without this each word of one is read byte by byte. The
        // verifier asks for alignment on the stack alone, where the compiler sees to it.
        "-Ctarget-feature=+allows-misaligned-mem-access".into(),
    ]
    .join("\u{1f}");
    let mut command = Command::new(&toolchain.cargo);
    command
        .args(["build", "--locked", "-Zbuild-std=core", "--target", "bpfel-unknown-none"])
        .args(["--profile", "ebpf", "--package", "ingress-ebpf", "--bin", "ingress-ebpf"])
        .current_dir(workspace::root())
        .env("RUSTC", &toolchain.rustc)
        // Lets a released compiler build `core`; a nightly does not mind.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        // `cargo run` sets it to the libraries of another compiler.
        .env_remove("LD_LIBRARY_PATH");
    if log {
        command.args(["--features", "log"]);
    }
    step::run("building the eBPF programs", "ebpf", &mut command)?;
    Ok(target.join("bpfel-unknown-none/ebpf/ingress-ebpf"))
}

/// Builds the agent around an eBPF object; the path of the binary.
pub(crate) fn agent(profile: Profile, object: &Path) -> Result<PathBuf> {
    build_agent(profile, Some(object))
}

/// Builds an agent that cannot steer, on a machine without an eBPF toolchain.
pub(crate) fn agent_without_object(profile: Profile) -> Result<PathBuf> {
    build_agent(profile, None)
}

/// Builds the agent around an eBPF object as a program that needs no library of the system; the path
/// of the binary. `target` is a triple; the C library it names has to be there as an archive, as
/// Debian's `libc6-dev` has it.
pub(crate) fn static_agent(profile: Profile, object: &Path, target: &str) -> Result<PathBuf> {
    let mut command = Command::new(workspace::cargo());
    command
        .args(["build", "--locked", "--profile", profile.name(), "--target", target])
        .args(["--package", "ingress-userspace", "--bin", "penstock"])
        .current_dir(workspace::root())
        // With a target named, it holds for that alone, not for macros and build scripts.
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    embed(&mut command, Some(object));
    step::run("building the agent without libraries", "image", &mut command)?;
    Ok(workspace::target().join(target).join(profile.directory()).join("penstock"))
}

fn build_agent(profile: Profile, object: Option<&Path>) -> Result<PathBuf> {
    let mut command = Command::new(workspace::cargo());
    command
        .args(["build", "--locked", "--profile", profile.name()])
        .args(["--package", "ingress-userspace", "--bin", "penstock"])
        .current_dir(workspace::root());
    embed(&mut command, object);
    step::run("building the agent", "agent", &mut command)?;
    Ok(binary(profile, "penstock"))
}

/// Has a build of the workspace's crates embed this object, or none.
pub(crate) fn embed(command: &mut Command, object: Option<&Path>) {
    match object {
        Some(object) => command.env(OBJECT_VARIABLE, object),
        None => command.env_remove(OBJECT_VARIABLE),
    };
}

/// Builds the loads of the benchmarks; the path of the program.
pub(crate) fn load() -> Result<PathBuf> {
    let profile = Profile::Count;
    let mut command = Command::new(workspace::cargo());
    command
        .args(["build", "--locked", "--profile", profile.name(), "--package", "penstock-load"])
        .current_dir(workspace::root());
    step::run("building the loads", "load", &mut command)?;
    Ok(binary(profile, "penstock-load"))
}

/// Tells the agent's build script and the tests where the object is.
pub(crate) const OBJECT_VARIABLE: &str = "PENSTOCK_EBPF_OBJECT";

/// Where cargo puts a binary.
pub(crate) fn binary(profile: Profile, name: &str) -> PathBuf {
    workspace::target().join(profile.directory()).join(name)
}

/// `1.4 MiB`, `23 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
