//! Which addresses may ask (reference section 1.3): step 10, first.

use std::net::IpAddr;

use super::access::Verdict;
use crate::{
    model::Sources,
    proxy::respond::{self, Failure},
};

/// 403 for an address that is denied, or that is not among those that are allowed. Where there is
/// no list of those that are allowed, nothing is said for an address that is not denied: that is
/// not enough for `satisfy: any`.
pub(super) fn check(sources: &Sources, address: IpAddr) -> Option<Verdict> {
    let denied = sources.denied.iter().any(|range| range.contains(address));
    let allowed = sources.allowed.iter().any(|range| range.contains(address));
    if denied || !(allowed || sources.allowed.is_empty()) {
        Some(Verdict::Refused(respond::failure(Failure::Forbidden)))
    } else {
        allowed.then_some(Verdict::Allowed)
    }
}
