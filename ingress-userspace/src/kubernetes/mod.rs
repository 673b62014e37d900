//! The API server: how it is found and asked, and what is written into it. What its objects mean,
//! `translate` says; they come to it as [`crate::stores::Changes`], like those of a directory.
#![forbid(unsafe_code)]

mod account;
mod client;
mod election;
mod events;
mod fault;
mod moment;
mod status;
mod vips;
mod webhook;
mod writer;
mod writes;

#[cfg(test)]
mod tests;

pub use client::{Access, ClientError, server_address};
pub use moment::{Moment, Moments};
pub use status::address_or_name;
pub use vips::VipPool;
pub(crate) use webhook::serve as serve_webhook;
pub use webhook::{WebhookError, WebhookOptions};
pub(crate) use writer::start as start_writer;
pub use writes::{Election, Identity, Publish, Writes};
