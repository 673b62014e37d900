//! Embeds the eBPF object that `cargo xtask` built and named, or an empty stub, so that
//! `cargo check` needs no BPF toolchain.

use std::{env, fs, path::PathBuf};

fn main() -> anyhow::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PENSTOCK_EBPF_OBJECT");
    let embedded = PathBuf::from(env::var("OUT_DIR")?).join("penstock.bpf.o");
    match env::var_os("PENSTOCK_EBPF_OBJECT") {
        Some(object) => {
            let object = PathBuf::from(object);
            println!("cargo::rerun-if-changed={}", object.display());
            let bytes = fs::read(&object).map_err(|error| {
                anyhow::anyhow!("PENSTOCK_EBPF_OBJECT names {}: {error}", object.display())
            })?;
            fs::write(&embedded, bytes)?;
        }
        None => fs::write(&embedded, [])?,
    }
    Ok(())
}
