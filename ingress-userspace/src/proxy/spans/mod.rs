//! Spans (reference sections 1.10 and 9.1): which trace a request belongs to, what its endpoints are
//! told of it, what is told of the request, and the way of that to a collector. A request pays for it
//! only where somebody takes spans; nobody ever waits for who takes them.

mod attributes;
mod collector;
mod context;
mod exporter;
mod outlet;
mod protobuf;
mod record;
mod trace;

pub(crate) use self::{
    exporter::{Exporter, start},
    outlet::{Inlet, Spans},
};
pub(super) use self::{outlet::Outlet, record::Attempted, trace::Trace};

/// A number of exactly so many hexadecimal digits, in lower case.
fn hex(text: &[u8], digits: usize) -> Option<u128> {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if text.len() != digits || !text.iter().all(is_digit) {
        return None;
    }
    u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}
