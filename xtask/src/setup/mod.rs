//! `cargo xtask setup`: finds what the other commands need, installs what is missing where that is
//! allowed, and says in one line what is missing where it is not.

mod linker;
mod packages;
mod toolchain;

use std::path::PathBuf;

use anyhow::Result;

pub(crate) use linker::Linker;
pub(crate) use toolchain::Toolchain;

use crate::step;

/// Arguments of `cargo xtask setup`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Also install what `cargo xtask bench` measures against (nginx, haproxy, wrk).
    #[arg(long)]
    bench: bool,
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

/// What the benchmark compares with, and what it makes the load with.
pub(crate) fn bench() -> Result<()> {
    packages::ensure(&[
        packages::Tool { program: "nginx", package: "nginx-light" },
        packages::Tool { program: "haproxy", package: "haproxy" },
        packages::Tool { program: "wrk", package: "wrk" },
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

/// The program's path, looked up in `PATH` and where Debian keeps programs of root.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
