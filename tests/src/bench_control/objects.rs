//! What is in the cluster: for each number an Ingress of five paths, its Service, its EndpointSlice of two
//! endpoints and, for some, its Secret.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use anyhow::Result;
use serde_json::{Value, json};
use testbed::kubernetes::Objects;

pub(super) const NAMESPACE: &str = "bench";
/// So many of all have a certificate.
const TLS_OF: usize = 10;

/// The namespace and the class.
pub(super) fn around(objects: &Objects) -> Result<()> {
    objects.apply(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: bench}\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: penstock}\n\
         spec: {controller: penstock.dev/ingress-controller}\n",
    )
}

pub(super) fn has_tls(number: usize) -> bool {
    number.is_multiple_of(TLS_OF)
}

/// All objects of a number but its Ingress.
pub(super) fn beneath(number: usize, backend: SocketAddrV4) -> Result<Vec<Value>> {
    let name = format!("i{number}");
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    });
    let mut objects = vec![service, slice(number, backend, 0)];
    if has_tls(number) {
        let pair = rcgen::generate_simple_self_signed(vec![host(number)])?;
        objects.push(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "stringData": { "tls.crt": pair.cert.pem(), "tls.key": pair.signing_key.serialize_pem() },
        }));
    }
    Ok(objects)
}

/// An Ingress; `version` is of no consequence but makes it another.
pub(super) fn ingress(number: usize, version: usize) -> Value {
    let name = format!("i{number}");
    let paths: Vec<Value> = (0..5)
        .map(|path| {
            json!({ "path": format!("/p{path}"), "pathType": "Prefix", "backend": {
                "service": { "name": name, "port": { "number": 80 } },
            }})
        })
        .collect();
    let mut spec = json!({ "ingressClassName": "penstock", "rules": [{
        "host": host(number), "http": { "paths": paths },
    }]});
    if has_tls(number) {
        spec["tls"] = json!([{ "hosts": [host(number)], "secretName": name }]);
    }
    let read = (60 + version % 60).to_string();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": name, "namespace": NAMESPACE, "annotations": {
            // Plain requests are answered by the Service.
            "nginx.ingress.kubernetes.io/ssl-redirect": "false",
            "nginx.ingress.kubernetes.io/proxy-read-timeout": read,
        }},
        "spec": spec,
    })
}

/// Two endpoints, one of which is ready: the other stands for a pod that comes and goes.
pub(super) fn slice(number: usize, backend: SocketAddrV4, version: usize) -> Value {
    let [third, fourth] = [(version / 250) % 250, version % 250];
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("i{number}"), "namespace": NAMESPACE,
            "labels": { "kubernetes.io/service-name": format!("i{number}") },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": backend.port(), "protocol": "TCP" }],
        "endpoints": [
            { "addresses": [backend.ip()], "conditions": { "ready": true } },
            { "addresses": [format!("10.200.{third}.{}", fourth + 1)],
              "conditions": { "ready": false } },
        ],
    })
}

pub(super) fn host(number: usize) -> String {
    format!("h{number}.example.com")
}

/// An address of this machine that an EndpointSlice may have. Nothing is sent.
pub(super) fn own_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(198, 51, 100, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(address) if !address.is_loopback() => Some(address),
        _ => None,
    }
}
