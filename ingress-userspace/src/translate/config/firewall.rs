//! The firewall of all Ingresses (reference section 9.1): `enable-modsecurity`,
//! `enable-owasp-modsecurity-crs` and `modsecurity-snippet`.

use std::sync::Arc;

use super::{Config, Reader, boolean};
use crate::{
    firewall::{Library, Part, RuleSetError},
    model::{Denial, Firewall},
};

/// What the ConfigMap says about the firewall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::translate) struct SharedFirewall {
    /// `enable-modsecurity`.
    pub(in crate::translate) enabled: bool,
    /// The Core Rule Set is among the parts.
    pub(in crate::translate) core: bool,
    /// What every Ingress' rules end with; empty unless it is enabled.
    pub(in crate::translate) parts: Vec<Part>,
    /// What judges requests of nobody's own rules.
    pub(in crate::translate) own: Option<Firewall>,
    /// Where rule sets are from.
    pub(in crate::translate) library: Library,
}

impl Reader<'_, '_> {
    pub(super) fn firewall(&mut self, library: &Library, config: &mut Config) {
        const SNIPPET: &str = "modsecurity-snippet";
        const CORE: &str = "enable-owasp-modsecurity-crs";
        let enabled = self.protecting("enable-modsecurity", config);
        let core = self.protecting(CORE, config);
        let snippet = self.get(SNIPPET).filter(|text| !text.is_empty()).map(Arc::<str>::from);
        let library = library.clone();
        if !enabled {
            for (key, asks) in [(CORE, core), (SNIPPET, snippet.is_some())] {
                if asks {
                    let why = "has no effect without `enable-modsecurity: \"true\"`";
                    self.report.warning(format!("data.{key}"), why);
                }
            }
            config.firewall = SharedFirewall { library, ..SharedFirewall::default() };
            return;
        }
        let has_snippet = snippet.is_some();
        let mut parts: Vec<Part> = snippet.into_iter().map(Part::Snippet).collect();
        parts.push(Part::Base);
        if core {
            parts.push(Part::Core);
        }
        let own = match library.rule_set(&parts) {
            Ok(rules) => {
                for (line, note) in rules.notes() {
                    let note = format!("line {line}: {note}");
                    self.report.warning(format!("data.{SNIPPET}"), note);
                }
                (!rules.is_off()).then_some(Firewall { rules, transaction_id: None })
            }
            Err(error) => {
                let key = match &error {
                    RuleSetError::Snippet { .. } if has_snippet => SNIPPET,
                    _ => CORE,
                };
                self.deny_all(key, &format!("cannot be obeyed: {error}"), config);
                None
            }
        };
        config.firewall = SharedFirewall { enabled, core, parts, own, library };
    }

    /// A boolean that asks for protection: what is none denies.
    fn protecting(&mut self, key: &str, config: &mut Config) -> bool {
        match self.get(key).filter(|value| !value.is_empty()).map(boolean) {
            None => false,
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                self.deny_all(key, "is neither `true` nor `false`", config);
                false
            }
        }
    }

    fn deny_all(&mut self, key: &str, why: &str, config: &mut Config) {
        let message = format!("{why}; everything answers 503");
        self.report.error(format!("data.{key}"), message);
        config.denial.get_or_insert_with(|| Denial { key: Arc::from(key) });
    }
}
