//! `cargo xtask image`: the agent, alone in a container image. The image is written here and not by
//! a container engine, so that it needs none, is the same byte for byte wherever it is made from the
//! same binary, and has the file capability that engines lose on the way.

mod elf;
mod layer;
mod layout;
mod time;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use flate2::Compression;

use crate::{
    build::{self, Profile},
    step, workspace,
};

/// Arguments of `cargo xtask image`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How the agent is compiled.
    #[arg(long, value_enum, default_value = "release")]
    profile: Profile,
    /// The triple to build for; default: this machine's. Its C library has to be there as an archive.
    #[arg(long)]
    target: Option<String>,
    /// A binary to take instead of building one. It must need no library.
    #[arg(long, conflicts_with_all = ["profile", "target"])]
    binary: Option<PathBuf>,
    /// Name of the image, with its tag; default: localhost/penstock and the version.
    #[arg(long)]
    name: Option<String>,
    /// File to write; default: target/penstock-<version>.oci.tar.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Also keep the program by itself here.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The most that the image may have, in millions of bytes; the command fails, and writes no image,
    /// where it has more. Default: 25 for a release, no limit otherwise.
    #[arg(long, value_name = "MEGABYTES")]
    max: Option<u64>,
    /// Give the image to a container engine of this machine too.
    #[arg(long, value_enum)]
    load: Option<Engine>,
}

/// Who can be given an image.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Engine {
    /// Docker, which understands the layout since version 25.
    Docker,
    /// Podman.
    Podman,
    /// Containerd, where a kubelet looks.
    Containerd,
}

/// The most that a released image may have, in millions of bytes: what a node pulls.
const RELEASE_LIMIT: u64 = 25;

/// Fails where an image is larger than so many millions of bytes.
fn check_size(bytes: u64, limit: Option<u64>) -> Result<()> {
    if let Some(limit) = limit
        && bytes > limit.saturating_mul(1_000_000)
    {
        bail!("the image has {bytes} bytes, more than the {limit} MB that it may have (--max)");
    }
    Ok(())
}

/// Writes the image under the name that the manifests ask for; the file.
pub(crate) fn archive(profile: Profile) -> Result<PathBuf> {
    let output = workspace::target().join("penstock-cluster.oci.tar");
    main(&Arguments {
        profile,
        target: None,
        binary: None,
        name: None,
        output: Some(output.clone()),
        program: None,
        max: None,
        load: None,
    })?;
    Ok(output)
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let name = arguments.name.clone().unwrap_or_else(|| format!("localhost/penstock:{version}"));
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => {
            let target = arguments.target.clone().map_or_else(host, Ok)?;
            build::static_agent(arguments.profile, &build::object(false)?, &target)?
        }
    };
    let stripped = workspace::logs()?.join("penstock.stripped");
    step::run(
        "stripping it",
        "strip",
        Command::new("strip").arg("--strip-all").arg("-o").arg(&stripped).arg(&binary),
    )?;
    let bytes = fs::read(&stripped).with_context(|| stripped.display().to_string())?;
    if let Some(program) = &arguments.program {
        fs::copy(&stripped, program).with_context(|| program.display().to_string())?;
    }
    let is_release = arguments.binary.is_none() && arguments.profile == Profile::Release;
    let limit = arguments.max.or(is_release.then_some(RELEASE_LIMIT));
    let output = arguments
        .output
        .clone()
        .unwrap_or_else(|| workspace::target().join(format!("penstock-{version}.oci.tar")));
    // Nobody pulls the other ones, and to compress them well takes a minute.
    let compression = match arguments.binary.is_none() && arguments.profile == Profile::Dev {
        true => Compression::fast(),
        false => Compression::best(),
    };
    let image = write(&bytes, &name, limit, compression, &output)?;
    for (what, bytes) in [("program", bytes.len() as u64), ("image", image.bytes)] {
        step::say(&format!("{what:<12} {:>8}", build::size(bytes)));
    }
    step::say(&format!("{name}\n  {}\n  {}", image.digest, workspace::shown(&output)));
    arguments.load.map_or(Ok(()), |engine| load(engine, &output))
}

/// What was written.
struct Written {
    /// `sha256:…` of the manifest.
    digest: String,
    /// Of the file.
    bytes: u64,
}

/// Writes the image of a program.
fn write(
    program: &[u8],
    name: &str,
    limit: Option<u64>,
    compression: Compression,
    output: &Path,
) -> Result<Written> {
    let Some((_, tag)) = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')) else {
        bail!("--name {name} has no tag: write NAME:TAG");
    };
    let elf = elf::Program::read(program).context("the program is no ELF file of 64 bits")?;
    if elf.interpreted {
        bail!(
            "the program needs libraries of the system, which the image has not: build it with \
             RUSTFLAGS=\"-C target-feature=+crt-static\""
        );
    }
    let seconds = time::source_date(workspace::root().as_path());
    let layer = layer::of(program, seconds, compression)?;
    let about = layout::About {
        name,
        tag,
        version: env!("CARGO_PKG_VERSION"),
        architecture: elf.architecture,
        created: time::rfc3339(seconds),
        revision: git(&["rev-parse", "HEAD"]),
        seconds,
    };
    let (tarball, digest) = layout::tarball(&layer, &about)?;
    check_size(tarball.len() as u64, limit)?;
    fs::write(output, &tarball).with_context(|| output.display().to_string())?;
    Ok(Written { digest, bytes: tarball.len() as u64 })
}

/// The triple of this machine's own programs.
fn host() -> Result<String> {
    let said = step::output(Command::new("rustc").arg("-vV").current_dir(workspace::root()));
    let said = said.context("cannot run rustc -vV")?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// What git says, where there is one.
fn git(arguments: &[&str]) -> Option<String> {
    let said = step::output(Command::new("git").args(arguments).current_dir(workspace::root()))?;
    Some(said.trim().to_owned()).filter(|said| !said.is_empty())
}

fn load(engine: Engine, tarball: &Path) -> Result<()> {
    let (program, arguments): (_, &[&str]) = match engine {
        Engine::Docker => ("docker", &["load", "--input"]),
        Engine::Podman => ("podman", &["load", "--input"]),
        Engine::Containerd => ("ctr", &["--namespace", "k8s.io", "images", "import"]),
    };
    step::run("loading it", "load-image", Command::new(program).args(arguments).arg(tarball))
}

#[cfg(test)]
mod tests;
