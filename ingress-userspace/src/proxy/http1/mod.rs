//! HTTP/1.0 and 1.1, both sides (RFC 9112). Strict about what clients send: what could be read in
//! two ways is refused, so that what is routed here is what the upstream sees. Lenient where an
//! upstream's answer has one meaning only, because it is written anew.
//!
//! `parse` reads heads; `decode` and `encode` know the framing of bodies; `inbound` and `outbound`
//! join them to a transport, the same for both sides; `server` and `client` are the sides.

mod client;
mod decode;
mod encode;
mod inbound;
mod outbound;
mod parse;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use client::{Http1Upstream, Patience};
pub(super) use encode::push_number;
pub(super) use parse::{fields, head_end, response_body as answer_body, whole};
pub(crate) use server::{Http1, Next};
