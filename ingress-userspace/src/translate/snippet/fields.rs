//! The directives of the headers-more module.

use std::sync::Arc;

use super::value::{Known, value};
use crate::model::{FieldRule, InputRule, Part, Value};

/// Fields that say how a message is framed or how its connection goes on: only ours to say.
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "transfer-encoding",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "proxy-connection",
];

/// A name that a snippet may set or clear.
pub(super) fn named(name: &str) -> Result<Arc<str>, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("`{name}` is no name of a header"));
    }
    if FRAMING.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(format!("`{name}` is not for a snippet to set: it frames the message"));
    }
    Ok(name.into())
}

struct Words<'w> {
    statuses: Vec<u16>,
    types: Vec<Arc<str>>,
    replace: bool,
    fields: Vec<&'w str>,
}

/// Separates options from fields. `-s` and `-t` take lists in one word.
fn words<'w>(words: &[&'w str]) -> Result<Words<'w>, String> {
    let mut all =
        Words { statuses: Vec::new(), types: Vec::new(), replace: false, fields: Vec::new() };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match *word {
            "-s" => {
                let list = rest.next().ok_or("`-s` has no list of statuses")?;
                for status in list.split_ascii_whitespace() {
                    let status = status.parse().ok().filter(|status| (100..=999).contains(status));
                    all.statuses.push(status.ok_or("`-s` has something that is no status")?);
                }
            }
            "-t" => {
                let list = rest.next().ok_or("`-t` has no list of types")?;
                let types = list.split_ascii_whitespace();
                all.types.extend(types.map(|kind| kind.to_ascii_lowercase().into()));
            }
            "-r" => all.replace = true,
            option if option.starts_with('-') => {
                return Err(format!("the option `{option}` is not supported"));
            }
            field => all.fields.push(field),
        }
    }
    if all.fields.is_empty() {
        return Err("names no header".into());
    }
    Ok(all)
}

/// A field with what it is to say.
type Setting = (Arc<str>, bool, Option<Value>);

/// `Name: value`, or `Name` to be cleared, which may end with `*`.
fn setting(field: &str, clears: bool, known: Known<'_>) -> Result<Setting, String> {
    if clears {
        let field = field.trim_end_matches(':').trim();
        return match field.strip_suffix('*') {
            Some("") => Err("`*` alone would clear every header".into()),
            Some(begin) => Ok((named(begin)?, true, None)),
            None => Ok((named(field)?, false, None)),
        };
    }
    let (name, text) = field
        .split_once(':')
        .ok_or_else(|| format!("`{field}` has no colon; it is to be `Name: value`"))?;
    let text = text.trim();
    let value = value(text, known)?;
    Ok((named(name.trim())?, false, Some(value).filter(|value| !value.parts.is_empty())))
}

/// `more_set_headers`, `more_clear_headers`.
pub(super) fn rule(all: &[&str], clears: bool, known: Known<'_>) -> Result<Vec<FieldRule>, String> {
    let Words { statuses, types, replace, fields } = words(all)?;
    if replace {
        return Err("the option `-r` is not one of it".into());
    }
    let rule = |field: &&str| {
        let (name, prefix, value) = setting(field, clears, known)?;
        let (statuses, types) = (statuses.clone().into(), types.clone().into());
        Ok(FieldRule { name, prefix, value, statuses, types })
    };
    fields.iter().map(rule).collect()
}

/// `more_set_input_headers`, `more_clear_input_headers`.
pub(super) fn cleared(
    all: &[&str],
    clears: bool,
    known: Known<'_>,
) -> Result<Vec<InputRule>, String> {
    let Words { statuses, types, replace, fields } = words(all)?;
    if !statuses.is_empty() || !types.is_empty() {
        return Err("the options `-s` and `-t` are not supported".into());
    }
    let rule = |field: &&str| {
        let (name, prefix, value) = setting(field, clears, known)?;
        if name.eq_ignore_ascii_case("host") {
            return Err("`Host` cannot be changed so; `upstream-vhost` says it".to_owned());
        }
        if value.iter().flat_map(|value| &value.parts).any(Part::is_of_answer) {
            return Err("refers to the answer, which is not there yet".into());
        }
        if value.iter().flat_map(|value| &value.parts).any(Part::is_judged) {
            return Err("refers to what `auth-url` says, which is asked later".into());
        }
        Ok(InputRule { name, prefix, value, replace })
    };
    fields.iter().map(rule).collect()
}
