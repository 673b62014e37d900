//! The proxies that are compared: the same work for each, in its own words. Each sends the headers
//! that ingress-nginx sends, keeps connections to the backend open, logs nothing, has one worker and
//! the buffers that it comes with.

mod caddy;
mod envoy;
mod haproxy;
mod nginx;
pub(super) mod penstock;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::setup::{self, which};

/// The host that is asked for, with an ECDSA certificate.
pub(super) const HOST: &str = "bench.example.com";
/// The host with an RSA certificate.
pub(super) const RSA_HOST: &str = "rsa.example.com";

/// A proxy that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Name {
    Penstock,
    Nginx,
    Haproxy,
    Envoy,
    Caddy,
}

impl Name {
    /// All of them, ours first.
    pub(super) const ALL: [Self; 5] =
        [Self::Penstock, Self::Nginx, Self::Haproxy, Self::Envoy, Self::Caddy];

    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Penstock => "Penstock",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Caddy => "caddy",
        }
    }

    /// Finds it or installs it; ours is built.
    pub(super) fn install(self) -> Result<()> {
        match self {
            Self::Penstock => Ok(()),
            Self::Nginx => setup::peer("nginx", "nginx-light"),
            Self::Haproxy => setup::peer("haproxy", "haproxy"),
            Self::Envoy => setup::envoy().map(drop),
            Self::Caddy => setup::peer("caddy", "caddy"),
        }
    }

    /// Writes its configuration.
    pub(super) fn configure(self, site: &Site<'_>) -> Result<Peer> {
        let configured = match self {
            Self::Penstock => penstock::peer(site),
            Self::Nginx => nginx::peer(site),
            Self::Haproxy => haproxy::peer(site),
            Self::Envoy => envoy::peer(site),
            Self::Caddy => caddy::peer(site),
        };
        configured.with_context(|| format!("{} cannot be configured", self.shown()))
    }
}

/// How to start something, and where it will listen.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) command: Vec<String>,
    /// HTTP/1.1.
    pub(super) http: SocketAddr,
    /// HTTP/2 with prior knowledge; the same where the proxy tells them apart itself.
    pub(super) h2: SocketAddr,
    /// TLS 1.3 with HTTP/2 and HTTP/1.1.
    pub(super) https: SocketAddr,
    /// A host that it answers with 200.
    pub(super) host: &'static str,
}

/// What the peers are configured for.
pub(super) struct Site<'s> {
    /// Where configurations are written.
    pub(super) directory: &'s Path,
    /// `ecdsa.pem`, `ecdsa.key`, `rsa.pem`, `rsa.key`.
    pub(super) certificates: &'s Path,
    pub(super) backend: SocketAddr,
    /// Our own binary.
    pub(super) agent: &'s Path,
}

impl Site<'_> {
    fn write(&self, name: &str, text: &str) -> Result<String> {
        write(self.directory, name, text)
    }

    fn certificate(&self, file: &str) -> String {
        self.certificates.join(file).display().to_string()
    }
}

pub(super) fn write(directory: &Path, name: &str, text: &str) -> Result<String> {
    let path: PathBuf = directory.join(name);
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path.display().to_string())
}

fn program(name: &str) -> Result<String> {
    Ok(which(name).with_context(|| format!("{name} is not installed"))?.display().to_string())
}

/// Loopback addresses that nobody uses at this moment.
pub(super) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut listeners = Vec::new();
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        // Held until all are known, so that they differ.
        listeners.push(listener);
    }
    Ok(addresses)
}
