//! The API server: how it is found and asked. What its objects mean, `translate` says; they come to
//! it as [`crate::stores::Changes`], like those of a directory.

mod client;

pub use client::{Access, ClientError, server_address};
