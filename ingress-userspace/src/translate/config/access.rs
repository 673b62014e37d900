//! The keys that keep clients out, whatever Ingress they ask for.

use super::{Config, Reader, list};
use crate::{
    model::{Blocked, Denial, HeaderPattern},
    translate::annotations::{Invalid, source_ranges},
};

impl Reader<'_, '_> {
    /// `denylist-source-range`, `whitelist-source-range` and `block-cidrs`. A list that cannot be
    /// read closes everything: who is kept out is not known.
    pub(super) fn sources(&mut self, config: &mut Config) {
        let places = [
            ("denylist-source-range", &mut config.sources.denied),
            ("whitelist-source-range", &mut config.sources.allowed),
            ("block-cidrs", &mut config.blocked),
        ];
        for (key, place) in places {
            let Some(value) = self.get(key).filter(|value| !value.is_empty()) else { continue };
            match source_ranges(value) {
                Ok(ranges) => *place = ranges,
                Err(Invalid(expected)) => {
                    self.close(key, &format!("is not {expected}"), &mut config.denial);
                }
            }
        }
    }

    /// `block-user-agents` and `block-referers`. Likewise of a pattern that is none.
    pub(super) fn blocked(&mut self, config: &mut Config) {
        let mut blocked = Blocked::default();
        let places = [
            ("block-user-agents", &mut blocked.user_agents),
            ("block-referers", &mut blocked.referers),
        ];
        for (key, place) in places {
            let items = self.get(key).map(list).unwrap_or_default();
            let mut patterns = Vec::new();
            for item in &items {
                match HeaderPattern::parse(unquoted(item)) {
                    Ok(pattern) => patterns.push(pattern),
                    Err(why) => {
                        let message = format!("has an item that is no regular expression ({why})");
                        self.close(key, &message, &mut config.denial);
                    }
                }
            }
            *place = patterns.into();
        }
        let some = blocked != Blocked::default();
        config.settings.blocked = some.then(|| Box::new(blocked));
    }

    fn close(&mut self, key: &str, why: &str, denial: &mut Option<Denial>) {
        self.report.error(format!("data.{key}"), format!("{why}; everything answers 503"));
        denial.get_or_insert_with(|| Denial { key: key.into() });
    }
}

/// NGINX wants quotes around what holds spaces or braces; here nothing does.
fn unquoted(item: &str) -> &str {
    let inner = |quote: char| item.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(item)
}
