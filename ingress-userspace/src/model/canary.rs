use std::sync::Arc;

use super::{BackendId, ObjectRef};
use crate::expression::Expression;

/// The backend that gets a part of the requests of another, the main one (reference section 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// The canary's Ingress.
    pub ingress: ObjectRef,
    /// Where the part goes. Without endpoints it gets nothing.
    pub backend: BackendId,
    /// `canary-by-header` and its companions.
    pub header: Option<CanaryHeader>,
    /// `canary-by-cookie`: the cookie whose value `always` or `never` decides.
    pub cookie: Option<Arc<str>>,
    /// `canary-weight`: of how many requests in `total` that nothing else decided.
    pub weight: u32,
    /// `canary-weight-total`, at least 100.
    pub total: u32,
    /// The main backend's sessions bind clients to either backend. Else
    /// (`affinity-canary-behavior: legacy`) those of the canary are bound to nothing.
    pub sticky: bool,
}

/// A header that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryHeader {
    /// Its name, lower case.
    pub name: Arc<str>,
    /// What it must say.
    pub rule: CanaryHeaderRule,
}

/// What a header must say for the canary to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryHeaderRule {
    /// `always`; `never` decides too, against it.
    Word,
    /// Exactly this.
    Value(Arc<str>),
    /// Something in which this is found.
    Pattern(Expression),
}
