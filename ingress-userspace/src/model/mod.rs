//! What Penstock serves, as plain typed values: the outcome of `translate`, the input of `route`,
//! `proxy` and `l4`. Knows no type of kube, aya or the proxy. Nothing here can be wrong: whatever could
//! not be understood became a [`Diagnostic`] and is absent.

mod access_log;
mod backend;
mod balancing;
mod blocked;
mod body;
mod canary;
mod certificate;
mod compression;
mod connections;
mod cors;
mod diagnostic;
mod error_pages;
mod external_auth;
mod fastcgi;
mod firewall;
mod host;
mod limits;
mod log_level;
mod login;
mod member;
mod mirror;
mod object;
mod policies;
mod proxying;
mod settings;
mod snippet;
mod stream;
mod stream_log;
mod text;
mod tls;
mod tracing;
mod upstream_tls;

pub use access_log::{
    AccessLog, LogDestination, LogEscape, LogFormat, LogPiece, LogVariable, Skipped, SyslogServer,
};
pub use backend::{Backend, BackendId, BackendKey, Endpoint, PortRef};
pub use balancing::{Affinity, AffinityMode, Balancing, HashBy, Policy, SameSite, SessionCookie};
pub use blocked::{Blocked, HeaderPattern};
pub use body::{BodyEffects, Needle, Substitution};
pub use canary::{Canary, CanaryHeader, CanaryHeaderRule};
pub use certificate::{Certificate, CertificateId};
pub use compression::{Coding, Compression, MediaTypes, takes};
pub use connections::{
    AddressRange, ClientAddress, ClientLimits, FieldPolicy, FieldSetting, UpstreamPool,
};
pub use cors::{Cors, Origin, Origins};
pub use diagnostic::{Diagnostic, Severity};
pub use error_pages::ErrorPages;
pub use external_auth::{AuthCache, AuthHost, AuthScheme, AuthServer, ExternalAuth, SignIn};
pub use fastcgi::{FastCgi, FastCgiParameter, FastCgiPiece, FastCgiVariable};
pub use firewall::Firewall;
pub use host::{
    Alias, AliasName, Denial, Host, HostName, HttpsRedirect, PathKind, Redirect, RedirectForm,
    RedirectPort, Rewrite, Route, Target,
};
pub use limits::{LimitKey, Limits, Pace, RequestRate};
pub use log_level::LogLevel;
pub use login::{CryptMethod, HashedName, Login, Password, Users};
pub use member::Member;
pub use mirror::{Mirror, MirrorHost};
pub use object::ObjectRef;
pub use policies::{Policies, Sources};
pub use proxying::{
    Conditions, ConnectionField, HttpVersion, Protocol, Proxying, RedirectRewrite, Replacement,
    Retry,
};
pub use settings::{Doors, RedirectCode, Settings, StreamSettings};
pub use snippet::{
    Access, Added, Condition, Effects, ErrorPage, Expires, FieldRule, InputRule, Judged, Jump,
    Matching, PageTarget, Part, Pattern, Program, Return, RewriteStep, ServerProgram,
    SnippetLocation, Step, Test, Value,
};
pub use stream::{Passthrough, ProxyVersion, Streams, TcpService, Transport, UdpService};
pub use stream_log::{StreamFormat, StreamLog, StreamVariable};
pub use text::{ConnectionVariable, Piece, Text, Variable};
pub use tls::{
    Authority, ClientAuth, ClientRule, Group, HostTls, Suite, TicketKey, TlsSettings, VerifyClient,
};
pub use tracing::{Export, OtlpProtocol, Propagator, Sampler, TracePolicy, Tracing};
pub use upstream_tls::{Identity, TlsVersions, UpstreamTls, Verification};

pub use crate::expression::{Case, Expression, Undecided};

use std::sync::Arc;

use crate::names::Names;

/// Everything that is served at one moment.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The virtual hosts, the catch-all included; no two of one name. Each is the same allocation
    /// as in the model before where it did not change, and so is the list where nothing changed but
    /// Services, endpoints and nodes.
    pub hosts: Arc<[Arc<Host>]>,
    /// What routes lead to; indexed by [`BackendId`]. Each is the same allocation as in the model
    /// before where it did not change, and mostly in the same place. A place that no route leads to
    /// (any more) has a backend without name and endpoints.
    pub backends: Vec<Arc<Backend>>,
    /// What hosts present in the handshake; indexed by [`CertificateId`]. The same allocation as in
    /// the model before where none of them changed. A place that no host needs (any more) has one
    /// that is empty.
    pub certificates: Arc<[Arc<Certificate>]>,
    /// Presented where no host's certificate applies; `None` stands for the self-signed one.
    pub default_certificate: Option<CertificateId>,
    /// The nodes, sorted by name.
    pub members: Vec<Member>,
    /// The controller's own ConfigMap.
    pub settings: Settings,
    /// What session tickets are sealed with, shared by all replicas: the first seals, all open.
    /// Empty: each process has keys of its own.
    pub ticket_keys: Vec<TicketKey>,
    /// What is passed on below HTTP.
    pub streams: Streams,
    /// What names outside the cluster stand for, for what is not a backend.
    pub names: Arc<Names>,
}
