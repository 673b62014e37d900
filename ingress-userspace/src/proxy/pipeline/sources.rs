//! Which addresses may ask (reference section 1.3): step 10, first.

use std::net::IpAddr;

use crate::{model::Sources, proxy::respond::Failure};

/// 403 for an address that is denied, or that is not among those that are allowed. Otherwise,
/// whether it is one of those, by name of its range.
pub(super) fn check(sources: &Sources, address: IpAddr) -> Result<bool, Failure> {
    let denied = sources.denied.iter().any(|range| range.contains(address));
    let allowed = sources.allowed.iter().any(|range| range.contains(address));
    if denied || !(allowed || sources.allowed.is_empty()) {
        Err(Failure::Forbidden)
    } else {
        Ok(allowed)
    }
}
