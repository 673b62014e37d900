//! Label selectors as text, as `labels.Parse` of Kubernetes reads them.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use k8s_openapi::api::core::v1::Namespace;

use crate::stores::Store;

/// `--watch-namespace-selector`: which namespaces' Ingresses are served. All requirements must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    /// `None`: any value will do.
    values: Option<BTreeSet<String>>,
    /// It must not be so. A label that is not there has none of the values.
    not: bool,
}

/// Why a text is no selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a list of `key`, `!key`, `key=value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`"
)]
pub struct SelectorError;

impl NamespaceSelector {
    /// The namespace of this name has such labels. One that is not known has none, and is not
    /// selected whatever is asked for: its Ingresses wait.
    pub(super) fn selects(&self, namespaces: &Store<Namespace>, name: &str) -> bool {
        let none = BTreeMap::new();
        namespaces.get("", name).is_some_and(|namespace| {
            let labels = namespace.metadata.labels.as_ref().unwrap_or(&none);
            self.0.iter().all(|requirement| requirement.holds(labels))
        })
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = labels
            .get(&self.key)
            .is_some_and(|value| self.values.as_ref().is_none_or(|values| values.contains(value)));
        has != self.not
    }
}

impl FromStr for NamespaceSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        let mut depth = false;
        // A comma within brackets separates values.
        let parts = text.split(|c: char| {
            depth = match c {
                '(' => true,
                ')' => false,
                _ => depth,
            };
            c == ',' && !depth
        });
        for part in parts {
            requirements.push(requirement(part.trim())?);
        }
        Ok(Self(requirements))
    }
}

fn requirement(text: &str) -> Result<Requirement, SelectorError> {
    if let Some(key) = text.strip_prefix('!') {
        return Ok(Requirement { key: label_key(key)?, values: None, not: true });
    }
    if let Some(list) = text.strip_suffix(')') {
        let (head, list) = list.split_once('(').ok_or(SelectorError)?;
        let (key, word) = head.trim().rsplit_once(char::is_whitespace).ok_or(SelectorError)?;
        let not = match word {
            "in" => false,
            "notin" => true,
            _ => return Err(SelectorError),
        };
        let values: Result<_, _> = list.split(',').map(label_value).collect();
        return Ok(Requirement { key: label_key(key)?, values: Some(values?), not });
    }
    let (key, value, not) = if let Some((key, value)) = text.split_once("!=") {
        (key, Some(value), true)
    } else if let Some((key, value)) = text.split_once("==") {
        (key, Some(value), false)
    } else if let Some((key, value)) = text.split_once('=') {
        (key, Some(value), false)
    } else {
        (text, None, false)
    };
    let values = value.map(label_value).transpose()?.map(|value| BTreeSet::from([value]));
    Ok(Requirement { key: label_key(key)?, values, not })
}

/// `name` or `prefix/name`, as the API server allows.
fn label_key(text: &str) -> Result<String, SelectorError> {
    let text = text.trim();
    let name = text.rsplit_once('/').map_or(
        text,
        |(prefix, name)| {
            if prefix.is_empty() { "" } else { name }
        },
    );
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if name.is_empty() || !text.bytes().all(allowed) {
        return Err(SelectorError);
    }
    Ok(text.to_owned())
}

/// Perhaps empty.
fn label_value(text: &str) -> Result<String, SelectorError> {
    let text = text.trim();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !text.bytes().all(allowed) {
        return Err(SelectorError);
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stores::Key;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let mut namespace = Namespace::default();
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        namespace.metadata.labels = Some(labels.collect());
        let store = [(Key::new("", "web"), Arc::new(namespace))].into_iter().collect();
        let selector: NamespaceSelector = selector.parse().expect("it is one");
        assert!(!selector.selects(&store, "unknown"));
        selector.selects(&store, "web")
    }

    #[test]
    fn requirements_are_those_of_kubernetes() {
        let labels = [("team", "shop"), ("example.com/tier", "front"), ("empty", "")];
        for (selector, expected) in [
            ("team=shop", true),
            ("team==shop", true),
            ("team = shop , empty", true),
            ("team=other", false),
            ("team!=other", true),
            ("missing!=other", true),
            ("missing=other", false),
            ("team", true),
            ("missing", false),
            ("!missing", true),
            ("!team", false),
            ("empty=", true),
            ("team in (shop, other),example.com/tier notin (back)", true),
            ("team in (a,b)", false),
            ("missing notin (a,b)", true),
            ("team=shop,!example.com/tier", false),
        ] {
            assert_eq!(selects(selector, &labels), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in [
            "",
            ",",
            "a=b,",
            "a b",
            "a in b",
            "a in (b",
            "a near (b)",
            "=b",
            "a=b=c",
            "a/",
            "/a",
            "!",
            "a=b c",
        ] {
            assert_eq!(text.parse::<NamespaceSelector>(), Err(SelectorError), "{text:?}");
        }
    }
}
