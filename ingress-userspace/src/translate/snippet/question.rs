//! `auth-snippet` and `global-auth-snippet`: what the server of external authentication is told.

use std::sync::Arc;

use super::{fields::named, parse::Directive, token::Fault};
use crate::{
    model::{Text, Variable},
    translate::text,
};

/// The fields of `proxy_set_header`, all that may stand there.
pub(in crate::translate) fn question(
    directives: &[Directive],
) -> Result<Vec<(Arc<str>, Text)>, Vec<Fault>> {
    let (mut fields, mut faults) = (Vec::new(), Vec::new());
    for directive in directives {
        let name = &*directive.name;
        let words: Vec<&str> = directive.arguments.iter().map(|word| &**word).collect();
        let taken = match (name, &*words, &directive.block) {
            ("proxy_set_header", [field, text], None) => self::field(field, text),
            _ => Err("is not supported here; only `proxy_set_header` is".to_owned()),
        };
        match taken {
            Ok(field) => fields.extend(field),
            Err(why) => faults.push(Fault::new(directive.line, format!("`{name}`: {why}"))),
        }
    }
    super::without_faults(faults)?;
    Ok(fields)
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
