//! The agent as a black box: real sockets, real manifests, scripted backends. One file per matter.

#![forbid(unsafe_code)]

mod balancing;
mod changes;
mod client_auth;
mod drain;
mod failure;
mod forwarding;
mod http1;
mod http2;
mod process;
mod routing;
mod smuggling;
mod streaming;
mod support;
mod tls;
mod upgrade;
