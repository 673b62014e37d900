//! The XDP programs: the packet core bound to the kernel's maps, sockets and frames.
//!
//! Each program counts a frame once, under the reason of its way out; see
//! [`Reason`](ingress_common::Reason). On the host this is an empty program, so that
//! `cargo check --workspace` needs no BPF toolchain.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
// The empty assembly of `kernel::frame`. The BPF target needs an unstable toolchain anyway.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod kernel;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
