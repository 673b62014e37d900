use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{agent::Agent, loopback::free_ports};

/// An agent without the kernel tier that gets its objects from an API server. Killed on drop.
#[derive(Debug)]
pub struct Watcher {
    agent: Agent,
    http: SocketAddr,
    https: SocketAddr,
}

impl Watcher {
    /// Starts `penstock run` with this kubeconfig, these variables and these flags, its log in
    /// `log`. It may take a while until it is ready.
    pub fn start(
        penstock: &Path,
        kubeconfig: &Path,
        log: PathBuf,
        variables: &[(&str, &str)],
        flags: &[&str],
    ) -> Result<Self> {
        let [http, https, admin] = free_ports()?;
        let mut arguments: Vec<OsString> =
            variables.iter().map(|(name, value)| format!("{name}={value}").into()).collect();
        arguments.extend([penstock.into(), "run".into(), "--kubeconfig".into(), kubeconfig.into()]);
        let own = format!(
            "--l4=off --workers=1 --bind-address=127.0.0.1 --http-port={http} \
             --https-port={https} --healthz-port={admin} --healthz-host=127.0.0.1 --page-address="
        );
        arguments.extend(own.split_whitespace().map(OsString::from));
        arguments.extend(flags.iter().map(OsString::from));
        let mut agent = Agent::new("env".into(), arguments, None, admin, log);
        agent.start()?;
        let [http, https] = [http, https].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Ok(Self { agent, http, https })
    }

    /// The process.
    pub fn agent(&mut self) -> &mut Agent {
        &mut self.agent
    }

    /// Where it serves plain HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it serves HTTPS.
    pub fn https(&self) -> SocketAddr {
        self.https
    }
}
