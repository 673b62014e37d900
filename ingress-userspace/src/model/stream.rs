use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use super::{BackendId, BackendKey, ObjectRef};

/// What is passed on below HTTP: TCP and UDP services and TLS connections that are not ended here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// The ports of `--tcp-services-configmap`, sorted by port, no two equal.
    pub tcp: Vec<TcpService>,
    /// The ports of `--udp-services-configmap`, sorted by port, no two equal.
    pub udp: Vec<UdpService>,
    /// The hosts with `ssl-passthrough`, by name in lower case. Empty without
    /// `--enable-ssl-passthrough`.
    pub passthrough: Arc<HashMap<Arc<str>, Passthrough>>,
}

impl Streams {
    /// The TCP service of a port.
    #[must_use]
    pub fn tcp(&self, port: u16) -> Option<&TcpService> {
        let place = self.tcp.binary_search_by_key(&port, |service| service.port).ok()?;
        self.tcp.get(place)
    }

    /// The UDP service of a port.
    #[must_use]
    pub fn udp(&self, port: u16) -> Option<&UdpService> {
        let place = self.udp.binary_search_by_key(&port, |service| service.port).ok()?;
        self.udp.get(place)
    }
}

/// What a port of a service is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Transport {
    /// As Kubernetes spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// A port whose connections are passed on to a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpService {
    /// Where it is listened for.
    pub port: u16,
    /// The ConfigMap that asks for it.
    pub object: ObjectRef,
    /// The Service and its port.
    pub backend: BackendKey,
    /// Its ready endpoints, sorted, never empty.
    pub endpoints: Vec<SocketAddr>,
    /// They are what a name outside the cluster stands for, as of [`Backend`](super::Backend).
    pub is_name: bool,
    /// A connection must begin with a header of the PROXY protocol.
    pub accept_proxy: bool,
    /// The header that endpoints get.
    pub send_proxy: Option<ProxyVersion>,
}

/// A port whose datagrams are passed on to a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpService {
    /// Where it is listened for.
    pub port: u16,
    /// The ConfigMap that asks for it.
    pub object: ObjectRef,
    /// The Service and its port.
    pub backend: BackendKey,
    /// Its ready endpoints, sorted, never empty.
    pub endpoints: Vec<SocketAddr>,
}

/// Where the TLS connections of a host go as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passthrough {
    /// The backend of the host's path `/`.
    pub backend: BackendId,
    /// The header that endpoints get.
    pub send_proxy: Option<ProxyVersion>,
}
