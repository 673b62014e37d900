//! `enable-modsecurity` and what goes with it (reference section 1.10): which rules judge requests,
//! put together as ingress-nginx does, the Ingress' own first.

use std::sync::Arc;

use super::{Parser, snippet, value::boolean};
use crate::{
    firewall::{Part, RuleSetError},
    model::Firewall,
    translate::text,
};

const ENABLE: &str = "enable-modsecurity";
const CORE: &str = "enable-owasp-core-rules";
const SNIPPET: &str = "modsecurity-snippet";
const ID: &str = "modsecurity-transaction-id";

pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Option<Firewall> {
    let enabled = protecting(parser, ENABLE);
    let core = protecting(parser, CORE) == Some(true);
    let own = own_snippet(parser);
    let id = transaction_id(parser);
    let shared = parser.config.firewall.clone();
    if !enabled.unwrap_or(shared.enabled) {
        // As with ingress-nginx, where nothing of it has an effect then.
        let asks = [(CORE, core), (SNIPPET, own.is_some()), (ID, id.is_some())];
        for (key, _) in asks.into_iter().filter(|(_, asks)| *asks && enabled.is_none()) {
            parser.warn(key, "has no effect without `enable-modsecurity: \"true\"`");
        }
        return None;
    }
    let mut parts: Vec<Part> = own.iter().map(|text| Part::Snippet(Arc::clone(text))).collect();
    if !shared.enabled {
        parts.push(Part::Base);
    }
    if core && !shared.core {
        parts.push(Part::Core);
    }
    parts.extend_from_slice(&shared.parts);
    let mut found = shared.library.rule_set(&parts);
    if let (Some(_), Err(RuleSetError::Snippet { part: 0, fault })) = (&own, &found) {
        snippet::without(parser, SNIPPET, &fault.to_string());
        // Where that leaves it out, the rest is there.
        parts.remove(0);
        found = shared.library.rule_set(&parts);
    }
    let rules = match found {
        Ok(rules) => rules,
        Err(error) => {
            let key = if core { CORE } else { ENABLE };
            parser.deny(key, &format!("cannot be obeyed: {error}"));
            return None;
        }
    };
    if own.is_some() {
        for (line, note) in rules.notes() {
            parser.warn(SNIPPET, &format!("line {line}: {note}"));
        }
    }
    (!rules.is_off()).then_some(Firewall { rules, transaction_id: id })
}

/// A boolean that asks for protection: what is none denies.
fn protecting(parser: &mut Parser<'_, '_>, key: &str) -> Option<bool> {
    match boolean(parser.values.get(key)?) {
        Ok(value) => Some(value),
        Err(_) => {
            parser.deny(key, "is neither `true` nor `false`");
            None
        }
    }
}

/// The snippet, where snippets are allowed.
fn own_snippet(parser: &mut Parser<'_, '_>) -> Option<Arc<str>> {
    let text = parser.values.get(SNIPPET).filter(|text| !text.trim().is_empty())?;
    let text = Arc::from(text);
    match snippet::forbidden(parser, SNIPPET) {
        None => Some(text),
        Some(why) => {
            snippet::without(parser, SNIPPET, &why);
            None
        }
    }
}

/// What requests are called in the log. One that cannot be understood protects nobody less.
fn transaction_id(parser: &mut Parser<'_, '_>) -> Option<crate::model::Text> {
    let value = parser.values.get(ID).filter(|value| !value.is_empty())?.to_owned();
    match text::parse(&value) {
        Ok(id) => Some(id),
        Err(why) => {
            parser.warn(ID, &format!("has no effect: {why}"));
            None
        }
    }
}
