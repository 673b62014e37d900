//! What people are told about their objects, once.

use std::collections::BTreeSet;

use crate::{
    log::DIAGNOSTICS,
    model::{Diagnostic, Severity},
};

/// Logs each diagnostic once when it appears and once when it is gone, however often the objects
/// around it change.
#[derive(Debug, Default)]
pub(super) struct DiagnosticsLog {
    known: BTreeSet<Diagnostic>,
}

impl DiagnosticsLog {
    pub(super) fn update(&mut self, diagnostics: &[Diagnostic]) {
        let (new, gone) = self.replace(diagnostics);
        for diagnostic in new {
            match diagnostic.severity {
                Severity::Warning => tracing::warn!(target: DIAGNOSTICS, "{diagnostic}"),
                Severity::Error => tracing::error!(target: DIAGNOSTICS, "{diagnostic}"),
            }
        }
        for diagnostic in gone {
            tracing::info!(target: DIAGNOSTICS, "resolved: {diagnostic}");
        }
    }

    /// What is new and what is gone.
    fn replace(&mut self, diagnostics: &[Diagnostic]) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let current: BTreeSet<_> = diagnostics.iter().cloned().collect();
        let new = current.difference(&self.known).cloned().collect();
        let gone = self.known.difference(&current).cloned().collect();
        self.known = current;
        (new, gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ObjectRef;

    fn diagnostic(field: &str) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            object: ObjectRef::new("Ingress", "web", "shop"),
            field: field.to_owned(),
            message: "no".to_owned(),
        }
    }

    #[test]
    fn a_diagnostic_is_told_when_it_comes_and_when_it_goes() {
        let mut log = DiagnosticsLog::default();
        let (one, two) = (diagnostic("one"), diagnostic("two"));
        assert_eq!(log.replace(std::slice::from_ref(&one)), (vec![one.clone()], vec![]));
        assert_eq!(log.replace(&[one.clone(), two.clone()]), (vec![two.clone()], vec![]));
        assert_eq!(log.replace(&[one.clone(), two.clone()]), (vec![], vec![]));
        assert_eq!(log.replace(&[two]), (vec![], vec![one]));
    }
}
