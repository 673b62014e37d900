//! From a word of a snippet to a [`Value`].

use std::collections::BTreeSet;

use super::judged::Made;
use crate::model::{Part, Value, Variable};

/// What values may refer to.
#[derive(Clone, Copy)]
pub(super) struct Known<'k> {
    /// The variables that some `set` makes.
    pub(super) own: &'k BTreeSet<String>,
    /// Those that an `auth_request_set` makes.
    pub(super) judged: &'k Made,
    /// There is an answer already.
    pub(super) answer: bool,
}

/// Cuts a word with variables into parts; says which variable is not known.
pub(super) fn value(text: &str, known: Known<'_>) -> Result<Value, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        if !before.is_empty() {
            parts.push(Part::Text(before.into()));
        }
        if let Some(digit @ '1'..='9') = after.chars().next() {
            parts.push(Part::Group(digit as usize - '0' as usize));
            rest = after.get(1..).unwrap_or_default();
            continue;
        }
        let name;
        (name, rest) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or("a `${` has no `}`")?,
            None => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                after.split_at(after.find(|c| !is_part(c)).unwrap_or(after.len()))
            }
        };
        match known.judged.get(name) {
            Some(own) if known.answer => parts.extend(own.iter().cloned()),
            _ => parts.push(variable(name, known)?),
        }
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    Ok(Value { parts: parts.into() })
}

/// The variable of this name, without the dollar sign.
pub(super) fn variable(name: &str, known: Known<'_>) -> Result<Part, String> {
    if known.own.contains(name) {
        return Ok(Part::Own(name.into()));
    }
    if known.judged.contains_key(name) {
        return Err(format!("`${name}` is not known before `auth-url` was asked, which is later"));
    }
    let part = match name {
        "http_host" | "best_http_host" | "this_host" => Part::Authority,
        "remote_user" => Part::RemoteUser,
        "is_args" => Part::QuestionMark,
        "https" => Part::Https,
        "content_type" => Part::Variable(Variable::Header("content-type".into())),
        "content_length" => Part::Variable(Variable::Header("content-length".into())),
        "status" => Part::Status,
        _ => match name.strip_prefix("upstream_http_").filter(|field| !field.is_empty()) {
            Some(field) => Part::Upstream(field.to_ascii_lowercase().replace('_', "-").into()),
            None => {
                let variable = Variable::named(name)
                    .filter(|variable| *variable != Variable::BinaryRemoteAddr)
                    .ok_or_else(|| format!("the variable `${name}` is not known"))?;
                Part::Variable(variable)
            }
        },
    };
    if part.is_of_answer() && !known.answer {
        return Err(format!("`${name}` is not known before there is an answer"));
    }
    Ok(part)
}

/// nginx has this variable itself, so that no `set` can make it.
pub(super) fn is_builtin(name: &str) -> bool {
    let (own, judged) = (BTreeSet::new(), Made::new());
    variable(name, Known { own: &own, judged: &judged, answer: true }).is_ok()
        || ["upstream_", "sent_http_", "ssl_", "proxy_", "geoip", "nginx_", "time_", "auth_cookie"]
            .iter()
            .any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_text_variables_and_groups() {
        let own = BTreeSet::from(["mine".to_owned()]);
        let judged = Made::new();
        let known = Known { own: &own, judged: &judged, answer: false };
        let parts = value("https://$host/${mine}x$12$http_host", known).expect("known");
        assert_eq!(
            parts.parts.into_vec(),
            [
                Part::Text("https://".into()),
                Part::Variable(Variable::Host),
                Part::Text("/".into()),
                Part::Own("mine".into()),
                Part::Text("x".into()),
                Part::Group(1),
                Part::Text("2".into()),
                Part::Authority,
            ]
        );
        for bad in ["$", "a$ b", "${host", "$nonsense", "$status", "$upstream_http_x", "$0"] {
            assert!(value(bad, known).is_err(), "{bad}");
        }
        assert!(value("$status", Known { answer: true, ..known }).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_cut_or_refused(text in any::<String>(), dollars in "[$a-z{}1-9_]{0,20}") {
            let (own, judged) = (BTreeSet::new(), Made::new());
            let known = Known { own: &own, judged: &judged, answer: true };
            let _any = value(&text, known);
            let _any = value(&dollars, known);
        }
    }
}
