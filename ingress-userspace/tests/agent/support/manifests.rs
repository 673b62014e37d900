use std::{fmt::Write as _, net::SocketAddr};

/// A Service of one port 80 and the EndpointSlice behind it, in namespace `web`.
pub(crate) fn service(name: &str, endpoints: &[SocketAddr]) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: web}}\n\
         spec:\n  ports:\n  - {{name: http, port: 80, targetPort: 8080}}\n"
    );
    for (index, endpoint) in endpoints.iter().enumerate() {
        let _infallible = write!(
            text,
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata:\n  name: {name}-{index}\n  namespace: web\n  \
             labels: {{kubernetes.io/service-name: {name}}}\n\
             addressType: {}\nports:\n- {{name: http, port: {}, protocol: TCP}}\n\
             endpoints:\n- addresses: [\"{}\"]\n  conditions: {{ready: true}}\n  \
             targetRef: {{kind: Pod, name: {name}-pod-{index}, namespace: web}}\n",
            if endpoint.is_ipv4() { "IPv4" } else { "IPv6" },
            endpoint.port(),
            endpoint.ip(),
        );
    }
    text
}

/// An Ingress in namespace `web`: its annotations (without prefix) and, for each host, its paths:
/// type, path and service.
pub(crate) struct Ingress<'a> {
    pub(crate) name: &'a str,
    pub(crate) annotations: &'a [(&'a str, &'a str)],
    pub(crate) host: &'a str,
    pub(crate) paths: &'a [(&'a str, &'a str, &'a str)],
    /// The Secret for the host; empty: an entry without Secret.
    pub(crate) tls: Option<&'a str>,
}

impl Ingress<'_> {
    pub(crate) fn yaml(&self) -> String {
        let mut text = format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {}\n  \
             namespace: web\n  creationTimestamp: 2026-01-01T00:00:00Z\n  annotations:\n    \
             example.com/of-the-test: \"yes\"\n",
            self.name
        );
        for (key, value) in self.annotations {
            let _infallible = writeln!(text, "    nginx.ingress.kubernetes.io/{key}: {value:?}");
        }
        text.push_str("spec:\n");
        if let Some(secret) = self.tls {
            let _infallible = writeln!(text, "  tls:\n  - hosts: [{:?}]", self.host);
            if !secret.is_empty() {
                let _infallible = writeln!(text, "    secretName: {secret}");
            }
        }
        text.push_str("  rules:\n  - http:\n      paths:\n");
        for (kind, path, service) in self.paths {
            let _infallible = writeln!(
                text,
                "      - path: {path:?}\n        pathType: {kind}\n        backend:\n          \
                 service: {{name: {service}, port: {{number: 80}}}}"
            );
        }
        if !self.host.is_empty() {
            let _infallible = writeln!(text, "    host: {:?}", self.host);
        }
        text
    }
}

/// An Ingress that sends all of a host to one service.
pub(crate) fn ingress(host: &str, service: &str) -> String {
    Ingress { name: service, annotations: &[], host, paths: &[("Prefix", "/", service)], tls: None }
        .yaml()
}

/// A certificate for these names, its key, and the Secret of both in namespace `web`.
pub(crate) fn certificate(secret: &str, names: &[&str]) -> (Vec<u8>, String) {
    certificate_of(secret, names, &rcgen::KeyPair::generate().expect("randomness"))
}

/// The same for a key of another kind.
pub(crate) fn certificate_of(
    secret: &str,
    names: &[&str],
    key: &rcgen::KeyPair,
) -> (Vec<u8>, String) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let certificate = rcgen::CertificateParams::new(names)
        .and_then(|parameters| parameters.self_signed(key))
        .expect("plain names");
    let entries = [("tls.crt", &*certificate.pem()), ("tls.key", &key.serialize_pem())];
    (certificate.der().to_vec(), secret_of(secret, &entries))
}

/// A Secret in namespace `web` with these entries.
pub(crate) fn secret_of(name: &str, entries: &[(&str, &str)]) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: web}}\nstringData:\n"
    );
    for (entry, value) in entries {
        let _infallible = writeln!(text, "  {entry}: |");
        for line in value.lines() {
            let _infallible = writeln!(text, "    {line}");
        }
    }
    text
}

/// The controller's ConfigMap, which `--configmap=web/controller` names.
pub(crate) fn config_map(data: &[(&str, &str)]) -> String {
    let mut text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller, namespace: web}\ndata:\n  \
                    server-tokens: \"false\"\n"
            .to_owned();
    for (key, value) in data {
        let _infallible = writeln!(text, "  {key}: {value:?}");
    }
    text
}

/// Documents of one file.
pub(crate) fn documents(parts: &[&str]) -> String {
    parts.join("---\n")
}
