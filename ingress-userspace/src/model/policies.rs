use super::{AddressRange, Limits, Mirror};

/// What the annotations of an Ingress ask for beyond forwarding; one field for each stage of the
/// pipeline that they switch on. Routes of Ingresses that ask for none of it have no such value at
/// all and pay for finding that out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// How much one client may have.
    pub limits: Option<Limits>,
    /// Who may ask, by address.
    pub sources: Option<Sources>,
    /// Who gets copies of requests.
    pub mirror: Option<Mirror>,
}

/// `denylist-source-range` and `whitelist-source-range`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Who may not. Precedes `allowed`.
    pub denied: Box<[AddressRange]>,
    /// Who alone may; empty: everyone.
    pub allowed: Box<[AddressRange]>,
}
