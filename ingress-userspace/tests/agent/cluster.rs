//! Objects from an API server instead of a directory.

use std::{
    io::Read as _,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    ApiServer, Backend, Ingress, Served, Site, certificate, exchange, free_port, ingress,
    secret_of, service, tls, until,
};

/// Gives an API server the objects of these manifests.
fn put(server: &ApiServer, manifests: &str) {
    for document in manifests.split("\n---\n").filter(|text| !text.trim().is_empty()) {
        let mut object: Value = serde_saphyr::from_str(document).expect("it is YAML");
        // As the real one does.
        if let Some(text) = object.as_object_mut().and_then(|object| object.remove("stringData")) {
            for (key, value) in text.as_object().expect("a map") {
                let value = value.as_str().expect("text").as_bytes();
                object["data"][key] = json!(data_encoding::BASE64.encode(value));
            }
        }
        server.put(object);
    }
}

fn shop(host: &str, tls: Option<&str>) -> String {
    let paths = &[("Prefix", "/", "shop")];
    Ingress { name: "shop", annotations: &[("ssl-redirect", "false")], host, paths, tls }.yaml()
}

/// An agent that serves the objects of an API server.
struct Cluster {
    api: ApiServer,
    served: Served,
    site: Site,
}

impl Cluster {
    fn start(backend: &Backend) -> Self {
        let api = ApiServer::default();
        put(&api, &service("shop", &[backend.address]));
        put(&api, &shop("shop.example.com", None));
        let served = Served::start(&api);
        let site = Site::start_on(&served, json!({}), &[]);
        Self { api, served, site }
    }

    fn status(&self, host: &str) -> u16 {
        self.site.get(host, "/").status
    }
}

#[test]
fn objects_of_the_api_server_are_served_and_their_changes() {
    let backend = Backend::echo("shop");
    let Cluster { api, site, .. } = &Cluster::start(&backend);
    assert_eq!(site.get("shop.example.com", "/").status, 200);
    let (first, secret) = certificate("cert", &["shop.example.com"]);
    let shown = || tls(site.https, "shop.example.com").1;
    assert_ne!(shown(), first);
    put(api, &secret);
    put(api, &shop("shop.example.com", Some("cert")));
    until("the certificate is used", || shown() == first);
    let (second, secret) = certificate("cert", &["shop.example.com"]);
    put(api, &secret);
    until("the new certificate is used", || shown() == second);
    put(api, &shop("other.example.com", None));
    until("the new host is served", || site.get("other.example.com", "/").status == 200);
    until("the old one is not", || site.get("shop.example.com", "/").status == 404);
    api.delete("Ingress", "web", "shop");
    until("it is gone", || site.get("other.example.com", "/").status == 404);
}

#[test]
fn a_change_never_shows_a_state_without_what_it_names() {
    let backend = Backend::echo("shop");
    let Cluster { api, site, .. } = &Cluster::start(&backend);
    let protected = |secret: &str| {
        let annotations = &[("auth-type", "basic"), ("auth-secret", secret)];
        let (host, paths) = ("shop.example.com", &[("Prefix", "/", "shop")]);
        Ingress { name: "shop", annotations, host, paths, tls: None }.yaml()
    };
    for round in 0..20 {
        let name = format!("users-{round}");
        let password = format!("eve:{round}");
        put(api, &secret_of(&name, &[("auth", &format!("eve:{{PLAIN}}{round}"))]));
        put(api, &protected(&name));
        let ask = || {
            let login = data_encoding::BASE64.encode(password.as_bytes());
            let request = format!(
                "GET / HTTP/1.1\r\nhost: shop.example.com\r\nauthorization: Basic {login}\r\n\
                 connection: close\r\n\r\n"
            );
            exchange(site.http, &request).status
        };
        // Until it is taken over, what was before: another list. Never none, which is 503.
        until("its list is used", || {
            let status = ask();
            assert!(matches!(status, 200 | 401), "{status} in round {round}");
            status == 200
        });
        until("nobody else gets in", || site.get("shop.example.com", "/").status == 401);
    }
}

#[test]
fn an_outage_of_the_api_server_is_no_outage() {
    let backend = Backend::echo("shop");
    let mut cluster = Cluster::start(&backend);
    let ready = |cluster: &Cluster| {
        let reply = cluster.site.admin("/readyz");
        (reply.status, String::from_utf8(reply.body).expect("text"))
    };
    assert_eq!(ready(&cluster), (200, "ok".to_owned()));
    assert_eq!(cluster.site.metric("penstock_source_connected"), Some(1));
    let address = cluster.served.address;
    // The port stays taken while nobody listens.
    cluster.served = Served::start(&ApiServer::default());
    until("it is said", || ready(&cluster).1.contains("cannot be reached"));
    assert_eq!(ready(&cluster).0, 200);
    assert_eq!(cluster.site.metric("penstock_source_connected"), Some(0));
    assert_eq!(cluster.status("shop.example.com"), 200);
    put(&cluster.api, &shop("new.example.com", None));
    cluster.api.forget();
    cluster.served = Served::start_at(&cluster.api, address);
    until("the change is learnt", || cluster.status("new.example.com") == 200);
    until("all is well", || ready(&cluster) == (200, "ok".to_owned()));
    assert_eq!(cluster.site.metric("penstock_source_connected"), Some(1));
}

/// Knows nobody from now on but who brings this token.
fn only(api: &ApiServer, token: &str) {
    let bearer = format!("Bearer {token}");
    api.script(move |asked| {
        let known = asked.token.as_ref() == Some(&bearer);
        (!known).then(|| (401, "Unauthorized".to_owned()))
    });
}

