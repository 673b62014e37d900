//! Loading, attaching, taking over and unloading, against the kernel. Each test has a network
//! namespace and a BPF directory of its own.
#![forbid(unsafe_code)]

mod agent;
mod attach;
mod peer;
mod place;
mod takeover;
