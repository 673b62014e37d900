use std::sync::Arc;

use super::{AddressRange, Cors, ErrorPages, FieldSetting};

/// What the annotations of an Ingress ask for beyond forwarding; one field for each stage of the
/// pipeline that they switch on. Routes of Ingresses that ask for none of it have no such value at
/// all and pay for finding that out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Who may ask, by address.
    pub sources: Option<Sources>,
    /// What browsers are told about other origins.
    pub cors: Option<Cors>,
    /// `custom-headers`: fields that clients get, instead of any others of their names.
    pub headers: Option<Arc<[FieldSetting]>>,
    /// Who answers in the place of errors.
    pub errors: Option<ErrorPages>,
}

/// `denylist-source-range` and `whitelist-source-range`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Who may not. Precedes `allowed`.
    pub denied: Box<[AddressRange]>,
    /// Who alone may; empty: everyone.
    pub allowed: Box<[AddressRange]>,
}
