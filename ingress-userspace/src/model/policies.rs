use std::sync::Arc;

use super::{AddressRange, Program};

/// What the annotations of an Ingress ask for beyond forwarding; one field for each stage of the
/// pipeline that they switch on. Routes of Ingresses that ask for none of it have no such value at
/// all and pay for finding that out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Who may ask, by address.
    pub sources: Option<Sources>,
    /// `configuration-snippet`, and what the host's `server-snippet` says for all paths.
    pub snippet: Option<Arc<Program>>,
}

/// `denylist-source-range` and `whitelist-source-range`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Who may not. Precedes `allowed`.
    pub denied: Box<[AddressRange]>,
    /// Who alone may; empty: everyone.
    pub allowed: Box<[AddressRange]>,
}
