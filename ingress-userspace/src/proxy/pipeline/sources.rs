//! Which addresses may ask (reference section 1.3): step 10, first.

use std::net::IpAddr;

use crate::{model::Sources, proxy::respond::Failure};

/// 403 for an address that is denied, or that is not among those that are allowed.
pub(super) fn check(sources: &Sources, address: IpAddr) -> Result<(), Failure> {
    let denied = sources.denied.iter().any(|range| range.contains(address));
    let allowed =
        sources.allowed.is_empty() || sources.allowed.iter().any(|range| range.contains(address));
    if denied || !allowed { Err(Failure::Forbidden) } else { Ok(()) }
}
