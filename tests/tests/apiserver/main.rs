//! Penstock beside a real API server: Kubernetes' own, with etcd, on the loopback. One server for all
//! tests of this binary; each test has a namespace of its own, and an IngressClass.
//!
//! `cargo xtask setup --cluster` builds the programs; `PENSTOCK_AGENT=target/debug/penstock cargo test
//! -p penstock-tests --test apiserver` runs the tests.
#![forbid(unsafe_code)]

mod chart;
mod check;
mod data_path;
mod harness;
mod names;
mod outage;
mod place;
mod policy;
mod rights;
mod site;
mod status;
