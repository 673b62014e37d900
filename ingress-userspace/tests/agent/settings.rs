//! Keys of the ConfigMap about the process: where connections come in, how keys are agreed on, how
//! long the end may take.

use std::{
    io::Read as _,
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream},
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use ingress_userspace::lifecycle::Stop;

use crate::support::{
    Backend, Connection, DEADLINE, Site, TlsOptions, config_map, documents, ingress, read_request,
    saying, service, tls_config, tls_over, until,
};

const HOST: &str = "shop.example.com";
const GET: &str = "GET / HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n";

fn manifests(shop: SocketAddr, data: &[(&str, &str)]) -> String {
    documents(&[&ingress(HOST, "shop"), &service("shop", &[shop]), &config_map(data)])
}

fn site(shop: &Backend, data: &[(&str, &str)], listen: Option<IpAddr>) -> Site {
    let files = [("all.yaml", &*manifests(shop.address, data))];
    Site::start_with(&files, &["--configmap=web/controller"], |config| {
        if let Some(listen) = listen {
            config.listen.addresses = vec![listen];
        }
    })
}

fn ok() -> Backend {
    saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
}

/// A connection is closed without a byte.
fn is_closed(address: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let _closed = std::io::Write::write_all(&mut stream, GET.as_bytes());
    let mut byte = [0];
    !matches!(stream.read(&mut byte), Ok(1))
}

#[test]
fn connections_come_in_where_they_may() {
    let shop = ok();
    let site = site(&shop, &[("bind-address", "127.0.0.2, ::1")], None);
    assert!(is_closed(site.http) && is_closed(site.https));
    let change = |data: &[(&str, &str)]| site.replace("all.yaml", &manifests(shop.address, data));
    change(&[("bind-address", "127.0.0.2,127.0.0.1")]);
    until("it is let in", || !is_closed(site.http));
    assert_eq!(site.get(HOST, "/").status, 200);
    // Of the other family.
    change(&[("bind-address", "127.0.0.2")]);
    until("it is kept out", || is_closed(site.http));
    change(&[("bind-address", "::1")]);
    until("it is let in", || !is_closed(site.http));
    // What was to be closed must not be open.
    change(&[("bind-address", "127.0.0.l")]);
    until("it is a fault", || site.get(HOST, "/").status == 503);
    change(&[]);
    until("it is forgotten", || site.get(HOST, "/").status == 200);
}

#[test]
fn nobody_comes_in_by_ipv6_where_it_is_off() {
    let loopback = Some(Ipv6Addr::LOCALHOST.into());
    let shop = ok();
    let open = site(&shop, &[("disable-ipv6", "false")], loopback);
    assert_eq!(open.get(HOST, "/").status, 200);
    let closed = site(&shop, &[("disable-ipv6", "true")], loopback);
    assert!(is_closed(closed.http) && is_closed(closed.https));
    let other = site(&shop, &[("disable-ipv6", "true")], None);
    assert_eq!(other.get(HOST, "/").status, 200);
}

#[test]
fn keys_are_agreed_on_as_the_settings_say() {
    let shop = ok();
    let agreed = |data: &[(&str, &str)]| {
        let site = site(&shop, data, None);
        let config = tls_config(TlsOptions::default(), None);
        let stream = tls_over(site.https, HOST, &config).expect("the handshake succeeds");
        let group = stream.conn.negotiated_key_exchange_group().expect("it is there");
        format!("{:?}", group.name())
    };
    assert_eq!(agreed(&[("ssl-ecdh-curve", "secp384r1")]), "secp384r1");
    assert_eq!(agreed(&[("ssl-ecdh-curve", "prime256v1:nonsense")]), "secp256r1");
    let default = agreed(&[]);
    for none in ["auto", "", "nonsense"] {
        assert_eq!(agreed(&[("ssl-ecdh-curve", none)]), default, "{none}");
    }
}

#[test]
fn the_end_takes_no_longer_than_the_settings_say() {
    let (asked, is_asked) = mpsc::channel();
    let asked = Mutex::new(asked);
    let shop = Backend::scripted(move |stream, _| {
        let mut reader = std::io::BufReader::new(stream);
        let _request = read_request(&mut reader);
        let _test_over = asked.lock().expect("no panic").send(());
        let _until_it_is_given_up = reader.read(&mut [0]);
    });
    let site = site(&shop, &[("worker-shutdown-timeout", "1s")], None);
    let mut connection = Connection::open(site.http);
    connection.send(GET);
    is_asked.recv_timeout(DEADLINE).expect("it is asked");
    let start = Instant::now();
    site.signal(Stop::Gracefully);
    // --drain-timeout would wait for four minutes.
    assert!(site.wait());
    assert!(start.elapsed() >= Duration::from_secs(1), "it is waited for");
}
