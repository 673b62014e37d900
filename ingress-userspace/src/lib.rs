//! Penstock's agent: one process per node that watches Ingress objects, terminates TLS, routes and
//! proxies requests, and drives the kernel tier through BPF maps.
//!
//! The modules in the order of the data:
//!
//! ```text
//! config ─ lifecycle (wires everything below; phases from start to stop)
//! resolve ─→ names ─┐
//! source ─→ stores ─┴→ translate (pure) ─→ model + diagnostics
//!                                           ├─→ snapshot ─→ route, tls, proxy
//!                                           ├─→ l4 ─→ BPF maps
//!                                           └─→ admin
//! ```
//!
//! `proxy` and `l4` read `model` and never each other; `translate` does no I/O and never awaits.
#![forbid(unsafe_code)]

mod admin;
pub mod certificates;
pub mod check;
pub mod config;
pub mod console;
pub mod expression;
pub mod firewall;
pub mod kubernetes;
pub mod l4;
mod ledger;
pub mod lifecycle;
pub mod log;
pub mod model;
pub mod names;
pub mod proxy;
pub mod resolve;
pub mod route;
pub mod snapshot;
pub mod source;
pub mod stores;
mod suggestion;
mod tls;
pub mod translate;
