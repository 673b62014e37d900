//! The proxies that are compared: the same work for each, in its own words. Each sends the headers
//! that ingress-nginx sends, keeps connections to the backend open, logs nothing and has one worker.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::setup::which;

/// The host that is asked for.
pub(super) const HOST: &str = "bench.example.com";

/// How to start something, and where it will listen.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) command: Vec<String>,
    pub(super) address: SocketAddr,
}

/// An nginx that answers every request with a body of 1 kB.
pub(super) fn backend(directory: &Path, address: SocketAddr) -> Result<Peer> {
    let body = "x".repeat(1024);
    let server = format!(
        "server {{ listen {address} backlog=4096;\n\
         location / {{ default_type text/plain; return 200 '{body}'; }} }}"
    );
    nginx_command("backend", directory, address, &server)
}

/// Debian's nginx as the proxy.
pub(super) fn nginx(directory: &Path, address: SocketAddr, backend: SocketAddr) -> Result<Peer> {
    let headers: String = [
        ("Host", "$host"),
        ("X-Request-ID", "$request_id"),
        ("X-Real-IP", "$remote_addr"),
        ("X-Forwarded-For", "$remote_addr"),
        ("X-Forwarded-Host", "$host"),
        ("X-Forwarded-Port", "$server_port"),
        ("X-Forwarded-Proto", "$scheme"),
        ("X-Forwarded-Scheme", "$scheme"),
        ("X-Scheme", "$scheme"),
        ("Connection", "''"),
    ]
    .map(|(name, value)| format!("proxy_set_header {name} {value};\n"))
    .concat();
    let server = format!(
        "upstream pods {{ server {backend}; keepalive 320; keepalive_requests 1000000; }}\n\
         server {{ listen {address} backlog=4096; server_name {HOST};\n\
         location / {{ proxy_http_version 1.1;\n{headers}proxy_pass http://pods; }} }}"
    );
    nginx_command("nginx", directory, address, &server)
}

fn nginx_command(
    name: &'static str,
    directory: &Path,
    address: SocketAddr,
    servers: &str,
) -> Result<Peer> {
    let at = directory.display();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{name}-{kind};\n"))
        .concat();
    let file = write(
        directory,
        &format!("{name}.conf"),
        &format!(
            "worker_processes 1; daemon off; pid {at}/{name}.pid; error_log {at}/{name}.err warn;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; keepalive_requests 1000000; {paths}\n{servers}\n}}\n"
        ),
    )?;
    let command =
        vec![program("nginx")?, "-e".into(), format!("{at}/{name}.err"), "-c".into(), file];
    Ok(Peer { name, command, address })
}

/// Debian's haproxy as the proxy.
pub(super) fn haproxy(directory: &Path, address: SocketAddr, backend: SocketAddr) -> Result<Peer> {
    let headers: String = [
        ("X-Request-ID", "%[uuid()]"),
        ("X-Real-IP", "%[src]"),
        ("X-Forwarded-For", "%[src]"),
        ("X-Forwarded-Host", "%[req.hdr(host)]"),
        ("X-Forwarded-Port", "%[dst_port]"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Scheme", "http"),
        ("X-Scheme", "http"),
    ]
    .map(|(name, value)| format!("  http-request set-header {name} {value}\n"))
    .concat();
    let file = write(
        directory,
        "haproxy.cfg",
        &format!(
            "global\n  nbthread 1\n  maxconn 4096\n\
             defaults\n  mode http\n  http-reuse always\n  timeout connect 5s\n  timeout client 60s\n\
             \x20 timeout server 60s\n\
             frontend front\n  bind {address}\n{headers}  default_backend pods\n\
             backend pods\n  server pod {backend}\n"
        ),
    )?;
    Ok(Peer {
        name: "haproxy",
        command: vec![program("haproxy")?, "-db".into(), "-f".into(), file],
        address,
    })
}

/// Penstock, with an Ingress like anybody's.
pub(super) fn penstock(
    agent: &Path,
    directory: &Path,
    [http, https, admin]: [SocketAddr; 3],
    backend: SocketAddr,
) -> Result<Peer> {
    let manifests = directory.join("manifests");
    fs::create_dir_all(&manifests)?;
    let (ip, port) = (backend.ip(), backend.port());
    write(
        &manifests,
        "bench.yaml",
        &format!(
            "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {{name: penstock}}\n\
             spec: {{controller: penstock.dev/ingress-controller}}\n---\n\
             apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
             metadata: {{namespace: bench, name: bench}}\n\
             spec:\n  ingressClassName: penstock\n  rules:\n  - host: {HOST}\n    http:\n\
             \x20     paths:\n      - {{path: /, pathType: Prefix, backend: {{service: {{name: pods, \
             port: {{number: 80}}}}}}}}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {{namespace: bench, name: pods}}\n\
             spec: {{ports: [{{name: http, port: 80}}]}}\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{namespace: bench, name: pods-1, labels: {{kubernetes.io/service-name: pods}}}}\n\
             addressType: IPv4\nports: [{{name: http, port: {port}}}]\n\
             endpoints: [{{addresses: [\"{ip}\"], conditions: {{ready: true}}}}]\n"
        ),
    )?;
    let arguments = format!(
        "run --l4=off --workers 1 --bind-address {} --http-port {} --https-port {} \
         --healthz-host {} --healthz-port {} --manifests",
        http.ip(),
        http.port(),
        https.port(),
        admin.ip(),
        admin.port()
    );
    let mut command = vec![agent.display().to_string()];
    command.extend(arguments.split_whitespace().map(str::to_owned));
    command.push(manifests.display().to_string());
    Ok(Peer { name: "Penstock", command, address: http })
}

fn write(directory: &Path, name: &str, text: &str) -> Result<String> {
    let path: PathBuf = directory.join(name);
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path.display().to_string())
}

fn program(name: &str) -> Result<String> {
    Ok(which(name).with_context(|| format!("{name} is not installed"))?.display().to_string())
}
