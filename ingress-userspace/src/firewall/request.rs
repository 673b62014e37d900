//! What rules are run over, and what they come to.

use std::{borrow::Cow, net::SocketAddr, sync::Arc};

/// A request, ready to go to another thread.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// As the client wrote it.
    pub(crate) target: String,
    /// `HTTP/1.1` and the like.
    pub(crate) protocol: &'static str,
    /// Who asks, as far as it is believed.
    pub(crate) client: SocketAddr,
    /// Without port.
    pub(crate) host: String,
    /// In their order.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Body,
}

/// The body of a request, as far as it was read.
#[derive(Debug)]
pub(crate) enum Body {
    /// There is none, or it is not looked at.
    None,
    /// All of it.
    Whole(Vec<u8>),
    /// Its beginning.
    Beginning(Vec<u8>),
}

impl Body {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Whole(bytes) | Self::Beginning(bytes) => bytes,
        }
    }
}

impl Request {
    /// The values of the fields of a name in lower case.
    pub(super) fn all<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        let named = self.fields.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name));
        named.map(|(_, value)| &**value)
    }

    pub(super) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// A value of a field as the engine takes it: what is not UTF-8 is no reason not to look at the
/// rest.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    }
}

/// What the rules come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// The rules that have something to tell, in their order.
    pub(crate) matched: Vec<Match>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Pass,
    /// It is answered so; 444 closes the connection.
    Answer(u16),
    /// It is sent elsewhere.
    Redirect(String),
}

/// A rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) id: u64,
    /// Its `msg`, as it is written.
    pub(crate) message: Arc<str>,
    /// Its first `tag` about attacks, else its first; empty without one.
    pub(crate) tag: Arc<str>,
}
