//! UDP services: ports that a ConfigMap opens.

use std::{
    cell::Cell,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
};

use crate::support::{Site, documents, free_port, until};

pub(crate) const FLAG: &str = "--udp-services-configmap=web/udp";

pub(crate) fn map(entries: &[(u16, &str)]) -> String {
    let mut text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: udp, namespace: web}\ndata:\n  unrelated: x\n"
            .to_owned();
    for (port, value) in entries {
        text.push_str(&format!("  \"{port}\": {value}\n"));
    }
    text
}

pub(crate) fn service(endpoints: &[SocketAddr]) -> String {
    let mut parts = vec![
        "apiVersion: v1\nkind: Service\nmetadata: {name: dns, namespace: web}\n\
         spec: {ports: [{name: t, port: 53}, {name: u, port: 53, protocol: UDP}]}\n"
            .to_owned(),
    ];
    for (index, endpoint) in endpoints.iter().enumerate() {
        parts.push(format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: dns-{index}, \
             namespace: web, labels: {{kubernetes.io/service-name: dns}}}}\naddressType: IPv4\n\
             ports: [{{name: u, port: {}, protocol: UDP}}]\nendpoints: [{{addresses: [{}]}}]\n",
            endpoint.port(),
            endpoint.ip(),
        ));
    }
    documents(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Answers each datagram with its name and the datagram, from the socket that the client sees.
pub(crate) fn parrot(name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let answer = [name.as_bytes(), &buffer[..length]].concat();
            let answer = &answer[..answer.len().min(65_507)];
            socket.send_to(answer, client).expect("it fits");
        }
    });
    address
}

pub(crate) fn client(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    // Connected: an answer from anywhere else is not seen.
    socket.connect((Ipv4Addr::LOCALHOST, port)).expect("loopback");
    socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).expect("a timeout");
    socket
}

/// The answer; asks again when there is none, as clients of UDP do.
pub(crate) fn ask(client: &UdpSocket, text: &[u8]) -> Vec<u8> {
    let answer = Cell::new(None);
    until("an answer", || {
        let mut buffer = vec![0; 65_535];
        let length = client.send(text).and_then(|_sent| client.recv(&mut buffer));
        answer.set(length.ok().map(|length| {
            buffer.truncate(length);
            buffer
        }));
        let got = answer.take();
        let is = got.is_some();
        answer.set(got);
        is
    });
    answer.take().expect("it was waited for")
}

fn settings(data: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: controller, namespace: web}}\n\
         data: {{{data}}}\n"
    )
}

const CONTROLLER: &str = "--configmap=web/controller";

#[test]
fn datagrams_of_any_size_are_answered() {
    let port = free_port();
    let dns = parrot("");
    let files = [("map.yaml", &*map(&[(port, "web/dns:53")])), ("dns.yaml", &*service(&[dns]))];
    let site = Site::start_with(&files, &[FLAG], |_| {});
    let socket = client(port);
    assert_eq!(ask(&socket, b"hello"), b"hello");
    assert_eq!(ask(&socket, b""), b"");
    let large = vec![7; 65_507];
    assert!(ask(&socket, &large) == large);
    let answers = "penstock_udp_datagrams_total{way=\"to_client\"}";
    until("the answers are counted", || site.metric(answers) >= Some(3));
    assert!(site.state()["diagnostics"].to_string().contains("data.unrelated"));
}

#[test]
fn the_answer_comes_from_the_address_that_was_asked() {
    let port = free_port();
    let dns = parrot("");
    let files = [("map.yaml", &*map(&[(port, "web/dns:u")])), ("dns.yaml", &*service(&[dns]))];
    // On all addresses: the kernel alone would choose 127.0.0.1 to answer from.
    let _site = Site::start_with(&files, &[FLAG], |config| config.listen.addresses.clear());
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    socket.connect(("127.9.9.9", port)).expect("loopback");
    socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).expect("a timeout");
    assert_eq!(ask(&socket, b"hello"), b"hello");
    let socket = UdpSocket::bind("[::1]:0").expect("loopback");
    socket.connect(("::1", port)).expect("loopback");
    socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).expect("a timeout");
    assert_eq!(ask(&socket, b"hello"), b"hello");
}

#[test]
fn a_session_has_one_endpoint_until_all_answers_are_there() {
    let port = free_port();
    let (one, two) = (parrot("one"), parrot("two"));
    let files = [
        ("map.yaml", &*map(&[(port, "web/dns:53")])),
        ("dns.yaml", &*service(&[one, two])),
        ("settings.yaml", &*settings("proxy-stream-responses: \"1000\"")),
    ];
    let site = Site::start_with(&files, &[FLAG, CONTROLLER], |_| {});
    let socket = client(port);
    let first = ask(&socket, b"");
    for _ in 0..10 {
        assert_eq!(ask(&socket, b""), first, "one session");
    }
    // With one answer to each, as is the default, the next goes to the other.
    site.replace("settings.yaml", &settings("hsts: \"true\""));
    until("the other is asked", || ask(&socket, b"") != first);
}

#[test]
fn sessions_leave_an_endpoint_that_leaves() {
    let port = free_port();
    let (one, two) = (parrot("one"), parrot("two"));
    let files = [
        ("map.yaml", &*map(&[(port, "web/dns:53")])),
        ("dns.yaml", &*service(&[one])),
        ("settings.yaml", &*settings("proxy-stream-responses: \"1000\"")),
    ];
    let site = Site::start_with(&files, &[FLAG, CONTROLLER], |_| {});
    let socket = client(port);
    assert_eq!(ask(&socket, b""), b"one");
    site.replace("dns.yaml", &service(&[two]));
    until("the new endpoint", || ask(&socket, b"") == b"two");
}

#[test]
fn ports_open_and_close_and_a_port_in_use_is_told() {
    let (first, second) = (free_port(), free_port());
    let dns = parrot("");
    let taken = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let busy = taken.local_addr().expect("bound").port();
    let files = [
        ("map.yaml", &*map(&[(first, "web/dns:53"), (busy, "web/dns:53")])),
        ("dns.yaml", &*service(&[dns])),
    ];
    let site = Site::start_with(&files, &[FLAG], |_| {});
    assert_eq!(ask(&client(first), b"hello"), b"hello");
    let said = site.state()["diagnostics"].to_string();
    assert!(said.contains(&format!("data.{busy}")) && said.contains("in use"), "{said}");
    site.replace("map.yaml", &map(&[(second, "web/dns:53")]));
    assert_eq!(ask(&client(second), b"hello"), b"hello");
    until("the first is free", || UdpSocket::bind(("127.0.0.1", first)).is_ok());
}
