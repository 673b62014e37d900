//! What is done to an answer: `more_set_headers`, `expires`, `add_header`, `proxy_hide_header`,
//! `error_page`, `sub_filter`, `gzip`. Values are taken from the request when its steps have ended; what only the answer
//! says is added when it is there.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    super::{
        admission::Admission,
        compression::{forget_digests, weaken},
        external::Noted,
    },
    Script,
};
use crate::{
    model::{Compression, Effects, ErrorPage, Expires, Judged, PageTarget, Part, Value},
    proxy::{
        exchange::Substituter,
        message::{BodyLength, Fields, Known, ResponseHead},
        respond::{self, Answer, Instead},
    },
    route::escape,
};

/// What is to be done to an answer.
pub(in super::super) struct Plan<'v> {
    effects: &'v Effects,
    rules: Vec<Option<Settled>>,
    added: Vec<Settled>,
    pages: Vec<Vec<u8>>,
    replacements: Vec<Settled>,
    /// What the client said of codings that it takes, where the endpoint is told something else.
    accepted: Option<Fields>,
}

/// The longest text of a snippet that `sub_filter` makes of a shorter one. Bytes.
const LONGEST_TEXT: usize = 1 << 20;

/// A value of which only the answer's parts are open.
pub(super) type Settled = Vec<Piece>;

pub(super) enum Piece {
    Bytes(Vec<u8>),
    Status,
    Upstream(Arc<str>),
    Judged(Judged),
}

/// What an endpoint's answer said, and that of a server of `auth-url`, for the variables about them.
#[derive(Default)]
pub(in super::super) struct Observed {
    fields: Vec<(Arc<str>, Vec<u8>)>,
    noted: Noted,
}

impl Observed {
    /// Of a request that no endpoint answered.
    pub(in super::super) fn of(admission: Option<&Admission>) -> Self {
        Self { fields: Vec::new(), noted: Noted::of(admission) }
    }
}

impl<'v> Script<'v> {
    pub(super) fn plan(&self, effects: &'v Effects, fields: &Fields) -> Box<Plan<'v>> {
        let settled = |value: &Value| self.settled(value, fields);
        let rules = effects.rules.iter().map(|rule| rule.value.as_ref().map(settled)).collect();
        let added = effects.added.iter().flatten().map(|added| settled(&added.value)).collect();
        let page = |page: &ErrorPage| match &page.to {
            PageTarget::Url(to) | PageTarget::Path(to) => self.value(to, fields, false),
            PageTarget::Named(name) => name.as_bytes().to_vec(),
        };
        // What stands in the place of a page has none itself.
        let pages = effects.error_pages.iter().flatten().filter(|_| !self.is_page);
        let pages = pages.map(page).collect();
        let all = effects.body.substitutions.iter().flatten();
        let replacements = all.map(|own| settled(&own.replacement)).collect();
        Box::new(Plan { effects, rules, added, pages, replacements, accepted: None })
    }

    pub(super) fn settled(&self, value: &Value, fields: &Fields) -> Settled {
        let mut pieces = Vec::new();
        for part in &value.parts {
            pieces.push(match part {
                Part::Status => Piece::Status,
                Part::Upstream(name) => Piece::Upstream(Arc::clone(name)),
                Part::Judged(part) => Piece::Judged(part.clone()),
                part => {
                    let mut bytes = Vec::new();
                    self.part(part, fields, false, &mut bytes);
                    Piece::Bytes(bytes)
                }
            });
        }
        pieces
    }
}

impl Plan<'_> {
    /// Where nginx's page for this status stands instead.
    pub(in super::super) fn page(&self, status: u16) -> Option<Answer> {
        let all = self.effects.error_pages.iter().flatten().zip(&self.pages);
        let (page, to) = all.into_iter().find(|(page, _)| page.code == status)?;
        let to = std::str::from_utf8(to).ok().filter(|to| !to.chars().any(char::is_control))?;
        let target = match &page.to {
            PageTarget::Url(_) => return Some(respond::redirect(page.status?, to)),
            PageTarget::Named(_) => to.to_owned(),
            PageTarget::Path(_) => {
                let (path, query) = to.split_once('?').unwrap_or((to, ""));
                let mut target = String::new();
                escape(path, &mut target);
                // It may come from the client, decoded.
                let is_harmless = query.bytes().all(|byte| byte > b' ' && byte != 0x7F);
                if !query.is_empty() && is_harmless {
                    target.push('?');
                    target.push_str(query);
                }
                target
            }
        };
        let instead = Some(Box::new(Instead { target, status: page.status }));
        Some(Answer { instead, ..respond::stock(status) })
    }

