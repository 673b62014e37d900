use std::sync::Arc;

use super::{
    BackendId, CertificateId, Expression, HostTls, ObjectRef, Policies, Proxying, ServerProgram,
};

/// A virtual host and its routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Which requests it answers.
    pub name: HostName,
    /// Under which other names: `server-alias`. None of them is a host's or another host's.
    pub aliases: Box<[Alias]>,
    /// The certificate for its handshakes; `None` stands for the default one.
    pub certificate: Option<CertificateId>,
    /// Some Ingress lists TLS for the host: `ssl-redirect` applies, whatever certificate is served
    /// (reference section 4.4).
    pub tls: bool,
    /// What its handshakes ask for beyond the settings; `None`: nothing, as of nearly all hosts.
    pub handshake: Option<Arc<HostTls>>,
    /// All paths of the host are case-insensitive regular expressions (reference section 3.3).
    pub regex: bool,
    /// `server-snippet`: what its requests go through before their path is looked at.
    pub snippet: Option<Arc<ServerProgram>>,
    /// What the path `/`, exactly, is answered with instead of its route: `app-root`.
    pub app_root: Option<Arc<Route>>,
    /// The routes, oldest Ingress first; no two of one kind and path. Always one of Prefix `/`.
    pub routes: Vec<Arc<Route>>,
}

/// Which `Host` headers and server names a host answers. Lower case, no port, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostName {
    /// Exactly this name.
    Exact(Arc<str>),
    /// One label before this suffix: `example.com` for `*.example.com`.
    Wildcard(Arc<str>),
    /// Every name that no other host answers.
    CatchAll,
}

/// Another name of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The name.
    pub name: AliasName,
    /// The host has TLS under this name too: its certificate covers it.
    pub tls: bool,
}

/// Which `Host` headers and server names an alias stands for, as nginx's `server_name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AliasName {
    /// Exactly this name.
    Exact(Arc<str>),
    /// One label or more before this suffix: `example.com` for `*.example.com`.
    Beneath(Arc<str>),
    /// One label or more after this prefix: `www.example` for `www.example.*`.
    Before(Arc<str>),
    /// Names in which this is found, after `~`.
    Matching(Expression),
}

/// One path of one rule of one Ingress. What every request looks at comes first, and begins a cache
/// line: of fifty thousand routes, the one that is asked for is in no cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Route {
    /// Where it leads.
    pub target: Target,
    /// How its requests are forwarded.
    pub proxying: Arc<Proxying>,
    /// What else its requests go through; `None` of most.
    pub policies: Option<Arc<Policies>>,
    /// When plain HTTP is sent to HTTPS.
    pub https_redirect: HttpsRedirect,
    /// The redirect to HTTPS keeps a final `/` of the path: `preserve-trailing-slash`.
    pub preserve_trailing_slash: bool,
    /// How redirects of our own name the host.
    pub redirect_form: RedirectForm,
    /// Its Ingress asks for `affinity: cookie`: answers set the cookie of a new session. Other
    /// routes to the same backend follow the cookie and never set it (reference section 6).
    pub sets_session: bool,
    /// `use-regex` of its Ingress. Together with `rewrite` it tells, on a host in regex mode, the
    /// paths that are meant as regular expressions from those that merely became one.
    pub use_regex: bool,
    /// How `path` is compared in ordinary mode.
    pub kind: PathKind,
    /// The path as written, begins with `/`.
    pub path: Arc<str>,
    /// What the upstream is asked for instead.
    pub rewrite: Option<Rewrite>,
    /// The Ingress that it comes from.
    pub ingress: ObjectRef,
    /// The rule's place in the Ingress, for people: `spec.rules[0].http.paths[2]`.
    pub field: String,
}

const _: () = assert!(std::mem::offset_of!(Route, sets_session) < 64);

/// How a path is compared with a request's. `ImplementationSpecific` is `Prefix`, as in
/// ingress-nginx.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathKind {
    /// The whole path.
    Exact,
    /// A run of whole path elements.
    Prefix,
}

/// `rewrite-target` (reference section 3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The new path, in which `$1` to `$9` stand for the groups of the route's path.
    pub template: Arc<str>,
}

/// When a plain HTTP request is redirected to HTTPS (reference section 4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpsRedirect {
    /// Never: switched off, or the path is exempt (`no-tls-redirect-locations`).
    Never,
    /// Where the host has TLS: `ssl-redirect`.
    IfTls,
    /// Always: `force-ssl-redirect`.
    Always,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the endpoints of a Service.
    Backend(BackendId),
    /// Nowhere: the answer is 404 (the built-in default backend, or `backend.resource`).
    NotFound,
    /// To another address, before any redirect to HTTPS (reference section 2, stage 8c).
    Redirect(Redirect),
    /// To the same path on this host: `from-to-www-redirect`.
    OtherHost(Arc<str>),
    /// Nowhere: the answer is 503, because serving it without something that its Ingress asks for
    /// would be unsafe.
    Denied(Denial),
}

/// An answer that sends the client elsewhere: `permanent-redirect`, `temporal-redirect`, `app-root`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The status, 300 to 308.
    pub status: u16,
    /// A whole URL or, when it begins with `/`, a path on the request's own scheme and `Host`.
    pub location: Arc<str>,
}

/// How the redirects of a route to a path of its own host are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedirectForm {
    /// The port in them.
    pub port: RedirectPort,
    /// `relative-redirects`: they are the path alone. Those to HTTPS never are.
    pub relative: bool,
}

/// The port in a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectPort {
    /// None.
    #[default]
    Omitted,
    /// `use-port-in-redirects`: the one that listens, unless it is the scheme's own; in redirects
    /// to HTTPS always the flag's.
    Listening,
    /// What the client's `Host` says.
    AsAsked,
}

/// Why a route answers 503 whatever its Service can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The annotation or field that could not be obeyed.
    pub key: Arc<str>,
}
