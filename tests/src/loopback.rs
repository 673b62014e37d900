use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;

use crate::{agent::Agent, id::BoxId, leftovers::Guard, manifests::Manifests, pods::Pods};

/// One agent without the kernel tier, and its pods, on the addresses of the loopback: needs no
/// rights at all. Everything goes on drop.
#[derive(Debug)]
pub struct Loopback {
    agent: Agent,
    http: SocketAddr,
    https: SocketAddr,
    manifests: Manifests,
    _pods: Pods,
    guard: Guard,
}

impl Loopback {
    /// Starts the pods that the manifests name, each on its loopback address, and the agent;
    /// returns when it is ready.
    pub fn start(agent: PathBuf, manifests: &Path, more: &[(String, String)]) -> Result<Self> {
        let guard = Guard::claim()?;
        let directory = guard.id().directory();
        // All of 127.0.0.0/8 is the loopback's: the pods keep three quarters of their addresses.
        let to_loopback = |text: String| text.replace("\"10.244.", "\"127.244.");
        let manifests = Manifests::copy(manifests, directory.join("manifests"), to_loopback)?;
        for (name, text) in more {
            manifests.write(name, text)?;
        }
        let pods = Pods::start(None, manifests.pods()?)?;
        let [http, https, admin] = free_ports()?;
        let mut arguments: Vec<OsString> =
            vec!["run".into(), "--manifests".into(), manifests.directory().into()];
        let flags = format!(
            "--controller-class k8s.io/ingress-nginx --ingress-class nginx \
             --configmap ingress-nginx/ingress-nginx-controller --l4=off --workers 1 \
             --bind-address 127.0.0.1 --http-port {http} --https-port {https} \
             --healthz-port {admin} --healthz-host 127.0.0.1 --page-address="
        );
        arguments.extend(flags.split_whitespace().map(OsString::from));
        let mut agent = Agent::new(agent, arguments, None, admin, directory.join("agent.log"));
        agent.start()?;
        agent.await_ready(Duration::from_secs(90))?;
        let [http, https] = [http, https].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Ok(Self { agent, http, https, manifests, _pods: pods, guard })
    }

    /// The agent.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Where it serves plain HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it serves HTTPS.
    pub fn https(&self) -> SocketAddr {
        self.https
    }

    /// The manifests that it watches.
    pub fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// Names the directory with its log.
    pub fn id(&self) -> &BoxId {
        self.guard.id()
    }
}

/// Ports that nobody uses at this moment.
pub(crate) fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT]> {
    // All held until all are known, so that they differ.
    let mut held = Vec::with_capacity(COUNT);
    let mut ports = [0; COUNT];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