    /// Some page is another request of the host.
    pub(in super::super) fn leads_inside(&self) -> bool {
        let pages = self.effects.error_pages.iter().flatten().zip(&self.pages);
        pages.into_iter().any(|(page, _)| !matches!(page.to, PageTarget::Url(_)))
    }

    /// A page stands in the place of an endpoint's answer of this status.
    pub(in super::super) fn intercepts(&self, status: u16) -> bool {
        self.effects.intercepts == Some(true) && self.page(status).is_some()
    }

    /// The media type of texts of a snippet.
    pub(in super::super) fn content_type(&self) -> Option<&str> {
        self.effects.content_type.as_deref()
    }

    /// Remembers which codings the client takes: the endpoint is to be told something else.
    pub(in super::super) fn remember_codings(&mut self, fields: &Fields) {
        let mut accepted = Fields::default();
        for value in fields.get_all(Known::AcceptEncoding) {
            accepted.push_known(Known::AcceptEncoding, value);
        }
        self.accepted = Some(accepted);
    }

    /// Which codings the client takes, if the request does not say it any more.
    pub(in super::super) fn accepted(&self) -> Option<&Fields> {
        self.accepted.as_ref()
    }

    /// `gzip` and what goes with it; `None`: as for all.
    pub(in super::super) fn compression(&self, base: Option<&Compression>) -> Option<Compression> {
        self.effects.body.compression(base)
    }

    /// What `sub_filter` replaces in this answer's body; its head then says nothing of the old one.
    pub(in super::super) fn substitute(
        &self,
        head: &mut ResponseHead,
        observed: &Observed,
    ) -> Option<Substituter> {
        let body = &self.effects.body;
        let kind = head.fields.get(Known::ContentType).unwrap_or_default();
        let all = body.substitutions(kind);
        // What is compressed holds no text.
        if all.is_empty()
            || head.status == 101
            || head.body == BodyLength::Exact(0)
            || head.fields.contains(Known::ContentEncoding)
        {
            return None;
        }
        let fields = &mut head.fields;
        fields.remove(Known::ContentLength);
        forget_digests(fields);
        if body.keep_modified == Some(true) {
            weaken(fields);
        } else {
            fields.remove_named(b"Last-Modified");
            fields.remove(Known::ETag);
        }
        if head.body == BodyLength::None {
            return None;
        }
        head.body = BodyLength::Unknown;
        let status = head.status;
        let rules = all.iter().zip(&self.replacements);
        let rules = rules.map(|(own, with)| (own.needle.clone(), text(with, status, observed)));
        Some(Substituter::new(rules, body.once != Some(false)))
    }

    /// The same with a text of our own.
    pub(in super::super) fn substitute_text(&self, answer: &mut Answer, observed: &Observed) {
        let length = answer.head.body;
        let Some(mut substituter) = self.substitute(&mut answer.head, observed) else {
            return;
        };
        substituter.feed(answer.body.as_bytes());
        substituter.end();
        let mut body = Vec::new();
        while substituter.work(&mut body) && body.len() < LONGEST_TEXT {}
        if body.len() < LONGEST_TEXT {
            answer.body = String::from_utf8_lossy(&body).into_owned();
            answer.head.body = BodyLength::Exact(answer.body.len() as u64);
        } else {
            answer.head.body = length;
        }
    }

    /// Remembers what variables will ask for, and hides what clients do not get.
    pub(in super::super) fn observe(
        &self,
        fields: &mut Fields,
        admission: Option<&Admission>,
    ) -> Observed {
        let values = self.rules.iter().flatten().chain(&self.added);
        let mut observed = Observed::of(admission);
        for piece in values.flatten() {
            if let Piece::Upstream(name) = piece {
                let all: Vec<_> = fields
                    .iter()
                    .filter(|one| one.is_named(name.as_bytes()))
                    .map(|one| one.value)
                    .collect();
                observed.fields.push((Arc::clone(name), all.join(&b", "[..])));
            }
        }
        for name in self.effects.hidden.iter().flatten() {
            fields.remove_named(name.as_bytes());
        }
        observed
    }

