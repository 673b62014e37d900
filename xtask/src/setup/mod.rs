//! `cargo xtask setup`: finds what the other commands need, installs what is missing where that is
//! allowed, and says in one line what is missing where it is not.

mod companions;
mod core_rules;
mod envoy;
mod helm;
mod kubernetes;
mod linker;
mod packages;
mod toolchain;

use std::path::PathBuf;

use anyhow::Result;

pub(crate) use companions::{companions, found as found_companions};
pub(crate) use envoy::{VERSION as ENVOY, envoy};
pub(crate) use helm::{found as found_helm, helm};
pub(crate) use kubernetes::kubernetes;
pub(crate) use linker::Linker;
pub(crate) use toolchain::Toolchain;

use crate::step;

/// Arguments of `cargo xtask setup`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also install what `cargo xtask bench` measures with and against (wrk, h2load, valgrind, nginx,
    /// haproxy, caddy, envoy).
    #[arg(long)]
    bench: bool,
    /// Also install what the interoperability tests run: clients and backends that others wrote.
    #[arg(long)]
    interop: bool,
    /// Also build helm, which the chart is rendered and tested with. Needs Go.
    #[arg(long)]
    helm: bool,
    /// Also build Kubernetes' own programs, for the tests with an API server and for `cargo xtask
    /// cluster`, and install what its nodes run. Needs Go; takes some minutes the first time.
    #[arg(long)]
    cluster: bool,
    /// Also build the programs of others that work beside an ingress controller, for the tests in a
    /// cluster: cert-manager and pebble. Needs Go; takes some minutes the first time.
    #[arg(long)]
    companions: bool,
}

/// What compiles and links eBPF programs.
pub(crate) struct Ebpf {
    /// The compiler, with the standard library's sources.
    pub(crate) toolchain: Toolchain,
    /// The bpf-linker that understands the compiler's bitcode.
    pub(crate) linker: Linker,
}

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let ebpf = ebpf()?;
    cluster_in_a_box()?;
    if arguments.bench {
        bench()?;
        valgrind()?;
        crate::bench::peers()?;
    }
    if arguments.interop {
        interop()?;
    }
    if arguments.helm {
        step::say(&format!("helm           {}", helm()?.display()));
    }
    if arguments.cluster {
        nodes()?;
        let programs = kubernetes()?;
        step::say(&format!("Kubernetes     {}", programs.display()));
    }
    if arguments.companions {
        for (_variable, directory) in companions()? {
            step::say(&format!("companion      {}", directory.display()));
        }
    }
    step::say(&format!("eBPF compiler  {} ({})", ebpf.toolchain.name, ebpf.toolchain.version));
    step::say(&format!("bpf-linker     {}", ebpf.linker.path.display()));
    Ok(())
}

/// The eBPF toolchain: the first compiler for which a linker exists or can be built.
pub(crate) fn ebpf() -> Result<Ebpf> {
    let toolchain = toolchain::find_or_install()?;
    let linker = linker::find_or_build(&toolchain.llvm)?;
    Ok(Ebpf { toolchain, linker })
}

/// What the demo and the tests run beside our own binaries.
pub(crate) fn cluster_in_a_box() -> Result<()> {
    packages::ensure(&[
        packages::Tool { program: "ip", package: "iproute2" },
        packages::Tool { program: "tc", package: "iproute2" },
        packages::Tool { program: "ethtool", package: "ethtool" },
        packages::Tool { program: "nsenter", package: "util-linux" },
        packages::Tool { program: "curl", package: "curl" },
    ])
}

/// What the nodes of a real cluster run beside Kubernetes' own programs.
pub(crate) fn nodes() -> Result<()> {
    packages::ensure(&[
        packages::Tool { program: "ip", package: "iproute2" },
        packages::Tool { program: "ethtool", package: "ethtool" },
        packages::Tool { program: "unshare", package: "util-linux" },
        packages::Tool { program: "containerd", package: "containerd" },
        packages::Tool { program: "runc", package: "runc" },
        packages::Tool { program: "nft", package: "nftables" },
        // Kubernetes' kubelet looks for it even where kube-proxy writes nftables.
        packages::Tool { program: "iptables", package: "iptables" },
    ])?;
    packages::ensure_packages(&["containernetworking-plugins"])
}

/// What the benchmarks make the load with.
pub(crate) fn bench() -> Result<()> {
    packages::ensure(&[
        packages::Tool { program: "wrk", package: "wrk" },
        packages::Tool { program: "h2load", package: "nghttp2-client" },
        packages::Tool { program: "taskset", package: "util-linux" },
    ])
}

/// What other kernels are booted with.
pub(crate) fn emulator() -> Result<()> {
    packages::ensure(&[
        packages::Tool { program: "qemu-system-x86_64", package: "qemu-system-x86" },
        packages::Tool { program: "busybox", package: "busybox-static" },
        packages::Tool { program: "ldd", package: "libc-bin" },
    ])
}

/// What counts instructions.
pub(crate) fn valgrind() -> Result<()> {
    packages::ensure(&[
        packages::Tool { program: "valgrind", package: "valgrind" },
        packages::Tool { program: "h2load", package: "nghttp2-client" },
        packages::Tool { program: "taskset", package: "util-linux" },
    ])
}

/// A peer that Debian has.
pub(crate) fn peer(program: &'static str, package: &'static str) -> Result<()> {
    packages::ensure(&[packages::Tool { program, package }])
}

/// The clients and backends that the interoperability tests run. Python is Debian's own, for which
/// its packages are.
pub(crate) fn interop() -> Result<()> {
    packages::ensure(&[
        packages::Tool { program: "nginx", package: "nginx-light" },
        packages::Tool { program: "apache2", package: "apache2-bin" },
        packages::Tool { program: "node", package: "nodejs" },
        packages::Tool { program: "chromium", package: "chromium" },
        packages::Tool { program: "sslscan", package: "sslscan" },
        packages::Tool { program: "php-cgi", package: "php-cgi" },
        packages::Tool { program: "prometheus", package: "prometheus" },
        packages::Tool { program: "promtool", package: "prometheus" },
    ])?;
    packages::ensure_packages(&[
        "libnginx-mod-http-headers-more-filter",
        "libnginx-mod-http-lua",
        "python3-aiohttp",
        "python3-grpcio",
        "python3-h2",
        "python3-httpx",
        "python3-websockets",
    ])?;
    core_rules::core_rules().map(|_directory| ())
}

/// The program's path, looked up in `PATH` and where Debian keeps programs of root.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
