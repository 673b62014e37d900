use std::{num::NonZeroU16, sync::Arc};

use super::{Canary, Text};

/// Which endpoint of a backend gets a request (reference section 6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balancing {
    /// For requests that no session binds.
    pub policy: Policy,
    /// `affinity: cookie`; precedes the policy.
    pub affinity: Option<Affinity>,
    /// Who gets a part of the backend's requests.
    pub canary: Option<Arc<Canary>>,
}

/// How endpoints are chosen. State, where one is needed, is per worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// In turn, in proportion to their weights.
    #[default]
    RoundRobin,
    /// Of two random ones, the one that answers faster.
    Ewma,
    /// The same for the same text: `upstream-hash-by`.
    Hash(HashBy),
}

/// `upstream-hash-by` and its companions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashBy {
    /// What is hashed.
    pub text: Text,
    /// `upstream-hash-by-subset-size` where `upstream-hash-by-subset` is set: the text selects a
    /// group of that many endpoints, of which a random one gets the request.
    pub subset: Option<NonZeroU16>,
}

/// `affinity: cookie`: a client's requests go to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// `affinity-mode`.
    pub mode: AffinityMode,
    /// What the cookie is like.
    pub cookie: SessionCookie,
}

/// What a session's key stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AffinityMode {
    /// A point that is hashed: when endpoints come or go, some sessions move.
    #[default]
    Balanced,
    /// An endpoint: sessions move only when theirs is gone.
    Persistent,
}

/// `session-cookie-*` of the youngest Ingress that asks for affinity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    /// Its name.
    pub name: Arc<str>,
    /// Seconds from now, for the attribute `Expires`.
    pub expires: Option<i64>,
    /// Seconds, for the attribute `Max-Age`.
    pub max_age: Option<i64>,
    /// `None`: the path of the route.
    pub path: Option<Arc<str>>,
    /// The attribute `Domain`.
    pub domain: Option<Arc<str>>,
    /// The attribute `SameSite`.
    pub same_site: Option<SameSite>,
    /// Leaves `SameSite=None` out for browsers that misunderstand it.
    pub conditional_same_site_none: bool,
    /// `Secure` over plain HTTP too; over TLS it is always there.
    pub secure: bool,
    /// After a failed attempt the session moves to another endpoint.
    pub change_on_failure: bool,
}

impl Default for SessionCookie {
    /// ingress-nginx's defaults.
    fn default() -> Self {
        Self {
            name: "INGRESSCOOKIE".into(),
            expires: None,
            max_age: None,
            path: None,
            domain: None,
            same_site: None,
            conditional_same_site_none: false,
            secure: false,
            change_on_failure: false,
        }
    }
}

/// `SameSite` of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// `None`.
    None,
    /// `Lax`.
    Lax,
    /// `Strict`.
    Strict,
}

impl SameSite {
    /// As it is written in the cookie.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Lax => "Lax",
            Self::Strict => "Strict",
        }
    }
}
