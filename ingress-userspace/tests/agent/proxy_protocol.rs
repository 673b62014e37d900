//! `use-proxy-protocol`: the header that both listeners ask for.

use std::{io::Write as _, net::TcpStream};

use crate::support::{
    Backend, Connection, DEADLINE, Site, TlsOptions, documents, ingress, service, tls_behind,
    tls_config, until,
};

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\n\
    metadata: {name: controller, namespace: web}\ndata:\n  use-proxy-protocol: \"true\"\n  \
    proxy-protocol-header-timeout: 300ms\n";
const V1: &str = "PROXY TCP4 192.0.2.1 198.51.100.7 4321 8080\r\n";
const GET: &str = "GET / HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n";
const FAILURES: &str = "penstock_proxy_header_failures_total";
const REFUSED: &str = "penstock_connections_refused_total";
const OPEN: &str = "nginx_ingress_controller_nginx_process_connections{state=\"active\"}";

fn site(shop: &Backend) -> Site {
    let files = [
        (
            "all.yaml",
            &*documents(&[&ingress("shop.example.com", "shop"), &service("shop", &[shop.address])]),
        ),
        ("map.yaml", MAP),
    ];
    Site::start_with(&files, &["--configmap=web/controller"], |_| {})
}

#[test]
fn the_header_says_who_the_client_is_and_which_port_it_asked() {
    let shop = Backend::echo("shop");
    let site = site(&shop);
    let reply = Connection::open(site.http).request(&format!("{V1}{GET}"));
    assert_eq!(reply.line("x-real-ip: "), Some("192.0.2.1"));
    assert_eq!(reply.line("x-forwarded-for: "), Some("192.0.2.1"));
    assert_eq!(reply.line("x-forwarded-port: "), Some("8080"));
    assert_eq!(reply.line("x-forwarded-proto: "), Some("http"));
    let ended = V1.replace("8080", "443");
    let reply = Connection::open(site.http).request(&format!("{ended}{GET}"));
    assert_eq!(reply.line("x-forwarded-proto: "), Some("https"), "a proxy in front ended TLS");
    assert_eq!(reply.header("strict-transport-security"), None, "this connection is not TLS");
}

#[test]
fn forwarded_headers_count_where_the_header_names_a_trusted_source() {
    let shop = Backend::echo("shop");
    let site = site(&shop);
    let rest = "  use-forwarded-headers: \"true\"\n  proxy-real-ip-cidr: 192.0.2.0/24\n";
    site.replace("map.yaml", &format!("{MAP}{rest}"));
    let get = GET.replace("\r\n\r\n", "\r\nx-forwarded-for: 203.0.113.9\r\n\r\n");
    let real = |header: &str| {
        let reply = Connection::open(site.http).request(&format!("{header}{get}"));
        reply.line("x-real-ip: ").map(str::to_owned)
    };
    until("the source is believed", || real(V1).as_deref() == Some("203.0.113.9"));
    let stranger = V1.replace("192.0.2.1", "198.51.100.1");
    assert_eq!(real(&stranger).as_deref(), Some("198.51.100.1"));
    // Whoever connected is not asked.
    let rest = rest.replace("192.0.2.0/24", "127.0.0.0/8");
    site.replace("map.yaml", &format!("{MAP}{rest}"));
    until("the source is not believed", || real(V1).as_deref() == Some("192.0.2.1"));
}

#[test]
fn a_header_may_come_in_pieces_and_binary() {
    let shop = Backend::echo("shop");
    let site = site(&shop);
    let mut client = Connection::open(site.http);
    for byte in V1.as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.request(GET).line("x-real-ip: "), Some("192.0.2.1"));
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x05\xc6\x33\x64\x07\x10\xe1\x1f\x90";
    let mut client = Connection::open(site.http);
    client.send(v2);
    assert_eq!(client.request(GET).line("x-real-ip: "), Some("192.0.2.5"));
    // LOCAL: a health check of the proxy's own.
    let mut client = Connection::open(site.http);
    client.send(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    assert_eq!(client.request(GET).line("x-real-ip: "), Some("127.0.0.1"));
}

#[test]
fn the_header_precedes_tls() {
    let shop = Backend::echo("shop");
    let site = site(&shop);
    let mut tcp = TcpStream::connect_timeout(&site.https, DEADLINE).expect("somebody listens");
    tcp.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    tcp.write_all(V1.as_bytes()).expect("it is open");
    let config = tls_config(TlsOptions::default(), None);
    let stream = tls_behind(tcp, "shop.example.com", &config).expect("the handshake succeeds");
    let reply = Connection::over(stream).request(GET);
    assert_eq!(reply.line("x-real-ip: "), Some("192.0.2.1"));
    assert_eq!(reply.line("x-forwarded-proto: "), Some("https"));
    assert_eq!(reply.line("x-forwarded-port: "), Some("8080"));
}

#[test]
fn a_connection_without_header_is_closed_and_counted() {
    let shop = Backend::echo("shop");
    let site = site(&shop);
    for bytes in [GET, "PROXY TCP4 nonsense\r\n", "\r\n\r\n\0\r\nQUIT\n\u{1}\u{11}\0\0"] {
        let mut client = Connection::open(site.http);
        client.send(bytes);
        assert!(client.reply(false).is_err(), "{bytes:?}");
    }
    assert_eq!(site.metric(FAILURES), Some(3));
    // One that comes too late, and one that never comes to its end.
    let mut silent = Connection::open(site.http);
    assert!(silent.reply(false).is_err());
    let mut half = Connection::open(site.https);
    half.send("PROXY TCP4 192.0.2.1");
    assert!(half.reply(false).is_err());
    assert_eq!(site.metric(FAILURES), Some(5));
    assert_eq!(shop.connections(), 0);
}

#[test]
fn the_setting_applies_to_the_next_connection() {
    let shop = Backend::echo("shop");
    let site = site(&shop);
    assert!(Connection::open(site.http).try_request(GET).is_err());
    site.replace("map.yaml", &MAP.replace("\"true\"", "\"false\""));
    until("none is asked for", || Connection::open(site.http).try_request(GET).is_ok());
    assert_eq!(Connection::open(site.http).request(GET).status, 200);
    // Without the setting a header is no request line.
    assert_eq!(Connection::open(site.http).request(&format!("{V1}{GET}")).status, 400);
}

#[test]
fn connections_above_the_limit_are_closed_and_counted() {
    let shop = Backend::echo("shop");
    let site = site(&shop);
    let map = MAP.replace("use-proxy-protocol: \"true\"", "max-worker-connections: \"2\"");
    site.replace("map.yaml", &map);
    until("the change is served", || Connection::open(site.http).try_request(GET).is_ok());
    until("all connections have ended", || site.metric(OPEN) == Some(0));
    assert_eq!(site.metric(REFUSED), Some(0));
    let mut kept = Vec::new();
    let get = GET.replace("connection: close\r\n", "");
    // Two workers: with five connections one of them has three.
    for _ in 0..5 {
        let mut client = Connection::open(site.http);
        if client.try_request(&get).is_ok() {
            kept.push(client);
        }
    }
    assert!((2..=4).contains(&kept.len()), "{}", kept.len());
    assert_eq!(site.metric(REFUSED), Some(5 - kept.len() as u64));
    for client in &mut kept {
        assert_eq!(client.request(&get).status, 200, "the others stay");
    }
    drop(kept);
    until("there is room again", || Connection::open(site.http).try_request(GET).is_ok());
}
