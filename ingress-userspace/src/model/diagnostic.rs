use std::fmt;

use super::ObjectRef;

/// Something in an object that is not served as written, said to the people who wrote it: becomes
/// a log line, an Event, a metric, a line of `penstock check`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The object to edit.
    pub object: ObjectRef,
    /// The field or annotation in it: `spec.rules[0].http.paths[1].pathType`.
    pub field: String,
    /// What is wrong, what is allowed, and what is served instead. Never holds a secret.
    pub message: String,
}

/// How much of the object is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Everything, though something in it has no effect.
    Warning,
    /// Not what the field is about.
    Error,
}

impl fmt::Display for Diagnostic {
    /// `Ingress shop/front: spec.tls[0].secretName: Secret shop/cert does not exist; ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.object, self.field, self.message)
    }
}