#[test]
fn a_token_that_was_replaced_is_read_again() {
    let backend = Backend::echo("shop");
    let api = ApiServer::default();
    put(&api, &service("shop", &[backend.address]));
    let directory = tempfile::tempdir().expect("a directory");
    let token = directory.path().join("token");
    std::fs::write(&token, "first").expect("a file");
    only(&api, "first");
    let served = Served::start(&api);
    let site = Site::start_on(&served, json!({ "tokenFile": token }), &[]);
    // The old one is not valid any more, and the new one is not there yet.
    only(&api, "second");
    api.end_watches(false);
    let readyz = || String::from_utf8(site.admin("/readyz").body).expect("text");
    until("it is said", || readyz().contains("does not know us"));
    std::fs::write(&token, "second").expect("a file");
    put(&api, &ingress("shop.example.com", "shop"));
    // kube itself looks into the file once a minute.
    until("it is read again", || site.get("shop.example.com", "/").status == 200);
}

/// As kubelet does it in a pod: the file is a link through `..data`, which is put elsewhere in one step.
#[test]
fn a_token_whose_directory_is_put_elsewhere_is_read_again() {
    let backend = Backend::echo("shop");
    let api = ApiServer::default();
    put(&api, &service("shop", &[backend.address]));
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    let give = |token: &str| {
        std::fs::create_dir(place(token)).expect("a directory");
        std::fs::write(place(token).join("token"), token).expect("a file");
        std::os::unix::fs::symlink(token, place("..data_tmp")).expect("a link");
        std::fs::rename(place("..data_tmp"), place("..data")).expect("one step");
    };
    give("first");
    std::os::unix::fs::symlink("..data/token", place("token")).expect("a link");
    only(&api, "first");
    let served = Served::start(&api);
    let site = Site::start_on(&served, json!({ "tokenFile": place("token") }), &[]);
    give("second");
    std::fs::remove_dir_all(place("first")).expect("it was there");
    only(&api, "second");
    api.end_watches(false);
    put(&api, &ingress("shop.example.com", "shop"));
    until("it is read again", || site.get("shop.example.com", "/").status == 200);
}

/// An agent in a process of its own that may never be ready.
struct Waiting {
    child: Child,
    admin: std::net::SocketAddr,
    _directory: TempDir,
}

impl Waiting {
    fn start(served: &Served) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let kubeconfig = served.kubeconfig(directory.path(), json!({}));
        let port = free_port();
        let child = Command::new(env!("CARGO_BIN_EXE_penstock"))
            .args(["run", "--kubeconfig", &kubeconfig, "--http-port=0", "--https-port=0"])
            .args(["--bind-address=127.0.0.1", "--healthz-host=127.0.0.1", "--l4=off"])
            .arg(format!("--healthz-port={port}"))
            .arg("--page-address=")
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let admin = ([127, 0, 0, 1], port).into();
        until("its health port is open", || std::net::TcpStream::connect(admin).is_ok());
        Self { child, admin, _directory: directory }
    }

    fn readyz(&self) -> (u16, String) {
        let get = "GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let reply = exchange(self.admin, get);
        (reply.status, String::from_utf8(reply.body).expect("text"))
    }

    fn terminate(&mut self) -> (bool, String) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        let mut said = String::new();
        let mut pipe = self.child.stderr.take().expect("it is piped");
        pipe.read_to_string(&mut said).expect("text");
        (self.child.wait().expect("it ends").success(), said)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn without_all_objects_it_waits_says_why_and_can_be_stopped() {
    let api = ApiServer::default();
    api.script(|asked| {
        (asked.plural == "secrets").then(|| (403, "secrets is forbidden".to_owned()))
    });
    let served = Served::start(&api);
    let mut agent = Waiting::start(&served);
    let rule = "apiGroups [\"\"], resources [\"secrets\"], verbs [\"list\", \"watch\"]";
    until("it says why", || agent.readyz().1.contains(rule));
    let (status, said) = agent.readyz();
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("waiting for the list of Secret"), "{said}");
    let (sound, said) = agent.terminate();
    assert!(sound, "{said}");
    assert!(said.contains("secrets is forbidden"), "{said}");
}

#[test]
fn it_becomes_ready_when_the_right_is_granted() {
    let api = ApiServer::default();
    api.script(|_| Some((403, "forbidden".to_owned())));
    let served = Served::start(&api);
    let mut agent = Waiting::start(&served);
    until("it waits", || agent.readyz().1.contains("forbidden"));
    api.script(|_| None);
    until("it is ready", || agent.readyz() == (200, "ok".to_owned()));
    assert!(agent.terminate().0);
}

#[test]
fn outside_of_a_pod_it_asks_what_to_serve() {
    let output = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(["run", "--http-port=0", "--https-port=0", "--healthz-port=0", "--page-address="])
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .expect("it starts");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--manifests") && said.contains("--kubeconfig"), "{said}");
}

#[test]
#[ignore = "a measurement: prints, asserts nothing about time"]
fn from_an_event_to_the_first_request() {
    let backend = Backend::echo("shop");
    let Cluster { api, site, .. } = &Cluster::start(&backend);
    let mut took: Vec<Duration> = (0..200)
        .map(|round| {
            let host = format!("h{round}.example.com");
            let start = Instant::now();
            put(api, &shop(&host, None));
            while site.get(&host, "/").status != 200 {
                assert!(start.elapsed() < Duration::from_secs(5));
            }
            start.elapsed()
        })
        .collect();
    took.sort();
    println!("p50 {:?}, p99 {:?}, longest {:?}", took[100], took[198], took[199]);
}
