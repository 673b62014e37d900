//! The agent as a black box: real sockets, real manifests, scripted backends. One file per matter.

#![forbid(unsafe_code)]

mod balancing;
mod changes;
mod check;
mod client_auth;
mod drain;
mod failure;
mod forwarding;
mod http1;
mod http2;
mod passthrough;
mod policies;
mod process;
mod proxy_protocol;
mod routing;
mod smuggling;
mod snippets;
mod streaming;
mod support;
mod tcp_services;
mod tls;
mod udp_services;
mod upgrade;
mod upstreams;
