//! A request that is only thought through (`penstock explain`): it passes the stages that serve, which
//! note here what they say, and ends where something would be counted, asked or sent. Every other
//! connection has none of this, and pays for finding that out.

use std::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::balance::PeerState;
use crate::model::{BackendKey, HostName, ObjectRef, Route};

/// A request to be thought through.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Over TLS.
    pub(crate) tls: bool,
    /// What its client asks for in the handshake.
    pub(crate) server_name: Option<String>,
    /// The client.
    pub(crate) from: SocketAddr,
    /// Where it comes in.
    pub(crate) to: (u16, Option<IpAddr>),
    /// As HTTP/1.1 writes it, with the empty line that ends it.
    pub(crate) head: Vec<u8>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub(crate) struct Explanation {
    /// Of the snapshot that it was answered from.
    pub(crate) generation: u64,
    pub(crate) host: Option<HostName>,
    pub(crate) route: Option<Arc<Route>>,
    /// In the order in which they happened.
    pub(crate) stages: Vec<Noted>,
    pub(crate) outcome: Outcome,
}

/// How it ends.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// There is no handshake, and no request.
    NoHandshake,
    /// We answer, and nobody else is asked.
    Answered { status: u16, fields: Texts },
    /// The page of another path of the host stands in place of this status.
    Page { status: u16, target: String },
    /// An endpoint decides.
    Forwarded(Box<Forwarded>),
}

/// Names and values of fields.
pub(crate) type Texts = Vec<(String, String)>;

/// A request that is ready for an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Forwarded {
    pub(crate) service: BackendKey,
    pub(crate) is_canary: bool,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Texts,
    pub(crate) endpoints: Vec<PeerState>,
    /// The one that this request is bound to; `None`: whose turn it is.
    pub(crate) bound: Option<SocketAddr>,
}

/// The stages, in the order in which a request passes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    /// TLS: which certificate, and what is asked of the client.
    Handshake,
    /// The head is one that can be understood.
    Request,
    Host,
    ClientCertificate,
    /// What is blocked everywhere.
    Blocked,
    /// The health check of the catch-all.
    Health,
    ServerSnippet,
    Route,
    BodySize,
    Preflight,
    /// The route leads elsewhere, or nowhere.
    Target,
    Snippet,
    Rewrite,
    HttpsRedirect,
    Service,
    Canary,
    Limits,
    SnippetAccess,
    Sources,
    Login,
    ExternalAuth,
    Firewall,
    /// What the endpoint is told.
    Upstream,
    Mirror,
    Endpoint,
    /// Somebody else has the page of this status.
    ErrorPages,
}

impl Stage {
    pub(crate) const ALL: [Self; 26] = [
        Self::Handshake,
        Self::Request,
        Self::Host,
        Self::ClientCertificate,
        Self::Blocked,
        Self::Health,
        Self::ServerSnippet,
        Self::Route,
        Self::BodySize,
        Self::Preflight,
        Self::Target,
        Self::Snippet,
        Self::Rewrite,
        Self::HttpsRedirect,
        Self::Service,
        Self::Canary,
        Self::Limits,
        Self::SnippetAccess,
        Self::Sources,
        Self::Login,
        Self::ExternalAuth,
        Self::Firewall,
        Self::Upstream,
        Self::Mirror,
        Self::Endpoint,
        Self::ErrorPages,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Request => "request",
            Self::Host => "host",
            Self::ClientCertificate => "client-certificate",
            Self::Blocked => "blocked",
            Self::Health => "health",
            Self::ServerSnippet => "server-snippet",
            Self::Route => "route",
            Self::BodySize => "body-size",
            Self::Preflight => "preflight",
            Self::Target => "target",
            Self::Snippet => "snippet",
            Self::Rewrite => "rewrite",
            Self::HttpsRedirect => "https-redirect",
            Self::Service => "service",
            Self::Canary => "canary",
            Self::Limits => "limits",
            Self::SnippetAccess => "snippet-access",
            Self::Sources => "sources",
            Self::Login => "login",
            Self::ExternalAuth => "external-auth",
            Self::Firewall => "firewall",
            Self::Mirror => "mirror",
            Self::Upstream => "upstream",
            Self::Endpoint => "endpoint",
            Self::ErrorPages => "error-pages",
        }
    }
}

/// What a stage says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// It lets the request on as it is.
    Pass,
    /// It lets it on otherwise than it came.
    Change,
    /// Chance decides, and another time perhaps otherwise.
    Chance,
    /// Somebody else would decide, who is not asked; taken to have agreed.
    Ask,
    /// It answers, with this status; 0: the connection is closed without an answer.
    Answer(u16),
}

impl Says {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Change => "change",
            Self::Chance => "chance",
            Self::Ask => "ask",
            Self::Answer(_) => "answer",
        }
    }
}

/// What one stage said.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    pub(crate) stage: Stage,
    pub(crate) says: Says,
    /// For people. What came from the request may be in it.
    pub(crate) detail: String,
    /// The object and field that it comes from, where the stage itself knows better than its keys.
    pub(crate) cause: Option<(ObjectRef, String)>,
}

/// Takes down what the stages say.
#[derive(Debug, Default)]
pub(crate) struct Trial(RefCell<Vec<Noted>>);

impl Trial {
    #[cold]
    pub(crate) fn note(&self, stage: Stage, says: Says, detail: String) {
        let mut noted = self.0.borrow_mut();
        // What a stage says at its end is in the place of what it said at its beginning.
        if noted.last().is_some_and(|last| last.stage == stage) {
            noted.pop();
        }
        noted.push(Noted { stage, says, detail, cause: None });
    }

    /// What a stage that was noted has to say besides.
    pub(crate) fn tell(&self, stage: Stage, detail: String) {
        let mut noted = self.0.borrow_mut();
        if let Some(own) = noted.iter_mut().rfind(|own| own.stage == stage) {
            own.detail = detail;
        }
    }

    /// What was noted last is said by this field of this object.
    pub(crate) fn because(&self, object: &ObjectRef, field: &str) {
        if let Some(last) = self.0.borrow_mut().last_mut() {
            last.cause = Some((object.clone(), field.to_owned()));
        }
    }

    /// What was noted last answers the request.
    pub(crate) fn answers(&self, status: u16) {
        if let Some(last) = self.0.borrow_mut().last_mut() {
            last.says = Says::Answer(status);
        }
    }

    /// All of it.
    pub(crate) fn take(&self) -> Vec<Noted> {
        self.0.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_in_their_order_and_have_names_of_their_own() {
        assert!(Stage::ALL.is_sorted_by(|one, two| one < two));
        let mut names = Stage::ALL.map(Stage::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
