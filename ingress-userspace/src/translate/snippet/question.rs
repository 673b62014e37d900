//! `auth-snippet` and `global-auth-snippet`: what the server of external authentication is told.

use std::{collections::BTreeSet, sync::Arc};

use super::{fields::named, judged, parse::Directive, token::Fault};
use crate::{
    model::{Text, Variable},
    translate::text,
};

/// What an `auth-snippet` amounts to.
#[derive(Debug, Default)]
pub(in crate::translate) struct Question {
    /// Of `proxy_set_header`.
    pub(in crate::translate) fields: Vec<(Arc<str>, Text)>,
    /// The variables of `auth_request_set`, with their lines. nginx knows them and never gives them a
    /// value: in the location that asks the server nobody is asked about the request.
    pub(in crate::translate) unset: Vec<(usize, String)>,
}

/// The fields of `proxy_set_header`, and what does nothing there in nginx either.
pub(in crate::translate) fn question(directives: &[Directive]) -> Result<Question, Vec<Fault>> {
    let (mut fields, mut faults, mut unset) = (Vec::new(), Vec::new(), Vec::new());
    let made = judged::made(directives, &BTreeSet::new(), &mut faults);
    for directive in directives {
        let name = &*directive.name;
        let words: Vec<&str> = directive.arguments.iter().map(|word| &**word).collect();
        let taken = match (name, &*words, &directive.block) {
            ("proxy_set_header", [field, text], None) => self::field(field, text),
            // It was taken, or refused, before.
            ("auth_request_set", [variable, ..], None) => {
                let made = made.get_key_value(variable.trim_start_matches('$'));
                unset.extend(made.map(|(name, _)| (directive.line, name.clone())));
                Ok(None)
            }
            _ => Err("is not supported here; only `proxy_set_header` is".to_owned()),
        };
        match taken {
            Ok(field) => fields.extend(field),
            Err(why) => faults.push(Fault::new(directive.line, format!("`{name}`: {why}"))),
        }
    }
    super::without_faults(faults)?;
    Ok(Question { fields, unset })
}

fn field(name: &str, value: &str) -> Result<Option<(Arc<str>, Text)>, String> {
    // No body is sent, and connections are ours to keep.
    let framing = ["content-length", "connection", "upgrade", "transfer-encoding"];
    if value.is_empty() && framing.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Ok(None);
    }
    if name.eq_ignore_ascii_case("host") {
        return Err("`Host` is that of `auth-url`, by which the server is found".to_owned());
    }
    let name = named(name)?;
    if value.chars().any(char::is_control) {
        return Err(format!("has a control character in `{name}`"));
    }
    let text = text::parse(value)?;
    if text.variables().any(|variable| *variable == Variable::BinaryRemoteAddr) {
        return Err("`$binary_remote_addr` is no text".to_owned());
    }
    Ok(Some((name, text)))
}
