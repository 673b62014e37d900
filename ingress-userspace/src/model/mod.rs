//! What Penstock serves, as plain typed values: the outcome of `translate`, the input of `route`,
//! `proxy` and `l4`. Knows no kube, aya or hyper type. Nothing here can be wrong: whatever could
//! not be understood became a [`Diagnostic`] and is absent.

mod backend;
mod certificate;
mod diagnostic;
mod host;
mod member;
mod object;
mod settings;
mod stream;

pub use backend::{Backend, BackendId, BackendKey, Endpoint, PortRef};
pub use certificate::{Certificate, CertificateId};
pub use diagnostic::{Diagnostic, Severity};
pub use host::{Denial, Host, HostName, HttpsRedirect, PathKind, Redirect, Rewrite, Route, Target};
pub use member::Member;
pub use object::ObjectRef;
pub use settings::{RedirectCode, Settings, StreamSettings};
pub use stream::{Passthrough, ProxyVersion, Streams, TcpService, UdpService};

use std::sync::Arc;

/// Everything that is served at one moment.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The virtual hosts, the catch-all included; no two of one name.
    pub hosts: Vec<Arc<Host>>,
    /// What routes lead to; indexed by [`BackendId`].
    pub backends: Vec<Arc<Backend>>,
    /// What hosts present in the handshake; indexed by [`CertificateId`].
    pub certificates: Vec<Arc<Certificate>>,
    /// Presented where no host's certificate applies; `None` stands for the self-signed one.
    pub default_certificate: Option<CertificateId>,
    /// The nodes, sorted by name.
    pub members: Vec<Member>,
    /// The controller's own ConfigMap.
    pub settings: Settings,
    /// What is passed on below HTTP.
    pub streams: Streams,
}
