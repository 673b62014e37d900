//! The agent as a black box: real sockets, real manifests, scripted backends. One file per matter.

#![forbid(unsafe_code)]

mod access;
mod aliases;
mod balancing;
mod basic_auth;
mod canary;
mod changes;
mod check;
mod client_auth;
mod cluster;
mod compression;
mod cors;
mod custom_errors;
mod custom_headers;
mod digest_auth;
mod drain;
mod endings;
mod external_auth;
mod failure;
mod forwarding;
mod http1;
mod http2;
mod limits;
mod limits_scripts;
mod mirror;
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
