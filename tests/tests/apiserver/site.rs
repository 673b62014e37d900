//! Agents on a namespace of the API server, with the rights that are shipped, and pods for them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rustls::ClientConfig;
use serde_json::{Value, json};
use testbed::{
    Answer, Connection, Pod, Pods,
    kubernetes::{Account, Watcher},
    requirement,
};

use crate::place::{DEADLINE, Place, until};

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A place with an IngressClass of its own and the account that the manifests give the agent.
pub(crate) struct Site {
    pub(crate) place: Place,
    pub(crate) account: Account,
    penstock: PathBuf,
}

impl Site {
    /// On the API server that all tests share.
    pub(crate) fn shared(test: &str) -> Option<Self> {
        Self::on(test, Place::shared(test)?)
    }

    /// On an API server that may be crashed.
    pub(crate) fn alone(test: &str) -> Option<Self> {
        Self::on(test, Place::alone(test)?)
    }

    fn on(test: &str, place: Place) -> Option<Self> {
        let penstock = requirement::agent(test)?;
        if own_address().is_none() {
            requirement::address(test);
            return None;
        }
        for object in shipped_rights(&place.namespace) {
            place.server.objects().apply_object(&object).expect("the manifest is accepted");
        }
        place.apply(
            "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: NS}\n\
             spec: {controller: penstock.dev/NS}\n",
        );
        let account = place.server.account(&place.namespace, "penstock").expect("a token");
        Some(Self { place, account, penstock })
    }

    /// Starts an agent, which is the pod of this name, and waits until it is ready.
    pub(crate) fn agent(&self, pod: &str, flags: &[&str]) -> Watcher {
        self.place.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, namespace: NS, labels: {{app: penstock}}}}\n\
             spec:\n  serviceAccountName: penstock\n  automountServiceAccountToken: false\n  \
             containers: [{{name: agent, image: none}}]\n"
        ));
        let mut watcher = self.start(pod, flags);
        watcher.agent().await_ready(DEADLINE).expect("the agent is ready");
        watcher
    }

    /// The same without waiting.
    pub(crate) fn start(&self, pod: &str, flags: &[&str]) -> Watcher {
        let namespace = &self.place.namespace;
        let own = [
            format!("--ingress-class={namespace}"),
            format!("--controller-class=penstock.dev/{namespace}"),
            format!("--configmap={namespace}/settings"),
            "--election-id=penstock-leader".to_owned(),
        ];
        let flags: Vec<&str> =
            own.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        let variables = [("POD_NAME", pod), ("POD_NAMESPACE", namespace)];
        Watcher::start(&self.penstock, &self.account.kubeconfig, self.log(pod), &variables, &flags)
            .expect("the agent starts")
    }

    /// Where the agent of this pod logs.
    pub(crate) fn log(&self, pod: &str) -> PathBuf {
        self.place.server.directory().join(format!("{}-{pod}.log", self.place.namespace))
    }

    /// The host that is this site's own.
    pub(crate) fn host(&self) -> String {
        format!("{}.example.com", self.place.namespace)
    }

    /// An Ingress for the site's host with these annotations, in YAML, to the Service `web`.
    pub(crate) fn ingress(&self, name: &str, path: &str, annotations: &[(&str, &str)]) -> String {
        let annotations: serde_json::Map<String, Value> = annotations
            .iter()
            .map(|(key, value)| (format!("nginx.ingress.kubernetes.io/{key}"), json!(value)))
            .collect();
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "name": name, "namespace": self.place.namespace, "annotations": annotations,
            },
            "spec": { "ingressClassName": self.place.namespace, "rules": [{
                "host": self.host(),
                "http": { "paths": [{ "path": path, "pathType": "Prefix", "backend": {
                    "service": { "name": "web", "port": { "number": 80 } },
                }}]},
            }]},
        })
        .to_string()
    }

    /// The Service `web` with these endpoints, as the endpoint slice controller would have them.
    pub(crate) fn service(&self, endpoints: &[SocketAddrV4]) -> String {
        let mut text = self.place.named(
            "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: NS}\n\
             spec: {ports: [{name: http, port: 80, targetPort: 8080}]}\n",
        );
        for (number, endpoint) in endpoints.iter().enumerate() {
            text += &self.place.named(&format!(
                "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                 metadata:\n  name: web-{number}\n  namespace: NS\n  \
                 labels: {{kubernetes.io/service-name: web}}\n\
                 addressType: IPv4\nports: [{{name: http, port: {}, protocol: TCP}}]\n\
                 endpoints: [{{addresses: ['{}'], conditions: {{ready: true}}}}]\n",
                endpoint.port(),
                endpoint.ip()
            ));
        }
        text
    }

    /// Waits until a request for the path is answered with this status.
    pub(crate) fn until_status(&self, agent: &Watcher, path: &str, status: u16) {
        until(&format!("{path} is answered with {status}"), || {
            get(agent, &self.host(), path).is_some_and(|answer| answer.status == status)
        });
    }

    /// Waits until a request is answered by this pod.
    pub(crate) fn until_pod(&self, agent: &Watcher, path: &str, pod: &str) {
        until(&format!("{path} is answered by {pod}"), || {
            let echo = get(agent, &self.host(), path).and_then(|answer| answer.echo());
            echo.is_some_and(|echo| echo.pod == pod)
        });
    }

    /// The names in the certificate that the agent shows for the site's host, as the client of an
    /// authority sees them: whether it trusts the certificate.
    pub(crate) fn trusted(&self, agent: &Watcher, client: &Arc<ClientConfig>) -> bool {
        let (https, host) = (agent.https(), self.host());
        block_on(async {
            Connection::open(https, Some((Arc::clone(client), &host)), LIMIT).await.is_ok()
        })
    }
}

