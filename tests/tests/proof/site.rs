//! The agent's process on ports of its own, with manifests that a test writes.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
    sync::Arc,
};

use rustls::ClientConfig;
use tempfile::TempDir;
use testbed::{Authority, requirement};

use crate::process::{Process, await_listener, free_port, until, which};

/// A host, where its requests go, and the annotations of its Ingress.
pub(crate) struct Host<'a> {
    pub(crate) name: &'a str,
    pub(crate) backend: SocketAddr,
    pub(crate) annotations: &'a [(&'a str, &'a str)],
}

impl<'a> Host<'a> {
    pub(crate) fn new(name: &'a str, backend: SocketAddr) -> Self {
        Self { name, backend, annotations: &[] }
    }
}

/// A running agent. Killed on drop.
pub(crate) struct Site {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    /// The health port.
    pub(crate) admin: SocketAddr,
    /// The page for browsers.
    pub(crate) page: SocketAddr,
    pub(crate) agent: Process,
    authority: Authority,
    directory: TempDir,
}

impl Site {
    /// Starts an agent that serves these hosts, all with a certificate; `None` after saying that
    /// `test` is skipped.
    pub(crate) fn start(test: &str, hosts: &[Host<'_>]) -> Option<Self> {
        Self::start_with(test, hosts, &[])
    }

    /// The same with values of the ConfigMap.
    pub(crate) fn start_with(
        test: &str,
        hosts: &[Host<'_>],
        config: &[(&str, &str)],
    ) -> Option<Self> {
        Self::launch(test, hosts, |authority| documents(authority, hosts, config))
    }

    /// An agent that serves these documents, whose ConfigMap is `web/settings`.
    pub(crate) fn of(test: &str, documents: &str) -> Option<Self> {
        Self::launch(test, &[], |_| documents.to_owned())
    }

    fn launch(
        test: &str,
        hosts: &[Host<'_>],
        documents: impl FnOnce(&Authority) -> String,
    ) -> Option<Self> {
        let binary = requirement::agent(test)?;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let authority = Authority::new().expect("an authority");
        std::fs::write(directory.path().join("authority.pem"), authority.pem()).expect("a file");
        let manifests = directory.path().join("manifests");
        std::fs::create_dir(&manifests).expect("a directory");
        std::fs::write(manifests.join("all.yaml"), documents(&authority)).expect("a manifest");
        let [http, https, admin, page] = [free_port(), free_port(), free_port(), free_port()]
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let nginx = std::env::var("PENSTOCK_PROOF_PROXY").is_ok_and(|proxy| proxy == "nginx");
        let mut agent = if nginx {
            Process::start(&crate::site::nginx(directory.path(), http, hosts))
        } else {
            let mut command = Command::new(binary);
            command.arg("run").arg("--manifests").arg(manifests).args([
                "--controller-class=k8s.io/ingress-nginx",
                "--ingress-class=nginx",
                "--watch-ingress-without-class",
                "--configmap=web/settings",
                "--l4=off",
                "--workers=1",
                "--bind-address=127.0.0.1",
                "--healthz-host=127.0.0.1",
            ]);
            command.arg(format!("--http-port={}", http.port()));
            command.arg(format!("--https-port={}", https.port()));
            command.arg(format!("--healthz-port={}", admin.port()));
            command.arg(format!("--page-address={page}"));
            Process::start(&command)
        };
        await_listener(&mut agent, http, "the agent");
        if !nginx {
            until("the agent is ready", || ready(admin));
        }
        Some(Self { http, https, admin, page, agent, authority, directory })
    }

    /// A client configuration that trusts the certificates.
    pub(crate) fn tls(&self, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        self.authority.client(protocols).expect("a client configuration")
    }

    /// The authority's certificate, for other programs.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// A directory that goes with the site.
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }
}

fn ready(admin: SocketAddr) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let limit = std::time::Duration::from_secs(2);
    let answer = runtime.expect("a runtime").block_on(testbed::get(admin, "a", "/readyz", limit));
    answer.is_ok_and(|answer| answer.status == 200)
}

fn documents(authority: &Authority, hosts: &[Host<'_>], config: &[(&str, &str)]) -> String {
    let names: Vec<&str> = hosts.iter().map(|host| host.name).collect();
    let mut text = authority.secret("web", "certificate", &names).expect("a Secret");
    text += "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: web}\ndata:\n  \
             ssl-redirect: \"false\"\n  proxy-body-size: \"0\"\n  \
             proxy-request-buffering: \"off\"\n";
    for (key, value) in config {
        let _infallible = writeln!(text, "  {key}: {value:?}");
    }
    for (number, host) in hosts.iter().enumerate() {
        let Host { name, backend, annotations } = host;
        let _infallible = write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: web}}\n\
             spec:\n  ports:\n  - {{name: http, port: 80, targetPort: 8080}}\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata:\n  name: s{number}-0\n  namespace: web\n  \
             labels: {{kubernetes.io/service-name: s{number}}}\n\
             addressType: IPv4\nports:\n- {{name: http, port: {port}, protocol: TCP}}\n\
             endpoints:\n- addresses: [\"{ip}\"]\n  conditions: {{ready: true}}\n\
             ---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: i{number}\n  \
             namespace: web\n  creationTimestamp: 2026-01-01T00:00:00Z\n  annotations:\n    \
             example.com/of-the-test: \"yes\"\n",
            port = backend.port(),
            ip = backend.ip(),
        );
        for (key, value) in *annotations {
            let _infallible = writeln!(text, "    nginx.ingress.kubernetes.io/{key}: {value:?}");
        }
        let _infallible = write!(
            text,
            "spec:\n  tls:\n  - hosts: [{name:?}]\n    secretName: certificate\n  rules:\n  \
             - host: {name:?}\n    http:\n      paths:\n      - path: /\n        pathType: Prefix\n        \
             backend:\n          service: {{name: s{number}, port: {{number: 80}}}}\n"
        );
    }
    text
}

/// Debian's nginx as ingress-nginx configures it, on the same hosts, for comparison.
fn nginx(directory: &std::path::Path, http: SocketAddr, hosts: &[Host<'_>]) -> Command {
    let mut text = "daemon off; master_process off; pid nginx.pid; error_log error.log;\n\
         events { worker_connections 1000; }\nhttp { access_log off; client_header_buffer_size 1k; \
         large_client_header_buffers 4 8k; underscores_in_headers off; ignore_invalid_headers on; \
         merge_slashes on; server_tokens off; client_max_body_size 0;\n"
        .to_owned();
    let _infallible = writeln!(text, "server {{ listen {http} default_server; return 404; }}");
    for host in hosts {
        let _infallible = writeln!(
            text,
            "server {{ listen {http}; server_name {}; location / {{ proxy_pass http://{}; \
             proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $http_host; \
             proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $remote_addr; \
             proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme; \
             proxy_set_header Proxy ''; proxy_buffer_size 64k; proxy_buffers 8 64k; \
             proxy_busy_buffers_size 128k; }} }}",
            host.name, host.backend
        );
    }
    text += "}\n";
    std::fs::write(directory.join("nginx.conf"), text).expect("a file");
    let mut command = Command::new(which("nginx").expect("nginx is installed"));
    command.arg("-p").arg(directory).args(["-c", "nginx.conf"]);
    command
}
