//! nginx's rewrite phase.

use std::sync::Arc;

use super::{Script, place::media_type};
use crate::{
    expression::Groups,
    model::{Condition, Jump, Pattern, Return, RewriteStep, Step, Test},
    proxy::{
        message::{BodyLength, Fields, Known},
        respond::{self, Answer, Failure},
    },
    route::{octets, to_text},
};

/// How steps end.
pub(super) enum Flow {
    /// With the last of them.
    Next,
    /// `break`: none of this location any more.
    Break,
    /// `last`.
    Last,
    Answer {
        answer: Answer,
        /// nginx's own page for a status, which `error_page` may replace.
        is_page: bool,
    },
}

impl Script<'_> {
    /// Goes through the steps.
    pub(super) fn steps(&mut self, steps: &[Step], fields: &Fields) -> Result<Flow, Failure> {
        for step in steps {
            let flow = match step {
                Step::Set(name, value) => {
                    let value = self.value(value, fields, false);
                    self.set(name, value);
                    Flow::Next
                }
                Step::SetArgs(value) => {
                    let value = self.value(value, fields, false);
                    self.args = String::from_utf8_lossy(&value).into_owned();
                    self.replaced = true;
                    Flow::Next
                }
                Step::Break => {
                    (self.changed, self.broken) = (false, true);
                    Flow::Break
                }
                Step::Return(own) => self.give(own, fields)?,
                Step::Rewrite(rewrite) => self.rewrite(rewrite, fields)?,
                Step::If { condition, context, steps } => {
                    if self.holds(condition, fields)? {
                        if let Some(context) = context {
                            self.context = *context;
                        }
                        self.steps(steps, fields)?
                    } else {
                        Flow::Next
                    }
                }
            };
            if !matches!(flow, Flow::Next) {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn set(&mut self, name: &Arc<str>, value: Vec<u8>) {
        match self.own.iter_mut().find(|(own, _)| own == name) {
            Some((_, own)) => *own = value,
            None => self.own.push((Arc::clone(name), value)),
        }
    }

    fn holds(&mut self, condition: &Condition, fields: &Fields) -> Result<bool, Failure> {
        let mut left = Vec::new();
        self.part(&condition.left, fields, false, &mut left);
        Ok(match &condition.test {
            Test::IsSet => !matches!(&*left, b"" | b"0"),
            Test::Equals { right, not } => (left == self.value(right, fields, false)) != *not,
            Test::Matches { pattern, not } => {
                let text = to_text(left);
                self.find(pattern, &text)?.is_some() != *not
            }
        })
    }

    /// The groups of a match, kept for `$1` to `$9`. What cannot be decided in time is refused: it may
    /// decide about access.
    pub(super) fn find(&mut self, pattern: &Pattern, text: &str) -> Result<Option<()>, Failure> {
        let groups: Option<Groups> = pattern.groups(text).map_err(|_undecided| Failure::Denied)?;
        Ok(groups.map(|groups| {
            let group = |place: &Option<(usize, usize)>| {
                let text = place.and_then(|(start, end)| text.get(start..end));
                text.unwrap_or_default().to_owned()
            };
            self.groups = groups.iter().map(group).collect();
            for (group, name) in pattern.names() {
                let value = octets(self.groups.get(*group).map_or("", |text| text));
                self.set(name, value);
            }
        }))
    }

    fn rewrite(&mut self, step: &RewriteStep, fields: &Fields) -> Result<Flow, Failure> {
        let uri = self.uri.clone();
        if self.find(&step.pattern, &uri)?.is_none() {
            return Ok(Flow::Next);
        }
        if let Jump::Redirect(status) = step.then {
            let mut location = unescaped(&self.value(&step.path, fields, true));
            if step.keep_args && !self.args.is_empty() {
                location.push(if step.has_args { b'&' } else { b'?' });
                location.extend_from_slice(self.args.as_bytes());
            }
            return self.elsewhere(status, location);
        }
        let path = self.value(&step.path, fields, false);
        if path.is_empty() {
            return Err(Failure::RewriteLoop);
        }
        match &step.args {
            Some(args) => {
                let mut args = self.value(args, fields, true);
                if step.keep_args && !self.args.is_empty() {
                    args.push(b'&');
                    args.extend_from_slice(self.args.as_bytes());
                }
                self.args = String::from_utf8_lossy(&args).into_owned();
            }
            None if !step.keep_args => self.args.clear(),
            None => {}
        }
        self.uri = to_text(path);
        (self.replaced, self.internal) = (true, true);
        Ok(match step.then {
            Jump::Break => {
                (self.changed, self.broken) = (false, true);
                Flow::Break
            }
            Jump::Last => {
                (self.changed, self.broken) = (true, true);
                Flow::Last
            }
            Jump::Continue | Jump::Redirect(_) => {
                self.changed = true;
                Flow::Next
            }
        })
    }

    fn give(&mut self, own: &Return, fields: &Fields) -> Result<Flow, Failure> {
        let Return { status, text } = own;
        let text = text.as_ref().map(|text| self.value(text, fields, false));
        match (status, text) {
            // The connection ends without a word.
            (444, _) => Err(Failure::Silence),
            (301 | 302 | 303 | 307 | 308, Some(location)) => self.elsewhere(*status, location),
            (300.., None) => {
                Ok(Flow::Answer { answer: respond::stock(*status), is_page: *status >= 300 })
            }
            (_, text) => {
                let kind = media_type(&self.uri);
                let answer = worded(*status, text.unwrap_or_default(), kind);
                Ok(Flow::Answer { answer, is_page: false })
            }
        }
    }

    /// As nginx, a path becomes a whole URL of the host that was asked for.
    fn elsewhere(&self, status: u16, location: Vec<u8>) -> Result<Flow, Failure> {
        let location = match location.starts_with(b"/") {
            true => {
                let scheme: &[u8] = if self.client.tls { b"https://" } else { b"http://" };
                [scheme, self.host.as_bytes(), &location].concat()
            }
            false => location,
        };
        if location.iter().any(|byte| *byte < b' ' || *byte == 0x7F) {
            return Err(Failure::BadRequest);
        }
        let mut answer = respond::stock(status);
        if !location.is_empty() {
            answer.head.fields.push_known(Known::Location, &location);
        }
        Ok(Flow::Answer { answer, is_page: false })
    }
}

/// What nginx takes back of the escapes in a redirect (`NGX_UNESCAPE_REDIRECT`): up to the query,
/// those of printable characters behind `%`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        let code = match rest {
            [b'%', high, low, ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                digit(high)
                    .zip(digit(low))
                    .and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
            }
            _ => None,
        };
        match (code, rest) {
            (_, []) => return out,
            (Some(b'?'), [_, _, _, after @ ..]) | (None, [b'?', after @ ..]) => {
                out.push(b'?');
                out.extend_from_slice(after);
                return out;
            }
            (Some(byte @ b'&'..0x7F), [_, _, _, after @ ..]) => {
                out.push(byte);
                rest = after;
            }
            (_, [byte, after @ ..]) => {
                out.push(*byte);
                rest = after;
            }
        }
    }
}

/// An answer in a snippet's own words. `None`: of the type that the context says.
fn worded(status: u16, text: Vec<u8>, kind: Option<&str>) -> Answer {
    let mut answer = Answer {
        body: String::from_utf8_lossy(&text).into_owned(),
        is_worded: true,
        ..Answer::default()
    };
    answer.head.status = status;
    answer.head.body = match status {
        204 | 304 => BodyLength::None,
        _ => BodyLength::Exact(answer.body.len() as u64),
    };
    if answer.head.body == BodyLength::None {
        answer.body.clear();
    } else if let Some(kind) = kind {
        answer.head.fields.push_known(Known::ContentType, kind.as_bytes());
    }
    answer
}
