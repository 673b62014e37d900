//! What a test needs from the machine. A test that cannot run says so where nobody overlooks it,
//! and fails where `PENSTOCK_REQUIRE` says that it must run.

use std::{env, fs::OpenOptions, io::Write, path::PathBuf};

use nix::unistd::geteuid;

use crate::kubernetes::Programs;

/// Where the eBPF object is, for a test that loads it; `None` after saying that `test` is skipped.
///
/// # Panics
/// When it is missing and `PENSTOCK_REQUIRE` lists `bpf`.
pub fn bpf(test: &str) -> Option<PathBuf> {
    if !geteuid().is_root() {
        skip(test, "bpf", "needs root");
        return None;
    }
    let object = file("PENSTOCK_EBPF_OBJECT");
    if object.is_none() {
        skip(test, "bpf", "needs the eBPF object: run `cargo xtask test`");
    }
    object
}

/// Whether `test` may make network namespaces; false after saying that it is skipped.
///
/// # Panics
/// When it may not and `PENSTOCK_REQUIRE` lists `netns`.
pub fn namespaces(test: &str) -> bool {
    if !geteuid().is_root() {
        skip(test, "netns", "needs root");
        return false;
    }
    true
}

/// Where the agent is, for a test that runs it without rights; `None` after saying that `test` is
/// skipped.
///
/// # Panics
/// When it is missing and `PENSTOCK_REQUIRE` lists `netns`.
pub fn agent(test: &str) -> Option<PathBuf> {
    let agent = file("PENSTOCK_AGENT");
    if agent.is_none() {
        skip(test, "netns", "needs the agent: run `cargo xtask test`");
    }
    agent
}

/// What a cluster in a box is made of, for a test that makes one; `None` after saying that `test`
/// is skipped.
///
/// # Panics
/// When something is missing and `PENSTOCK_REQUIRE` lists `netns`.
pub fn cluster(test: &str) -> Option<crate::Binaries> {
    if !geteuid().is_root() {
        skip(test, "netns", "needs root");
        return None;
    }
    let (Some(agent), Some(object)) = (file("PENSTOCK_AGENT"), file("PENSTOCK_EBPF_OBJECT")) else {
        skip(test, "netns", "needs the agent and the eBPF object: run `cargo xtask test`");
        return None;
    };
    Some(crate::Binaries { agent, object })
}

/// Says that (a part of) `test` is skipped because the kernel's test runs always leave headroom.
///
/// # Panics
/// When `PENSTOCK_REQUIRE` lists `headroom`.
pub fn headroom(test: &str) {
    skip(test, "headroom", "needs test runs with more than 32 bytes of metadata");
}

/// Says that (a part of) `test` is skipped for want of a program that others wrote.
///
/// # Panics
/// When `PENSTOCK_REQUIRE` lists `interop`.
pub fn interop(test: &str, what: &str) {
    skip(test, "interop", &format!("needs {what}: run `cargo xtask setup --interop`"));
}

/// Helm, for a test that renders the chart; `None` after saying that `test` is skipped.
///
/// # Panics
/// When it is missing and `PENSTOCK_REQUIRE` lists `helm`.
pub fn helm(test: &str) -> Option<PathBuf> {
    let helm = file("PENSTOCK_HELM");
    if helm.is_none() {
        skip(test, "helm", "needs helm: run `cargo xtask setup --helm` and `cargo xtask test`");
    }
    helm
}

/// Says that `test` is skipped because pods cannot be on the loopback.
///
/// # Panics
/// When `PENSTOCK_REQUIRE` lists `apiserver`.
pub fn address(test: &str) {
    skip(test, "apiserver", "needs an IPv4 address of this machine that is not the loopback's");
}

/// Kubernetes' programs, for a test that starts an API server; `None` after saying that `test` is
/// skipped.
///
/// # Panics
/// When there are none and `PENSTOCK_REQUIRE` lists `apiserver`.
pub fn api_server(test: &str) -> Option<Programs> {
    let programs = Programs::find();
    if programs.is_none() {
        let where_from = "needs an API server: run `cargo xtask setup --cluster`";
        skip(test, "apiserver", &format!("{where_from} or set KUBEBUILDER_ASSETS"));
    }
    programs
}

/// What a cluster of real nodes with Penstock in it is made of.
#[derive(Clone, Debug)]
pub struct Nodes {
    /// Kubernetes' programs.
    pub programs: Programs,
    /// The archive of Penstock's image.
    pub image: PathBuf,
}

/// What a test takes that makes a cluster of real nodes; `None` after saying that `test` is skipped.
///
/// # Panics
/// When something is missing and `PENSTOCK_REQUIRE` lists `nodes`.
pub fn nodes(test: &str) -> Option<Nodes> {
    if !geteuid().is_root() {
        skip(test, "nodes", "needs root");
        return None;
    }
    let Some(programs) = Programs::built() else {
        skip(test, "nodes", "needs Kubernetes: run `cargo xtask setup --cluster`");
        return None;
    };
    if let Some(missing) = ["containerd", "runc", "nft"].into_iter().find(|name| !in_path(name)) {
        let how = "run `cargo xtask setup --cluster`";
        skip(test, "nodes", &format!("needs {missing}: {how}"));
        return None;
    }
    let Some(image) = file("PENSTOCK_IMAGE") else {
        let how = "or set PENSTOCK_REQUIRE=nodes for `cargo xtask test`";
        skip(
            test,
            "nodes",
            &format!("needs PENSTOCK_IMAGE, which `cargo xtask image` writes, {how}"),
        );
        return None;
    };
    Some(Nodes { programs, image })
}

/// The directory with one of the programs that others wrote for clusters, for a test that runs it;
/// `None` after saying that `test` is skipped.
///
/// # Panics
/// When it is missing and `PENSTOCK_REQUIRE` lists `nodes`.
pub fn companion(test: &str, variable: &str) -> Option<PathBuf> {
    let directory = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_dir());
    if directory.is_none() {
        let how = "run `cargo xtask setup --companions` and `cargo xtask test`";
        skip(test, "nodes", &format!("needs {variable}: {how}"));
    }
    directory
}

/// Whether there is a program of this name where root's are looked for.
fn in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    directories.into_iter().any(|directory| directory.join(program).is_file())
}

fn file(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file())
}

fn skip(test: &str, requirement: &str, reason: &str) {
    let required = env::var("PENSTOCK_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|word| word.trim() == requirement),
        "{test} {reason}, and PENSTOCK_REQUIRE={required}",
    );
    // Not `eprintln!`, whose output libtest hides when a test passes.
    let line = format!("{test}: {reason}\n");
    let _ = std::io::stderr().write_all(format!("SKIPPED {line}").as_bytes());
    if let Some(path) = env::var_os("PENSTOCK_SKIPPED") {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        assert!(written.is_ok(), "cannot note that {test} was skipped: {written:?}");
    }
}
