//! Proof beyond our own tests: the agent's binary, seen from outside with code that shares nothing
//! with it, and with clients and backends that others wrote. One module per matter; the rows of
//! the tables say what the standards and nginx say, whatever today's binary does.
//!
//! `PENSTOCK_AGENT=target/debug/penstock cargo test -p penstock-tests --test proof door` runs one
//! of them. `PENSTOCK_PROOF_REPORT=FILE` appends one line per row: suite, row, result.
//! `PENSTOCK_PROOF_PROXY=nginx` puts Debian's nginx in the agent's place, to compare.
#![forbid(unsafe_code)]

mod bodies;
mod browser;
mod curl;
mod differential;
mod door;
mod grpc;
mod http2;
mod httpx;
mod node;
mod page;
mod process;
mod prometheus;
mod recorder;
mod report;
mod script;
mod site;
mod websocket;
