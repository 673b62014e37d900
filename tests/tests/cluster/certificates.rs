//! What others run beside an ingress controller: cert-manager, with Let's Encrypt's authority for tests
//! (pebble). The controllers, the pod that answers a challenge and the authority are their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::json;
use tempfile::TempDir;
use testbed::{Authority, kubernetes::cluster::Place, requirement};

use crate::site::{DAEMON_SET, NAMESPACE, Site, repository, say, until};

/// The host that gets a certificate.
const HOST: &str = "secure.example.com";
/// Who says that every host is the node.
const NAME_SERVER: &str = "127.0.0.1:8053";

/// Programs beside the API server, with their files. They end on drop.
struct Companions<'s> {
    site: &'s Site,
    files: TempDir,
    running: Vec<Child>,
}

impl Drop for Companions<'_> {
    fn drop(&mut self) {
        for child in &mut self.running {
            // One that has ended has no other end.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for entry in fs::read_dir(self.files.path()).into_iter().flatten().flatten() {
                if entry.path().extension().is_some_and(|end| end == "log") {
                    let text = fs::read_to_string(entry.path()).unwrap_or_default();
                    say(&format!("{}:\n{text}", entry.path().display()));
                }
            }
        }
    }
}

impl<'s> Companions<'s> {
    fn new(site: &'s Site) -> Self {
        let files = tempfile::tempdir().expect("a temporary directory");
        Self { site, files, running: Vec::new() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.file(name), text).expect("it can be written");
        self.file(name)
    }

    fn command(&self, program: &Path) -> Command {
        self.site.cluster.command(Place::ControlPlane, program).expect("the place is there")
    }

    fn kubeconfig(&self) -> String {
        format!("--kubeconfig={}", self.site.cluster.layout().kubeconfig().display())
    }

    /// Starts a program, with a log of its own.
    fn start(&mut self, program: &Path, change: impl FnOnce(&mut Command)) {
        let name = program.file_name().expect("a name").to_string_lossy().into_owned();
        let log = fs::File::create(self.file(&format!("{name}.log"))).expect("a log");
        let mut command = self.command(program);
        change(&mut command);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        self.running.push(command.spawn().expect("the program is there"));
    }

    /// Let's Encrypt's authority for tests, and its name server, which knows every host.
    fn authority(&mut self, pebble: &Path, own: &Authority) {
        let (certificate, key) = own.certificate(&["127.0.0.1"]).expect("a certificate");
        let settings = json!({ "pebble": {
            "listenAddress": "127.0.0.1:14000",
            "managementListenAddress": "127.0.0.1:15000",
            "certificate": self.write("pebble.crt", &certificate),
            "privateKey": self.write("pebble.key", &key),
            // As a real one: the node's port.
            "httpPort": 80, "tlsPort": 443,
            "ocspResponderURL": "", "externalAccountBindingRequired": false,
            "retryAfter": { "authz": 1, "order": 1 },
            "profiles": { "default": { "description": "", "validityPeriod": 7_776_000 } },
        }});
        let settings = self.write("pebble.json", &settings.to_string());
        let node = Place::Node(1).address().to_string();
        self.start(&pebble.join("pebble-challtestsrv"), |command| {
            command.args(["-defaultIPv4", &node, "-defaultIPv6", "", "-dnsserver", NAME_SERVER]);
            command.args(["-management", "127.0.0.1:8055", "-http01", "", "-https01", ""]);
            command.args(["-tlsalpn01", "", "-doh", ""]);
        });
        self.start(&pebble.join("pebble"), |command| {
            command.arg("-config").arg(settings).args(["-dnsserver", NAME_SERVER]);
            // It waits, and refuses some requests, for the sake of its clients' tests.
            command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        });
        let authority = self.write("own.pem", &own.pem());
        let root = self.file("root.pem");
        until("pebble shows its root", || {
            let mut curl = self.command(Path::new("curl"));
            curl.args(["--silent", "--fail", "--cacert"]).arg(&authority);
            curl.arg("--output").arg(&root).arg("https://127.0.0.1:15000/roots/0");
            curl.status().expect("curl is there").success()
        });
    }
}

#[test]
fn cert_manager_gets_a_certificate_by_an_answered_challenge() {
    let test = "cert_manager_gets_a_certificate_by_an_answered_challenge";
    let (Some(cert_manager), Some(pebble)) = (
        requirement::companion(test, "PENSTOCK_CERT_MANAGER"),
        requirement::companion(test, "PENSTOCK_PEBBLE"),
    ) else {
        return;
    };
    let solver = ("acmesolver", cert_manager.join("acmesolver"));
    let Some(site) = Site::new(test, "c", 1, &[solver]) else { return };
    site.apply(&repository("deploy/kubernetes/penstock.yaml"));
    site.deploy_application();
    site.rolled_out(NAMESPACE, DAEMON_SET);
    site.say("installed");
    site.apply(&cert_manager.join("crds"));

    let own = Authority::new().expect("an authority");
    let mut companions = Companions::new(&site);
    companions.authority(&pebble, &own);
    let kubeconfig = companions.kubeconfig();
    companions.start(&cert_manager.join("controller"), |command| {
        command.args([&kubeconfig, "--solver-image=localhost/acmesolver:1"]);
        command.arg(format!("--nameserver={NAME_SERVER}"));
    });
    let bundle = data_encoding::BASE64.encode(own.pem().as_bytes());
    let issuer = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": { "name": "pebble" },
        "spec": { "acme": {
            "server": "https://127.0.0.1:14000/dir", "caBundle": bundle,
            "privateKeySecretRef": { "name": "account" },
            "solvers": [{ "http01": { "ingress": { "ingressClassName": "penstock" } } }],
        }},
    });
    site.apply(&companions.write("issuer.json", &issuer.to_string()));
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {
            "name": "secure", "namespace": "app",
            "annotations": { "cert-manager.io/cluster-issuer": "pebble" },
        },
        "spec": {
            "ingressClassName": "penstock",
            "tls": [{ "hosts": [HOST], "secretName": "secure" }],
            "rules": [{ "host": HOST, "http": { "paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": { "service": { "name": "front", "port": { "name": "http" } } },
            }]}}],
        },
    });
    site.apply(&companions.write("ingress.json", &ingress.to_string()));

    let root = companions.file("root.pem");
    until("a client trusts the host", || {
        let mut curl = site.cluster.command(Place::Client, "curl").expect("the place is there");
        curl.args(["--silent", "--fail", "--max-time", "10", "--cacert"]).arg(&root);
        curl.args(["--resolve", &format!("{HOST}:443:{}", Place::Node(1).address())]);
        let said = curl.arg(format!("https://{HOST}/")).output().expect("curl is there");
        said.status.success() && String::from_utf8_lossy(&said.stdout).contains("front-")
    });
    site.say("served with a certificate of pebble's");
    until("what answered the challenge is taken away", || {
        let left = site.objects(&[
            "ingresses,pods",
            "-n",
            "app",
            "-l",
            "acme.cert-manager.io/http01-solver=true",
        ]);
        left.is_empty()
    });
}
