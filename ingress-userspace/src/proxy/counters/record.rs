//! What is written down of a request when it has ended: one cache line, appended to the worker's own
//! batch. To add it to its series takes memory that is cold where there are many routes, and is done
//! for a whole batch at once ([`super::book`]).

use std::sync::Arc;

use http::Method;

use crate::model::Backend;

/// A duration that there is none of.
pub(super) const NONE: u64 = u64::MAX;

/// Methods that have series of their own, as nginx knows them; others are the client's to make up.
pub(super) const METHODS: [&str; 16] = [
    "OTHER", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE",
    "MKCOL", "COPY", "MOVE", "PROPFIND", "LOCK", "UNLOCK",
];

/// What happened to a request.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// The number of its route, or of its host where it found none: see `route::HostTable`.
    pub(super) number: u64,
    /// The backend that was asked instead of the route's.
    pub(super) canary: Option<Arc<Backend>>,
    /// Microseconds, as the following; [`NONE`] where it did not happen.
    pub(super) request: u64,
    pub(super) response: u64,
    pub(super) header: u32,
    pub(super) connect: u32,
    /// Bytes that came from the client and went to it.
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) variant: Variant,
}

const _: () = assert!(size_of::<Record>() == 64, "one cache line");

/// What tells the series of a route from each other, but for its canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Variant {
    /// 2 and 0 stand for `2xx` where only classes are told apart.
    pub(super) status: u16,
    /// Place in [`METHODS`].
    pub(super) method: u8,
}

/// The place of a method in [`METHODS`].
pub(super) fn known(method: &Method) -> u8 {
    let name = method.as_str();
    let known = METHODS.iter().skip(1).position(|known| *known == name);
    known.and_then(|place| u8::try_from(place + 1).ok()).unwrap_or_default()
}

impl Variant {
    /// The class of the status in its place; what is one stays.
    pub(super) fn by_class(self) -> Self {
        let status = if self.status < 10 { self.status } else { self.status / 100 };
        Self { status, ..self }
    }

    /// Likewise, and of any method.
    pub(super) fn coarse(self) -> Self {
        Self { method: 0, ..self.by_class() }
    }

    pub(super) fn method(self) -> &'static str {
        METHODS.get(usize::from(self.method)).copied().unwrap_or(METHODS[0])
    }

    /// The label `status`.
    pub(super) fn status(self) -> String {
        match self.status {
            0..=9 => format!("{}xx", self.status),
            status => status.to_string(),
        }
    }
}

/// A duration that may not have been, in the four bytes that it has. More than 71 minutes, which no
/// connection takes to open, count as 71 minutes.
pub(super) fn short(micros: Option<u64>) -> u32 {
    micros.map_or(u32::MAX, |micros| u32::try_from(micros).unwrap_or(u32::MAX - 1))
}

/// The reverse of [`short`].
pub(super) fn long(micros: u32) -> u64 {
    if micros == u32::MAX { NONE } else { u64::from(micros) }
}
