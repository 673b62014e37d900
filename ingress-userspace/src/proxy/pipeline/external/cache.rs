//! Verdicts that a worker keeps (`auth-cache-key`). Two generations: what was not used while one
//! filled up is forgotten, so that the room is bounded and what is in use stays.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc, time::Duration};

use super::{super::stages::Located, Judgement};
use crate::{
    model::{ExternalAuth, HostName, PathKind},
    proxy::message::{Known, ResponseHead},
};

/// The most that one generation takes: verdicts, and bytes of keys and fields.
const VERDICTS: usize = 4096;
const BYTES: usize = 2 * 1024 * 1024;

/// What a verdict is kept by: all parts of it are compared, not hashes of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(Rc<[u8]>);

impl Key {
    /// Server name, host of the request, Ingress and path, then what the annotation says. None of
    /// the former holds a NUL, so that no two keys are the same by accident or by intent.
    pub(super) fn new(located: &Located<'_>, host: &str, own: &[u8]) -> Self {
        let (ingress, path) = (&located.route.ingress, &located.route.path);
        let (sort, server) = match located.host.name() {
            HostName::Exact(name) => ("=", &**name),
            HostName::Wildcard(suffix) => ("*", &**suffix),
            HostName::CatchAll => ("", ""),
        };
        let kind = match located.route.kind {
            PathKind::Exact => "=",
            PathKind::Prefix => "",
        };
        let parts = [sort, server, host, &ingress.namespace, &ingress.name, kind, path];
        let mut key = Vec::with_capacity(own.len() + 128);
        for part in parts {
            key.extend_from_slice(part.as_bytes());
            key.push(0);
        }
        key.extend_from_slice(own);
        Self(key.into())
    }
}

struct Kept {
    judgement: Rc<Judgement>,
    /// Who was asked, and how: after a change nobody else's verdict counts.
    auth: Arc<ExternalAuth>,
    /// Worker's milliseconds.
    until: u64,
    bytes: usize,
}

#[derive(Default)]
pub(super) struct Verdicts(RefCell<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<Key, Kept>,
    old: HashMap<Key, Kept>,
    /// Of the young.
    bytes: usize,
}

impl Verdicts {
    /// The verdict of this server for this key, if one is kept. `now`: the worker's milliseconds.
    pub(super) fn get(
        &self,
        key: &Key,
        auth: &Arc<ExternalAuth>,
        now: u64,
    ) -> Option<Rc<Judgement>> {
        let mut all = self.0.borrow_mut();
        if let Some(aged) = all.old.remove(key) {
            all.add(key.clone(), aged);
        }
        let kept = all.young.get(key)?;
        let counts = now < kept.until && (Arc::ptr_eq(&kept.auth, auth) || kept.auth == *auth);
        counts.then(|| Rc::clone(&kept.judgement))
    }

    /// Keeps a verdict for this time.
    pub(super) fn put(
        &self,
        key: Key,
        auth: &Arc<ExternalAuth>,
        judgement: &Rc<Judgement>,
        now: u64,
        time: Duration,
    ) {
        let fields = judgement
            .to_upstream
            .iter()
            .chain(judgement.noted.iter())
            .map(|own| own.name.len() + own.value.len());
        let challenges = judgement.challenges.iter().map(|own| own.len());
        let bytes = key.0.len() + fields.chain(challenges).sum::<usize>();
        let until = now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let (judgement, auth) = (Rc::clone(judgement), Arc::clone(auth));
        let mut all = self.0.borrow_mut();
        all.old.remove(&key);
        all.add(key, Kept { judgement, auth, until, bytes });
    }
}

impl Generations {
    fn add(&mut self, key: Key, kept: Kept) {
        self.bytes += kept.bytes;
        if let Some(before) = self.young.insert(key, kept) {
            self.bytes -= before.bytes;
        }
        if self.young.len() >= VERDICTS || self.bytes >= BYTES {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
    }
}

/// For how long an answer may be kept that its status allows to be kept for so long: not at all
/// where it says so itself, carries cookies, or would have been another one for other fields. (For
/// longer, nginx would at the answer's word.)
pub(super) fn lifetime(answer: &ResponseHead, mut time: Duration) -> Option<Duration> {
    let fields = &answer.fields;
    if fields.contains(Known::SetCookie) {
        return None;
    }
    if fields.items(Known::Vary).any(|name| !name.eq_ignore_ascii_case(b"accept-encoding")) {
        return None;
    }
    for item in fields.items(Known::CacheControl) {
        let (name, value) = match item.iter().position(|byte| *byte == b'=') {
            Some(at) => item.split_at(at),
            None => (item, &b""[..]),
        };
        let name = name.to_ascii_lowercase();
        match &*name {
            b"no-cache" | b"no-store" | b"private" => return None,
            b"max-age" | b"s-maxage" => {
                let seconds = std::str::from_utf8(value.get(1..)?).ok()?.trim_matches('"');
                time = time.min(Duration::from_secs(seconds.parse().ok()?));
            }
            _ => {}
        }
    }
    Some(time).filter(|time| !time.is_zero())
}
