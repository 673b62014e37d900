//! `kubectl penstock`: agents are found through an API server, and asked through it.

use std::{
    io::{BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::support::{Backend, Site, documents, ingress, read_head, service};

/// As much of an API server as is asked: lists of pods, and ways to their ports.
struct Cluster {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Cluster {
    /// With these agents: pod, node, where its health port is.
    fn start(agents: &[(&'static str, &'static str, SocketAddr)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (agents, told) = (agents.to_vec(), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (agents, told) = (agents.clone(), Arc::clone(&told));
                thread::spawn(move || serve(stream, &agents, &told));
            }
        });
        Self { address, asked }
    }

    /// Exit code, standard output and standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{ "name": "c", "cluster": { "server": format!("http://{}", self.address) } }],
            "contexts": [{ "name": "here", "context": { "cluster": "c", "user": "u" } }],
            "users": [{ "name": "u", "user": {} }],
        });
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, config.to_string()).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
        command.arg("kubectl").args(arguments).arg("--kubeconfig").arg(&path);
        let output = command.output().expect("it starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
    }
}

fn serve(stream: TcpStream, agents: &[(&str, &str, SocketAddr)], asked: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut writer = stream;
    while let Some(head) = read_head(&mut reader) {
        let line = head.lines().next().unwrap_or_default().to_owned();
        asked.lock().expect("nobody panics").push(line.clone());
        let agent = agents.iter().find(|own| line.contains(&format!("/pods/{}/", own.0)));
        if let Some((_, _, address)) = agent.filter(|_| line.contains("/portforward")) {
            return forward(&head, &line, reader, writer, *address);
        }
        let pods: Vec<Value> = agents
            .iter()
            .filter(|own| !line.contains("spec.nodeName") || line.contains(own.1))
            .map(|(name, node, address)| pod(name, node, *address))
            .chain([default_backend()])
            .collect();
        let body = json!({
            "kind": "PodList", "apiVersion": "v1", "metadata": { "resourceVersion": "1" },
            "items": pods,
        })
        .to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn pod(name: &str, node: &str, address: SocketAddr) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "penstock" },
        "spec": { "nodeName": node, "containers": [{
            "name": "controller",
            "args": ["run", "--l4=off", format!("--healthz-port={}", address.port())],
        }] },
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

/// The chart's other pod, which has the labels too.
fn default_backend() -> Value {
    json!({
        "metadata": { "name": "aaa-default-backend", "namespace": "penstock" },
        "spec": { "containers": [{ "name": "web", "args": [] }] },
        "status": { "phase": "Running" },
    })
}

/// WebSocket (RFC 6455) with a channel's number before the bytes: 0 for them, 1 for errors. Both begin
/// with the port.
fn forward(
    head: &str,
    line: &str,
    mut reader: BufReader<TcpStream>,
    mut writer: TcpStream,
    address: SocketAddr,
) {
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    assert!(line.contains(&format!("ports={}", address.port())), "{line}");
    let key = field("sec-websocket-key").expect("an upgrade");
    let key = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes()).as_ref());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
    );
    writer.write_all(answer.as_bytes()).expect("it is read");
    for channel in [0, 1] {
        let [low, high] = address.port().to_le_bytes();
        write_frame(&mut writer, &[channel, low, high]).expect("it is read");
    }
    let mut agent = TcpStream::connect(address).expect("the agent listens");
    let mut from_agent = agent.try_clone().expect("a second handle");
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from_agent.read(&mut bytes[1..]) {
            if write_frame(&mut writer, &bytes[..=count]).is_err() {
                return;
            }
        }
    });
    while let Some((opcode, payload)) = read_frame(&mut reader) {
        match (opcode, payload.split_first()) {
            (2, Some((0, bytes))) if agent.write_all(bytes).is_ok() => {}
            (2 | 8, _) => break,
            _ => {}
        }
    }
    let _gone = agent.shutdown(std::net::Shutdown::Both);
}

fn write_frame(writer: &mut impl Write, payload: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(payload.len()).expect("short");
    let mut frame = vec![0x82, 126];
    frame.extend(length.to_be_bytes());
    frame.extend_from_slice(payload);
    writer.write_all(&frame)
}

/// Opcode and payload of a client's frame, which is masked.
fn read_frame(reader: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut begin = [0; 2];
    reader.read_exact(&mut begin).ok()?;
    let length = match begin[1] & 0x7F {
        126 => {
            let mut length = [0; 2];
            reader.read_exact(&mut length).ok()?;
            usize::from(u16::from_be_bytes(length))
        }
        127 => return None,
        length => usize::from(length),
    };
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).ok()?;
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).ok()?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((begin[0] & 0xF, payload))
}

fn agent(host: &str, backend: &Backend) -> Site {
    let file = documents(&[&ingress(host, "shop"), &service("shop", &[backend.address])]);
    Site::start(&[("all.yaml", &file)])
}

#[test]
fn agents_are_found_and_asked_through_the_api_server() {
    let backend = Backend::echo("shop");
    let (one, two) = (agent("one.example.com", &backend), agent("two.example.com", &backend));
    let cluster =
        Cluster::start(&[("penstock-a", "node-1", one.admin), ("penstock-b", "node-2", two.admin)]);
    let (code, out, error) = cluster.run(&["routes", "--timeout=60", "-q", "example.com"]);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("one.example.com") && !out.contains("two"), "{out}");
    let (code, out, error) =
        cluster.run(&["routes", "--timeout=60", "--node=node-2", "-q", "example.com"]);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("two.example.com") && !out.contains("one"), "{out}");
    let (code, out, error) = cluster.run(&["status", "--timeout=60", "--all", "--output=json"]);
    assert_eq!(code, 0, "{error}");
    let all: Value = serde_json::from_str(&out).expect("JSON");
    let nodes: Vec<_> = all.as_array().expect("a list").iter().map(|own| &own["node"]).collect();
    assert_eq!(nodes, ["node-1", "node-2"]);
    assert!(all.as_array().expect("a list").iter().all(|own| own["answer"]["ready"] == true));
    let (code, out, error) =
        cluster.run(&["explain", "http://one.example.com/a", "--timeout=60", "--all"]);
    assert_eq!(code, 0, "{error}");
    assert!(
        out.contains("penstock-a on node-1\n") && out.contains("penstock-b on node-2\n"),
        "{out}"
    );
    assert!(out.contains("goes to ") && out.contains("is answered 404"), "{out}");
    // No more is asked of the API server than that.
    let asked = cluster.asked.lock().expect("nobody panics");
    for line in asked.iter() {
        let is_list = line.starts_with("GET /api/v1/pods?");
        let is_way = line.starts_with("GET /api/v1/namespaces/penstock/pods/penstock-");
        assert!(is_list && line.contains("labelSelector") || is_way, "{line}");
    }
}

#[test]
fn an_agent_that_is_nowhere_is_told_and_takes_no_other_along() {
    let backend = Backend::echo("shop");
    let one = agent("one.example.com", &backend);
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let nobody = silent.local_addr().expect("bound");
    let cluster =
        Cluster::start(&[("penstock-a", "node-1", nobody), ("penstock-b", "node-2", one.admin)]);
    let (code, out, _) = cluster.run(&["routes", "--all", "--timeout=15", "-q", "example.com"]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("does not answer") && out.contains("one.example.com"), "{out}");
    let (code, _, error) = cluster.run(&["routes", "--timeout=1", "--node=node-1"]);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("penstock-a on node-1"), "{error}");
    let (code, _, error) = cluster.run(&["routes", "--node=node-9"]);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("node-9") && error.contains("part-of=penstock"), "{error}");
}
