//! How much of a service one client may have (reference section 1.5).

use std::num::NonZeroU32;

use super::{AddressRange, Text};

/// `limit-rps`, `limit-rpm`, `limit-connections` and what goes with them. What is counted belongs
/// to the Ingress: all its paths together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `limit-rps`.
    pub per_second: Option<RequestRate>,
    /// `limit-rpm`.
    pub per_minute: Option<RequestRate>,
    /// `limit-connections`: requests at one time.
    pub connections: Option<NonZeroU32>,
    /// `limit-allowlist`: who is never limited.
    pub exempt: Box<[AddressRange]>,
    /// What tells clients apart.
    pub key: LimitKey,
    /// `limit-req-status-code`.
    pub request_status: u16,
    /// `limit-conn-status-code`.
    pub connection_status: u16,
}

/// A leaky bucket of NGINX's `limit_req`, which counts in thousandths of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRate {
    /// What leaks in a second. Thousandths of a request, rounded down as NGINX does.
    pub rate: u64,
    /// What the bucket holds. Thousandths of a request.
    pub burst: u64,
}

impl RequestRate {
    /// So many requests in this time, given in seconds, and `burst` requests more at once.
    #[must_use]
    pub const fn new(requests: u32, seconds: u32, burst: u64) -> Self {
        // Far above what any client sends, far below what would overflow.
        const MOST: u64 = 1_000_000_000_000;
        let burst = if burst < MOST { burst } else { MOST };
        Self { rate: requests as u64 * 1000 / seconds as u64, burst: burst * 1000 }
    }
}

/// What tells clients apart (`limit-conn-zone-variable`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LimitKey {
    /// The client's address (reference section 5.2).
    #[default]
    Address,
    /// What the request has for this; a request that has nothing is not limited.
    Text(Text),
}

/// How fast an answer's body goes to the client (`limit-rate`, `limit-rate-after`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Bytes in a second; 0: as fast as can be.
    pub rate: u64,
    /// Bytes that come first and without limit.
    pub after: u64,
}
