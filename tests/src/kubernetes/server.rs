use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Child,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use http::Method;
use serde_json::json;

use super::{
    Objects, Programs, control,
    credentials::{Credentials, User},
    keeper,
};
use crate::{leftovers, loopback::free_ports};

/// How long it may take until it is ready: four seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// An API server and its etcd on the loopback. Both end on drop, and with this process.
#[derive(Debug)]
pub struct ApiServer {
    programs: Programs,
    credentials: Credentials,
    objects: Objects,
    processes: Mutex<Processes>,
    guard: leftovers::Guard,
}

#[derive(Debug)]
struct Processes {
    etcd: Child,
    server: Option<Child>,
}

/// A ServiceAccount's way in.
#[derive(Clone, Debug)]
pub struct Account {
    /// Refers to the file with the token.
    pub kubeconfig: PathBuf,
    /// The file with the token, as kubelet projects one into a pod.
    pub token: PathBuf,
    namespace: String,
    name: String,
}

impl ApiServer {
    /// Starts one and returns when it is ready.
    pub fn start(programs: Programs) -> Result<Self> {
        leftovers::clean();
        let guard = leftovers::Guard::claim()?;
        let directory = guard.id().directory();
        let [port] = free_ports()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let users = [User::admin()];
        let credentials = Credentials::make(&directory.join("pki"), address, &users)?;
        let objects = Objects::of(&credentials.kubeconfig("admin"))?;
        let log = directory.join("etcd.log");
        let etcd = keeper::spawn(&control::etcd(&programs, &directory), &log)?;
        let processes = Mutex::new(Processes { etcd, server: None });
        let own = Self { programs, credentials, objects, processes, guard };
        own.restart()?;
        Ok(own)
    }

    /// The one that the tests of this process share: it lives as long as one of them holds it.
    pub fn shared(programs: &Programs) -> Result<Arc<Self>> {
        static SHARED: Mutex<Weak<ApiServer>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(Self::start(programs.clone())?);
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    /// Ends the API server at once, as a crash would. etcd goes on.
    pub fn crash(&self) -> Result<()> {
        if let Some(mut server) = self.processes().server.take() {
            server.kill()?;
            server.wait()?;
        }
        Ok(())
    }

    /// Starts the API server, again if it has been ended, with what etcd has; returns when it is
    /// ready.
    pub fn restart(&self) -> Result<()> {
        self.crash()?;
        let directory = self.guard.id().directory();
        let command = control::api_server(&self.programs, &directory, &self.credentials);
        self.processes().server = Some(keeper::spawn(&command, &self.log())?);
        let start = Instant::now();
        loop {
            if self.objects.request(Method::GET, "/readyz", None).is_ok() {
                return Ok(());
            }
            if let Some(server) = &mut self.processes().server
                && let Some(status) = server.try_wait()?
            {
                bail!("the API server has ended ({status}):\n{}", self.log_tail());
            }
            if start.elapsed() > PATIENCE {
                bail!("the API server is not ready after {PATIENCE:?}:\n{}", self.log_tail());
            }
            // It tells nobody when it is ready; a poll is all there is.
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its objects, for one who may do everything.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// A kubeconfig for one who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.credentials.kubeconfig("admin")
    }

    /// What kubectl says.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.programs.command("kubectl");
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        let output = command.output().context("cannot run kubectl")?;
        if !output.status.success() {
            bail!("kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A way in for a ServiceAccount that there is, with a fresh token.
    pub fn account(&self, namespace: &str, name: &str) -> Result<Account> {
        let file = |end: &str| self.directory().join(format!("{namespace}-{name}.{end}"));
        let account = Account {
            kubeconfig: file("kubeconfig"),
            token: file("token"),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        self.renew(&account)?;
        let kubeconfig = self.credentials.with_token_file(&account.token)?;
        fs::write(&account.kubeconfig, kubeconfig)?;
        Ok(account)
    }

    /// Puts a fresh token in place of the account's old one, which is not revoked by that.
    pub fn renew(&self, account: &Account) -> Result<()> {
        let Account { namespace, name, token, .. } = account;
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": { "expirationSeconds": 3600 },
        });
        let answer = self.objects.request(Method::POST, &path, Some(&request))?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        let text = answer["status"]["token"].as_str().context("no token in the answer")?;
        let hidden = token.with_extension("new");
        fs::write(&hidden, text)?;
        fs::rename(&hidden, token)?;
        Ok(())
    }

    /// A directory that goes with it.
    pub fn directory(&self) -> PathBuf {
        self.guard.id().directory()
    }

    fn log(&self) -> PathBuf {
        self.directory().join("apiserver.log")
    }

    fn log_tail(&self) -> String {
        tail(&self.log())
    }

    fn processes(&self) -> MutexGuard<'_, Processes> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // Nothing is left to do about a process that cannot be killed.
        let _ = self.crash();
        let mut processes = self.processes();
        let _ = processes.etcd.kill();
        let _ = processes.etcd.wait();
    }
}
