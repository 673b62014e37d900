//! The directives of nginx's rewrite module: `set`, `break`, `return`, `rewrite`, `if`.

use super::{
    lower::{Lower, Place},
    parse::Directive,
    token::Fault,
    value::{Known, is_builtin, value, variable},
};
use crate::model::{Condition, Jump, Part, Pattern, Return, RewriteStep, Step, Test, Value};

impl Lower {
    /// The step, if the directive is one.
    pub(super) fn step(
        &mut self,
        directive: &Directive,
        place: Place,
        context: usize,
    ) -> Result<Option<Step>, Fault> {
        let fault =
            |why: String| Fault::new(directive.line, format!("`{}`: {why}", directive.name));
        let arguments: Vec<&str> = directive.arguments.iter().map(|word| &**word).collect();
        let known = Known { own: &self.names, judged: &self.judged, answer: false };
        let step = match (&*directive.name, &*arguments) {
            ("set", [name, text]) => {
                let name =
                    name.strip_prefix('$').ok_or_else(|| fault("names no variable".into()))?;
                let value = value(text, known).map_err(fault)?;
                match name {
                    "args" => Step::SetArgs(value),
                    _ if is_builtin(name) => {
                        return Err(fault(format!("`${name}` is one of nginx's own variables")));
                    }
                    _ => Step::Set(name.into(), value),
                }
            }
            ("break", []) => Step::Break,
            ("return", [_] | [_, _]) => Step::Return(returned(&arguments, known).map_err(fault)?),
            ("rewrite", [pattern, to]) => {
                Step::Rewrite(rewrite(pattern, to, None, known).map_err(fault)?)
            }
            ("rewrite", [pattern, to, flag]) => {
                Step::Rewrite(rewrite(pattern, to, Some(flag), known).map_err(fault)?)
            }
            ("if", _) => {
                let condition = condition(&arguments, known).map_err(fault)?;
                let Some(block) = &directive.block else {
                    return Err(fault("has no block".into()));
                };
                return Ok(Some(self.branch(condition, block, place, context)));
            }
            ("set" | "break" | "return" | "rewrite", _) => {
                return Err(fault("has too few or too many values".into()));
            }
            _ => return Ok(None),
        };
        if directive.block.is_some() {
            return Err(fault("has no block in nginx".into()));
        }
        Ok(Some(step))
    }

    /// In a location, an `if` that is true takes the place of what held before.
    fn branch(
        &mut self,
        condition: Condition,
        block: &[Directive],
        place: Place,
        context: usize,
    ) -> Step {
        let inner = place.inside_if();
        let context = match inner {
            Place::ServerIf => context,
            _ => self.new_context(),
        };
        let steps = self.block(block, inner, context).into();
        let context = (inner != Place::ServerIf).then_some(context);
        Step::If { condition, context, steps }
    }
}

fn is_url(text: &str) -> bool {
    ["http://", "https://", "$scheme"].iter().any(|begin| text.starts_with(begin))
}

fn returned(arguments: &[&str], known: Known<'_>) -> Result<Return, String> {
    let code = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let status = text.parse().ok().filter(|status| digits && (200..=999).contains(status));
        status.ok_or_else(|| format!("`{text}` is neither a status nor a URL"))
    };
    match arguments {
        [url] if is_url(url) => Ok(Return { status: 302, text: Some(value(url, known)?) }),
        [status] => Ok(Return { status: code(status)?, text: None }),
        [status, text] => Ok(Return { status: code(status)?, text: Some(value(text, known)?) }),
        _ => Err("has too few or too many values".into()),
    }
}

/// The last group that is remembered.
const LAST_GROUP: usize = 9;

/// A regular expression. Its groups with names make variables.
pub(super) fn pattern(text: &str, insensitive: bool) -> Result<Pattern, String> {
    let pattern = Pattern::new(text, insensitive).map_err(|error| {
        let error = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("`{text}` is no regular expression: {error}")
    })?;
    for (group, name) in pattern.names() {
        if is_builtin(name) {
            return Err(format!("`${name}` is one of nginx's own variables"));
        }
        if *group > LAST_GROUP {
            return Err(format!("`{name}` is its group {group}; {LAST_GROUP} are remembered"));
        }
    }
    Ok(pattern)
}

