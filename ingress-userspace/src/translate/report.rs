use crate::model::{Diagnostic, ObjectRef, Severity};

/// Stands in a message about a value that ingress-nginx obeys.
pub(crate) const UNLIKE: &str = "unlike with ingress-nginx";

/// Collects what is wrong with one object.
pub(super) struct Report<'d> {
    pub(super) object: ObjectRef,
    diagnostics: &'d mut Vec<Diagnostic>,
}

impl<'d> Report<'d> {
    pub(super) fn on(object: ObjectRef, diagnostics: &'d mut Vec<Diagnostic>) -> Self {
        Self { object, diagnostics }
    }

    /// The object is served, though the field has no effect.
    pub(super) fn warning(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Warning, field.into(), message.into());
    }

    /// What the field is about is not served.
    pub(super) fn error(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Error, field.into(), message.into());
    }

    fn add(&mut self, severity: Severity, field: String, message: String) {
        let object = self.object.clone();
        self.diagnostics.push(Diagnostic { severity, object, field, message });
    }
}
