//! The eBPF object that the build embedded.

/// The object's bytes, aligned as the ELF parser wants them; empty in a build without a BPF
/// toolchain.
static EMBEDDED: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/penstock.bpf.o"));

/// The object, or `None` if this build has none: then there is nothing to steer with, and
/// everything else works.
pub fn embedded() -> Option<&'static [u8]> {
    if EMBEDDED.is_empty() { None } else { Some(EMBEDDED) }
}
