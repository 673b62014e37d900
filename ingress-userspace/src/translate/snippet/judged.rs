//! `auth_request_set`: what snippets make of the answer of the server of `auth-url`. A variable that
//! it makes stands for its parts wherever it is named.

use std::collections::{BTreeMap, BTreeSet};

use super::{parse::Directive, token::Fault, value::is_builtin};
use crate::model::{Judged, Part};

/// Variables, and what each stands for.
pub(super) type Made = BTreeMap<String, Box<[Part]>>;

/// The variables of a `configuration-snippet`, wherever in it they are used. `own`: those that a `set`
/// makes.
pub(super) fn made(
    directives: &[Directive],
    own: &BTreeSet<String>,
    faults: &mut Vec<Fault>,
) -> Made {
    let mut made = Made::new();
    for directive in directives.iter().filter(|one| one.name == "auth_request_set") {
        match one(directive, own) {
            Ok((name, parts)) => {
                made.insert(name, parts);
            }
            Err(why) => {
                let why = format!("`auth_request_set`: {why}");
                faults.push(Fault::new(directive.line, why));
            }
        }
    }
    made
}

fn one(directive: &Directive, own: &BTreeSet<String>) -> Result<(String, Box<[Part]>), String> {
    let [name, text] = &*directive.arguments else {
        return Err("is not `auth_request_set $name value`".to_owned());
    };
    let name = name.strip_prefix('$').ok_or("names no variable")?;
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_part) {
        return Err(format!("`${name}` is no name of a variable"));
    }
    if is_builtin(name) {
        return Err(format!("`${name}` is one of nginx's own variables"));
    }
    if own.contains(name) {
        return Err(format!("`${name}` is made by a `set` too, which is not supported"));
    }
    Ok((name.to_owned(), parts(text)?))
}

/// Text, and variables of the answer.
fn parts(text: &str) -> Result<Box<[Part]>, String> {
    let mut parts = Vec::new();
    crate::translate::text::cut(text, |part| {
        parts.push(match part {
            crate::translate::text::Part::Text(text) => Part::Text(text.into()),
            crate::translate::text::Part::Name(name) => Part::Judged(judged(name)?),
        });
        Ok(())
    })?;
    Ok(parts.into())
}

fn judged(name: &str) -> Result<Judged, String> {
    let family = |begin| name.strip_prefix(begin).filter(|rest: &&str| !rest.is_empty());
    if name == "upstream_status" {
        Ok(Judged::Status)
    } else if let Some(field) = family("upstream_http_") {
        Ok(Judged::Header(field.to_ascii_lowercase().replace('_', "-").into()))
    } else if let Some(cookie) = family("upstream_cookie_") {
        Ok(Judged::Cookie(cookie.into()))
    } else {
        Err(format!(
            "`${name}` is not supported here; `$upstream_http_…`, `$upstream_cookie_…` and \
             `$upstream_status` are"
        ))
    }
}
