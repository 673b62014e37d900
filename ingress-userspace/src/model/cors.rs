//! What browsers are told about requests from other origins.

use std::sync::Arc;

/// `enable-cors` and the `cors-*` annotations (reference section 1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// `cors-allow-origin`.
    pub origins: Origins,
    /// `cors-allow-methods`.
    pub methods: Arc<str>,
    /// `cors-allow-headers`.
    pub headers: Arc<str>,
    /// `cors-expose-headers`.
    pub exposed: Option<Arc<str>>,
    /// `cors-allow-credentials`.
    pub credentials: bool,
    /// `cors-max-age`: seconds, as text.
    pub max_age: Arc<str>,
}

/// Whose requests are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Everyone's: `*`.
    Any,
    /// Those of these.
    Listed(Box<[Origin]>),
}

/// One origin, or the origins of one kind. Lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `scheme://host:port`, or `null`.
    Exact(Arc<str>),
    /// `scheme://*.host:port`: one label in the place of the asterisk.
    Wildcard {
        /// `scheme://`.
        scheme: Arc<str>,
        /// `.host:port`.
        suffix: Arc<str>,
    },
}

impl Origins {
    /// Requests of this origin are allowed. Both ends of it count, unlike in ingress-nginx, whose
    /// pattern `https://example.com` also takes `https-evil://https://example.com`.
    #[must_use]
    pub fn allow(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(listed) => listed.iter().any(|own| own.is(origin)),
        }
    }
}

impl Origin {
    fn is(&self, origin: &[u8]) -> bool {
        match self {
            Self::Exact(own) => own.as_bytes().eq_ignore_ascii_case(origin),
            Self::Wildcard { scheme, suffix } => {
                let Some((begin, rest)) = origin.split_at_checked(scheme.len()) else {
                    return false;
                };
                let Some(length) = rest.len().checked_sub(suffix.len()) else { return false };
                let (label, end) = rest.split_at(length);
                scheme.as_bytes().eq_ignore_ascii_case(begin)
                    && suffix.as_bytes().eq_ignore_ascii_case(end)
                    && !label.is_empty()
                    && label.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
            }
        }
    }
}
