//! Sessions by cookie, byte for byte as ingress-nginx's (reference section 6), so that clients keep
//! theirs when one takes over from the other.

use std::{fmt::Write as _, net::SocketAddr};

use md5::{Digest as _, Md5};

use super::date;
use crate::model::{SameSite, SessionCookie};

/// An MD5 in hexadecimal digits.
pub(super) type Digest = [u8; 32];

/// What a client is told of its session: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(Digest);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Key {
    /// The key of a new session of mode `balanced`. ingress-nginx's are of another form, and mean
    /// as little.
    pub(super) fn random(random: &mut fastrand::Rng) -> Self {
        Self(hexadecimal(random.u128(..).to_be_bytes()))
    }

    /// The key of sessions of mode `persistent` with this endpoint.
    pub(super) fn of_endpoint(backend: &str, endpoint: SocketAddr) -> Self {
        Self(digest_of_endpoint(backend, endpoint))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

pub(super) fn digest_of_endpoint(backend: &str, endpoint: SocketAddr) -> Digest {
    md5(format!("{backend}{endpoint}").as_bytes())
}

/// The part of a cookie's value that is the session's key. Endpoints are picked by it without a look
/// at the backend that follows, as in ingress-nginx.
pub(super) fn key_of_cookie(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == b'|').next().unwrap_or_default()
}

/// The part that says which backend a session was begun with: what decides between a backend and
/// its canary.
pub(super) fn mark_of_cookie(value: &[u8]) -> Option<&[u8]> {
    value.split(|byte| *byte == b'|').nth(1)
}

/// That part for the sessions of a backend: `md5(md5(b) + b)`.
pub(super) fn mark(backend: &str) -> Digest {
    let once = md5(backend.as_bytes());
    md5(&[&once[..], backend.as_bytes()].concat())
}

/// Who gets a cookie.
pub(super) struct Recipient<'a> {
    /// The route's path.
    pub(super) path: &'a str,
    pub(super) https: bool,
    pub(super) user_agent: Option<&'a [u8]>,
    /// Seconds since 1970.
    pub(super) now: i64,
}

/// The value of `Set-Cookie`.
pub(super) fn cookie(cookie: &SessionCookie, key: &Key, mark: &[u8], to: &Recipient<'_>) -> String {
    let mark = std::str::from_utf8(mark).unwrap_or_default();
    let mut text = format!("{}={}|{mark}", cookie.name, key.as_str());
    if let Some(seconds) = cookie.expires {
        text.push_str("; Expires=");
        date::write(&mut text, to.now.saturating_add(seconds));
    }
    if let Some(seconds) = cookie.max_age {
        let _infallible = write!(text, "; Max-Age={seconds}");
    }
    if let Some(domain) = &cookie.domain {
        let _infallible = write!(text, "; Domain={domain}");
    }
    let _infallible = write!(text, "; Path={}", cookie.path.as_deref().unwrap_or(to.path));
    if cookie.secure || to.https {
        text.push_str("; Secure");
    }
    text.push_str("; HttpOnly");
    if let Some(same_site) = cookie.same_site {
        let is_misunderstood = same_site == SameSite::None
            && cookie.conditional_same_site_none
            && to.user_agent.is_some_and(misunderstands_none);
        if !is_misunderstood {
            let _infallible = write!(text, "; SameSite={}", same_site.as_str());
        }
    }
    text
}

/// Browsers that take `SameSite=None` for `Strict`, or refuse the cookie: Chrome 40 to 69, Safari
/// and all others on iOS 12, Safari on macOS 10.14.
fn misunderstands_none(user_agent: &[u8]) -> bool {
    let text = String::from_utf8_lossy(user_agent);
    let old_chrome = text.split("Chrome/").skip(1).any(|version| {
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().is_ok_and(|major| (40..70).contains(&major))
    });
    let ios = text.contains("CPU iPhone OS 12") || text.contains("iPad; CPU OS 12");
    let macos = text.contains("Intel Mac OS X 10_14")
        && text.contains("Safari")
        && !text.contains("Chrome");
    old_chrome || ios || macos
}

fn md5(bytes: &[u8]) -> Digest {
    hexadecimal(Md5::digest(bytes).into())
}

fn hexadecimal(bytes: [u8; 16]) -> Digest {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}