/// The answer to a request over plain HTTP, if there is one.
pub(crate) fn get(agent: &Watcher, host: &str, path: &str) -> Option<Answer> {
    block_on(testbed::get(agent.http(), host, path, LIMIT)).ok()
}

/// Pods that say their names, one for each of these. They end on drop.
pub(crate) fn pods<const COUNT: usize>(names: [&str; COUNT]) -> ([SocketAddrV4; COUNT], Pods) {
    let address = own_address().expect("looked for before");
    let listeners =
        names.map(|_| TcpListener::bind((address, 0)).expect("a port of an address of ours"));
    let addresses = listeners.each_ref().map(|listener| {
        let port = listener.local_addr().expect("it is bound").port();
        SocketAddrV4::new(address, port)
    });
    drop(listeners);
    let pods = addresses
        .iter()
        .zip(names)
        .map(|(address, name)| Pod { address: *address, name: name.to_owned() });
    (addresses, Pods::start(None, pods.collect()).expect("the pods listen"))
}

/// An address of this machine that an EndpointSlice may have: those of the loopback it may not. Nothing
/// is sent.
fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(address) if !address.is_loopback() => Some(address),
        _ => None,
    }
}

/// The account and its roles from the manifests that are shipped, in a namespace of a test.
pub(crate) fn shipped_rights(namespace: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .with_file_name("deploy")
        .join("kubernetes/penstock.yaml");
    let text = fs::read_to_string(path).expect("the manifests are there");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("they are YAML");
    let kinds = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
    let mut rights: Vec<Value> = documents
        .into_iter()
        .filter(|object| kinds.iter().any(|kind| object["kind"] == *kind))
        .collect();
    for object in &mut rights {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        if kind.starts_with("Cluster") {
            object["metadata"]["name"] = json!(namespace);
        } else {
            object["metadata"]["namespace"] = json!(namespace);
        }
        if kind == "ClusterRoleBinding" {
            object["roleRef"]["name"] = json!(namespace);
        }
        let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
        for subject in subjects.into_iter().flatten() {
            subject["namespace"] = json!(namespace);
        }
    }
    assert_eq!(rights.len(), kinds.len(), "one of each kind");
    rights
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}
