//! Backends that others wrote: do they read what we forward as we meant it?

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
};

use tempfile::TempDir;

use super::exchange;
use crate::{
    process::{Process, await_listener, free_port, which},
    recorder::{Recorder, Seen, summary},
    script,
};

/// A running backend.
pub(super) struct Backend {
    pub(super) name: &'static str,
    address: SocketAddr,
    process: Process,
    _directory: TempDir,
}

/// All that are installed. nginx and apache2 hand on what they read to the recorder, the others tell
/// it in `x-seen` themselves.
pub(super) fn all(test: &str, recorder: &Recorder) -> Vec<Backend> {
    let mut all = Vec::new();
    let origin = recorder.address;
    let mut add = |name: &'static str, command: &dyn Fn(u16, &TempDir) -> Option<Command>| {
        let port = free_port();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let Some(command) = command(port, &directory) else {
            script::missing(test, name);
            return;
        };
        let mut process = Process::start(&command);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        await_listener(&mut process, address, name);
        all.push(Backend { name, address, process, _directory: directory });
    };
    add("nginx", &|port, directory| Some(nginx(&which("nginx")?, port, directory, origin)));
    add("apache2", &|port, directory| Some(apache(&which("apache2")?, port, directory, origin)));
    add("node", &|port, _| script::node("backend.js", &[&port.to_string()]));
    add("aiohttp", &|port, _| {
        script::python("backend.py", &["aiohttp"], &["aiohttp", &port.to_string()])
    });
    add("http.server", &|port, _| {
        script::python("backend.py", &[], &["http.server", &port.to_string()])
    });
    all
}

/// The backend counts as many requests as we do, and understands the first as the recorder did. One
/// that refuses it is no danger, but must not find another request in its rest.
pub(super) fn judge(backend: &mut Backend, seen: &Seen) -> Result<(), String> {
    if !backend.process.runs() {
        return Err("the backend has ended".to_owned());
    }
    // Python's http.server knows no chunks: it is nobody's pod for what comes in chunks.
    if backend.name == "http.server" && !seen.values("transfer-encoding").is_empty() {
        return Ok(());
    }
    // The odd field of the case may tell the backend to end the connection; the marker asks for that.
    let back = exchange(backend.address, &[&seen.raw[..], super::MARKER].concat());
    let understood = back.values("x-seen");
    let ours = seen.summary();
    // apache2 takes several slashes at the beginning for one, whatever `MergeSlashes` says.
    let ours = if backend.name == "apache2" { ours.replace(" 2f2f", " 2f") } else { ours };
    let marker = summary("GET", "/marker", "a.test", b"");
    // node reads nothing more behind an upgrade that it does not take.
    if understood == [ours.clone()] && back.statuses.len() == 1 {
        return Ok(());
    }
    let refused = back.statuses.first().is_some_and(|status| (400..600).contains(status));
    if understood == [ours.clone(), marker.clone()] && back.statuses.len() == 2 {
        return Ok(());
    }
    if refused && back.statuses.len() <= 2 && understood.iter().all(|word| *word == marker) {
        return Ok(());
    }
    let statuses = &back.statuses;
    Err(super::cut(format!("{statuses:?} understood as {understood:?}, by us as {ours}")))
}

fn nginx(program: &PathBuf, port: u16, directory: &TempDir, origin: SocketAddr) -> Command {
    let text = format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log;\nevents {{}}\n\
         http {{ access_log off; large_client_header_buffers 8 64k; server {{ listen 127.0.0.1:{port}; \
         location / {{ proxy_pass http://{origin}; proxy_http_version 1.1; \
         proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k; \
         proxy_set_header Host $http_host; }} }} }}\n"
    );
    fs::write(directory.path().join("nginx.conf"), text).expect("a file");
    let mut command = Command::new(program);
    command.arg("-p").arg(directory.path()).args(["-c", "nginx.conf"]);
    command
}

fn apache(program: &PathBuf, port: u16, directory: &TempDir, origin: SocketAddr) -> Command {
    let modules = "/usr/lib/apache2/modules";
    let mut text = format!(
        "ServerRoot {root}\nListen 127.0.0.1:{port}\nServerName a.test\nPidFile {root}/pid\n\
         ErrorLog {root}/error.log\nMutex file:{root} default\nUser nobody\nGroup nogroup\n\
         LimitRequestFieldSize 65536\nLimitRequestLine 65536\nLimitRequestFields 0\n",
        root = directory.path().display()
    );
    for module in ["mpm_event", "authz_core", "proxy", "proxy_http"] {
        text += &format!("LoadModule {module}_module {modules}/mod_{module}.so\n");
    }
    text += &format!(
        "AllowEncodedSlashes NoDecode\nMergeSlashes Off\nProxyPreserveHost On\nProxyPass / http://{origin}/ nocanon responsefieldsize=65536\n"
    );
    fs::write(directory.path().join("apache.conf"), text).expect("a file");
    let mut command = Command::new(program);
    command.args(["-X", "-f"]).arg(directory.path().join("apache.conf"));
    command
}
