//! `cargo xtask kernels`: the packet tests and the agent on other kernels than this machine's, each
//! booted under emulation with an initial file system that holds them and nothing else.

mod archive;
mod guest;
mod initramfs;
mod record;
mod report;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    build::{self, Profile},
    demo, privileges, setup, step, workspace,
};
use archive::Kernel;
use record::Record;
use report::Report;

/// Arguments of `cargo xtask kernels`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these series: `6.1`.
    series: Vec<String>,
    /// Leave out the packet tests, which take most of the time.
    #[arg(long)]
    quick: bool,
    /// Write down what the verifier looked at, on this machine's kernel too: in
    /// `docs/benchmarks/verifier.json`, which tests compare with, and in `docs/kernel-tier.md`.
    #[arg(long)]
    record: bool,
}

/// What the agent must do on a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expectation {
    /// Steer, and pass the packet tests.
    Steers,
    /// Refuse with the exit code for "this machine", 3, and say which kernel it needs.
    Refused,
}

/// A series of kernels that Debian packages.
struct Series {
    /// As in `uname -r`: `6.1`.
    name: &'static str,
    expectation: Expectation,
}

/// The kernels of Debian 11, 12 and 13. The oldest that steers is the one that the documents name.
const SERIES: [Series; 3] = [
    Series { name: "5.10", expectation: Expectation::Refused },
    Series { name: "6.1", expectation: Expectation::Steers },
    Series { name: "6.12", expectation: Expectation::Steers },
];

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let known = SERIES.map(|series| series.name);
    if let Some(unknown) = arguments.series.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("no kernel {unknown}; there are {}", known.join(", "));
    }
    setup::cluster_in_a_box()?;
    setup::emulator()?;
    let programs = Programs::build(!arguments.quick)?;
    let mut failed = Vec::new();
    let mut record = Record::read()?;
    if arguments.record {
        let report = programs.verify_here()?;
        report.show_programs("this machine");
        record.add(&report)?;
    }
    for series in &SERIES {
        if !arguments.series.is_empty() && !arguments.series.iter().any(|s| s == series.name) {
            continue;
        }
        let kernel = archive::kernel(series.name)?;
        let image = programs.image(series, &kernel)?;
        let log = guest::boot(series.name, &kernel.image, &image)?;
        let report = Report::read(&log);
        report.show(series.name);
        if series.expectation == Expectation::Steers {
            record.add(&report)?;
        }
        if let Err(reason) = report.judge(series.expectation, arguments.quick) {
            failed.push(format!("{}: {reason}", series.name));
        }
    }
    // A guest that died in the middle has nothing to say of the rest.
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    if arguments.record {
        record.write()?;
    }
    Ok(())
}

/// What runs on the kernels.
struct Programs {
    object: PathBuf,
    agent: PathBuf,
    testbed: PathBuf,
    /// The tests of the packet path, if they are to run.
    packet: Option<PathBuf>,
}

impl Programs {
    fn build(with_tests: bool) -> Result<Self> {
        let object = build::object(false)?;
        let agent = build::agent(Profile::Dev, &object)?;
        let testbed = demo::testbed(Some(&object))?;
        let packet = with_tests.then(|| packet_tests(&object)).transpose()?;
        Ok(Self { object, agent, testbed, packet })
    }

    /// What this machine's verifier thinks of the programs.
    fn verify_here(&self) -> Result<Report> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let mut command = privileges::as_root(&self.testbed)?;
        let printed = step::output(command.arg("verify").arg(&self.object))
            .context("this machine's kernel refuses a program")?;
        Ok(Report::read(&format!("@@ release {release}\n{printed}")))
    }

    /// The initial file system for a kernel.
    fn image(&self, series: &Series, kernel: &Kernel) -> Result<PathBuf> {
        let mut image = initramfs::Image::default();
        image.script("init", include_str!("init.sh"))?;
        image.text(
            "expectation",
            match series.expectation {
                Expectation::Steers => "steers\n",
                Expectation::Refused => "refused\n",
            },
        )?;
        image.program("bin/busybox", &which("busybox")?)?;
        image.program("usr/sbin/ip", &which("ip")?)?;
        image.program("usr/sbin/tc", &which("tc")?)?;
        image.program("penstock", &self.agent)?;
        image.program("testbed", &self.testbed)?;
        if let Some(packet) = &self.packet {
            image.program("packet", packet)?;
        }
        image.file("penstock.bpf.o", &self.object)?;
        for (number, module) in kernel.modules.iter().enumerate() {
            image.file(&format!("modules/{number}.ko"), module)?;
        }
        let path = workspace::logs()?.join("kernels.cpio");
        fs::write(&path, image.finish()).with_context(|| path.display().to_string())?;
        Ok(path)
    }
}

fn which(program: &str) -> Result<PathBuf> {
    setup::which(program).with_context(|| format!("there is no {program}"))
}

/// Builds the tests of the packet path; the path of their binary.
fn packet_tests(object: &Path) -> Result<PathBuf> {
    const TEST: &str = "packet";
    let build = || {
        let mut command = Command::new(workspace::cargo());
        command
            .args(["test", "--locked", "--no-run", "--package", "penstock-tests", "--test", TEST])
            .current_dir(workspace::root());
        build::embed(&mut command, Some(object));
        command
    };
    step::run("building the packet tests", "packet", &mut build())?;
    // Once more, for its name: there is nothing left to build.
    let messages = step::output(build().args(["--message-format", "json"]))
        .context("cargo does not say what it built")?;
    let built = messages.lines().filter_map(|line| serde_json::from_str(line).ok());
    built
        .filter(|message: &serde_json::Value| message["target"]["name"] == TEST)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo built no packet tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_kernel_that_steers_is_the_one_that_the_documents_name() {
        let oldest = SERIES.iter().find(|s| s.expectation == Expectation::Steers).unwrap();
        for document in
            [include_str!("../../../README.md"), include_str!("../../../docs/kernel-tier.md")]
        {
            assert!(document.contains(&format!("Linux {} or newer", oldest.name)));
        }
        let check = include_str!("../../../ingress-userspace/src/l4/machine.rs");
        // Where the agent refuses, it must be for the same kernel.
        let (major, minor) = oldest.name.split_once('.').unwrap();
        assert!(check.contains(&format!("const OLDEST: (u32, u32) = ({major}, {minor});")));
    }
}
