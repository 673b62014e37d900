use std::{fmt, net::SocketAddr, sync::Arc};

use super::Balancing;

/// Index into [`Model::backends`](super::Model::backends).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub u32);

/// What a backend is known by, stable over snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendKey {
    /// The Service's namespace.
    pub namespace: Arc<str>,
    /// The Service's name.
    pub service: Arc<str>,
    /// The port, as the Ingress names it: a port by name is another backend than by number, as in
    /// ingress-nginx.
    pub port: PortRef,
}

impl BackendKey {
    /// What no Service is known by.
    pub(crate) fn nobody() -> Self {
        Self { namespace: "".into(), service: "".into(), port: PortRef::Number(0) }
    }

    /// It is no Service's.
    pub(crate) fn is_nobody(&self) -> bool {
        self.service.is_empty()
    }
}

impl fmt::Display for BackendKey {
    /// `shop-lobby-80`, as ingress-nginx labels upstreams.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.namespace, self.service, self.port)
    }
}

/// A Service port as an Ingress refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortRef {
    /// By number: the Service's port or, as ingress-nginx allows, its targetPort.
    Number(u16),
    /// By the Service port's name or its named targetPort.
    Name(Arc<str>),
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A Service port, the endpoints that are ready behind it, and which of them gets a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// What it is known by.
    pub key: BackendKey,
    /// The ready endpoints, sorted by address, no two equal. Empty: the answer is 503.
    pub endpoints: Vec<Endpoint>,
    /// They are what a name outside the cluster stands for: one place, to be reached by whichever of
    /// them takes a connection first (RFC 8305).
    pub is_name: bool,
    /// How one of them is chosen.
    pub balancing: Arc<Balancing>,
}

impl Backend {
    /// What stands where no route leads to.
    pub(crate) fn nobody() -> Self {
        Self {
            key: BackendKey::nobody(),
            endpoints: Vec::new(),
            is_name: false,
            balancing: Arc::default(),
        }
    }
}

/// An address that takes requests: a pod's, a Service's own, or one that a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Where to connect to.
    pub address: SocketAddr,
    /// The pod's name, where the EndpointSlice says it.
    pub pod: Option<Arc<str>>,
    /// Its share of the requests in proportion to the others' weights. 0: none, unless all have 0.
    pub weight: u16,
}

impl Endpoint {
    /// An endpoint of weight 1 that is no pod's.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self { address, pod: None, weight: 1 }
    }
}