    /// In nginx's order: headers-more, then the headers module.
    pub(in super::super) fn apply(&self, head: &mut ResponseHead, observed: &Observed) {
        for (rule, value) in self.effects.rules.iter().zip(&self.rules) {
            if !rule.statuses.is_empty() && !rule.statuses.contains(&head.status)
                || !rule.types.is_empty() && !rule.types.iter().any(|kind| has_type(head, kind))
            {
                continue;
            }
            let value = value.as_ref().map(|value| text(value, head.status, observed));
            put(&mut head.fields, &rule.name, rule.prefix, value.as_deref());
        }
        let usual = matches!(head.status, 200 | 201 | 204 | 206 | 301..=304 | 307 | 308);
        if let Some(expires) = self.effects.expires.filter(|_| usual) {
            expire(&mut head.fields, expires);
        }
        for (added, value) in self.effects.added.iter().flatten().zip(&self.added) {
            if !(added.always || usual) {
                continue;
            }
            let value = text(value, head.status, observed);
            if value.is_empty() || value.iter().any(|byte| is_control(*byte)) {
                continue;
            }
            let name = added.name.as_bytes();
            let only =
                [&b"last-modified"[..], b"etag"].iter().any(|one| name.eq_ignore_ascii_case(one));
            if only {
                head.fields.set_named(name, &value);
            } else {
                head.fields.push(name, &value);
            }
        }
    }
}

/// Sets or, without a value, removes a field. One whose value cannot stand in a head is removed.
pub(super) fn put(fields: &mut Fields, name: &str, prefix: bool, value: Option<&[u8]>) {
    let name = name.as_bytes();
    if prefix {
        return fields.retain(|field| {
            !field.name.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
        });
    }
    match value.filter(|value| !value.is_empty() && !value.iter().any(|byte| is_control(*byte))) {
        Some(value) => fields.set_named(name, value),
        None => fields.remove_named(name),
    }
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && byte != b'\t' || byte == 0x7F
}

fn has_type(head: &ResponseHead, kind: &str) -> bool {
    let value = head.fields.get(Known::ContentType).unwrap_or_default();
    let own = value.split(|byte| *byte == b';').next().unwrap_or_default();
    own.trim_ascii().eq_ignore_ascii_case(kind.as_bytes())
}

pub(super) fn text(value: &Settled, status: u16, observed: &Observed) -> Vec<u8> {
    let mut whole = Vec::new();
    for piece in value {
        match piece {
            Piece::Bytes(bytes) => whole.extend_from_slice(bytes),
            Piece::Judged(part) => observed.noted.append(part, &mut whole),
            Piece::Status => whole.extend_from_slice(status.to_string().as_bytes()),
            Piece::Upstream(name) => {
                let found = observed.fields.iter().find(|(own, _)| own == name);
                whole.extend_from_slice(found.map_or(&[], |(_, value)| value));
            }
        }
    }
    whole
}

/// As `ngx_http_set_expires`.
fn expire(fields: &mut Fields, expires: Expires) {
    let now = SystemTime::now();
    let (date, control) = match expires {
        Expires::Off => return,
        Expires::Epoch => ("Thu, 01 Jan 1970 00:00:01 GMT".to_owned(), "no-cache".to_owned()),
        Expires::Max => {
            ("Thu, 31 Dec 2037 23:55:55 GMT".to_owned(), "max-age=315360000".to_owned())
        }
        Expires::After(seconds) => {
            let span = Duration::from_secs(seconds.unsigned_abs());
            let date = if seconds < 0 { now.checked_sub(span) } else { now.checked_add(span) };
            let control = match seconds {
                ..0 => "no-cache".to_owned(),
                _ => format!("max-age={seconds}"),
            };
            (httpdate::fmt_http_date(date.unwrap_or(now)), control)
        }
    };
    fields.set_named(b"Expires", date.as_bytes());
    fields.set_named(b"Cache-Control", control.as_bytes());
}