fn rewrite(
    text: &str,
    to: &str,
    flag: Option<&str>,
    known: Known<'_>,
) -> Result<RewriteStep, String> {
    let then = match (flag, is_url(to)) {
        (Some("permanent"), _) => Jump::Redirect(301),
        (Some("redirect"), _) | (None | Some("last" | "break"), true) => Jump::Redirect(302),
        (Some("last"), false) => Jump::Last,
        (Some("break"), false) => Jump::Break,
        (None, false) => Jump::Continue,
        (Some(other), _) => return Err(format!("`{other}` is no flag of it")),
    };
    let (to, keep_args) = match to.strip_suffix('?') {
        Some(to) => (to, false),
        None => (to, true),
    };
    let pattern = pattern(text, false)?;
    let redirects = matches!(then, Jump::Redirect(_));
    let (path, args) = match to.split_once('?').filter(|_| !redirects) {
        Some((path, args)) => (value(path, known)?, Some(value(args, known)?)),
        None => (value(to, known)?, None),
    };
    if path.parts.is_empty() {
        return Err("leads nowhere".into());
    }
    Ok(RewriteStep { pattern, path, args, keep_args, has_args: to.contains('?'), then })
}

/// `($variable)`, `($variable operator text)`.
fn condition(words: &[&str], known: Known<'_>) -> Result<Condition, String> {
    const FORM: &str = "is not `($variable = text)`, with `=`, `!=`, `~`, `~*`, `!~` or `!~*`";
    let mut words = words.to_vec();
    let first = words.first_mut().ok_or(FORM)?;
    *first = first.strip_prefix('(').ok_or(FORM)?;
    let last = words.last_mut().ok_or(FORM)?;
    *last = last.strip_suffix(')').ok_or(FORM)?;
    if words.first().is_some_and(|word| word.is_empty()) {
        words.remove(0);
    }
    if words.len() > 1 && words.last().is_some_and(|word| word.is_empty()) {
        // `( $a = "" )` has a word of its own for the parenthesis.
        words.pop();
    }
    let (name, rest) = words.split_first().ok_or(FORM)?;
    let name = name.strip_prefix('$').ok_or(FORM)?;
    let left = variable(name, known)?;
    let test = match rest {
        [] => Test::IsSet,
        [sign @ ("=" | "!="), right] => {
            Test::Equals { right: value(right, known)?, not: *sign == "!=" }
        }
        ["="] => Test::Equals { right: Value::default(), not: false },
        ["!="] => Test::Equals { right: Value::default(), not: true },
        [sign @ ("~" | "~*" | "!~" | "!~*"), right] => Test::Matches {
            pattern: pattern(right, sign.ends_with('*'))?,
            not: sign.starts_with('!'),
        },
        _ => return Err(FORM.into()),
    };
    Ok(Condition { left, test })
}

/// The names of the groups of an expression; what is none makes a name that nothing ever sets.
fn groups(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("(?").filter_map(|(at, _)| {
        let rest = text.get(at + 2..)?;
        let rest = rest.strip_prefix('P').unwrap_or(rest);
        let (name, _) = match rest.strip_prefix('<') {
            Some(rest) => rest.split_once('>')?,
            None => rest.strip_prefix('\'')?.split_once('\'')?,
        };
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        (!name.is_empty() && name.bytes().all(is_part)).then_some(name)
    })
}

/// The variables that `set` and groups with names make, wherever they stand.
pub(super) fn names(directives: &[Directive], names: &mut std::collections::BTreeSet<String>) {
    for directive in directives {
        if let ("set", [name, _]) = (&*directive.name, &*directive.arguments)
            && let Some(name) = name.strip_prefix('$')
            && !is_builtin(name)
        {
            names.insert(name.to_owned());
        }
        if matches!(&*directive.name, "if" | "rewrite" | "location") {
            let all = directive.arguments.iter().flat_map(|text| groups(text));
            names.extend(all.filter(|name| !is_builtin(name)).map(str::to_owned));
        }
        self::names(directive.block.as_deref().unwrap_or_default(), names);
    }
}

/// Some value of it is known only after the server of `auth-url` has answered.
pub(super) fn judged(value: &Value) -> bool {
    value.parts.iter().any(Part::is_judged)
}

/// Some value of it is known only after the endpoint has answered.
pub(super) fn of_answer(value: &Value) -> bool {
    value.parts.iter().any(Part::is_of_answer)
}
