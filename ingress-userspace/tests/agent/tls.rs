//! Handshakes, certificates, and the way from HTTP to HTTPS.

use std::io::{Read as _, Write as _};

use crate::support::{
    Backend, Connection, Ingress, Site, TlsOptions, certificate, documents, exchange, service, tls,
    tls_with, until,
};

fn host<'a>(name: &'a str, host: &'a str, tls: Option<&'a str>) -> String {
    Ingress { name, annotations: &[], host, paths: &[("Prefix", "/", "shop")], tls }.yaml()
}

fn common_name(der: &[u8]) -> String {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(der).expect("a certificate");
    let name = certificate.subject().iter_common_name().next().expect("it has one");
    name.as_str().expect("it is text").to_owned()
}

#[test]
fn the_server_name_chooses_the_certificate() {
    let shop = Backend::echo("shop");
    let (exact, exact_secret) = certificate("exact", &["a.example.com"]);
    let (wildcard, wildcard_secret) = certificate("wildcard", &["*.example.com"]);
    let site = Site::start(&[(
        "all.yaml",
        &documents(&[
            &host("exact", "a.example.com", Some("exact")),
            &host("wildcard", "*.example.com", Some("wildcard")),
            &exact_secret,
            &wildcard_secret,
            &service("shop", &[shop.address]),
        ]),
    )]);
    let presented = |name: &str| tls(site.https, name).1;
    assert_eq!(presented("a.example.com"), exact);
    assert_eq!(presented("A.Example.COM"), exact);
    assert_eq!(presented("b.example.com"), wildcard);
    let fake = "Kubernetes Ingress Controller Fake Certificate";
    assert_eq!(common_name(&presented("example.com")), fake);
    assert_eq!(common_name(&presented("a.b.example.com")), fake);
    let (_, none) =
        tls_with(site.https, "a.example.com", TlsOptions { no_sni: true, ..Default::default() });
    assert_eq!(common_name(&none), fake);
}

#[test]
fn requests_over_tls_are_served_with_hsts() {
    let shop = Backend::echo("shop");
    let (_, secret) = certificate("shop", &["shop.example.com"]);
    let site = Site::start(&[(
        "all.yaml",
        &documents(&[
            &host("shop", "shop.example.com", Some("shop")),
            &secret,
            &service("shop", &[shop.address]),
        ]),
    )]);
    for old in [false, true] {
        let options = TlsOptions { alpn: &[b"http/1.1"], old, ..Default::default() };
        let (stream, _) = tls_with(site.https, "shop.example.com", options);
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut connection = Connection::over(stream);
        for _ in 0..2 {
            let reply = connection.request("GET /a HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
            assert_eq!(reply.status, 200);
            let hsts = Some("max-age=31536000; includeSubDomains");
            assert_eq!(reply.header("strict-transport-security"), hsts);
            assert_eq!(reply.line("x-forwarded-proto: "), Some("https"));
            assert_eq!(reply.line("x-forwarded-port: "), Some("443"));
        }
    }
    assert_eq!(site.get("nohost.example.com", "/").header("strict-transport-security"), None);
}

#[test]
fn http2_is_chosen_where_both_are_offered() {
    let site = Site::start(&[]);
    let options = TlsOptions { alpn: &[b"http/1.1", b"h2"], ..Default::default() };
    let (stream, _) = tls_with(site.https, "a.example.com", options);
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
}

#[test]
fn plain_http_is_sent_to_https_where_the_host_has_tls() {
    let shop = Backend::echo("shop");
    let site = Site::start(&[(
        "all.yaml",
        &documents(&[
            // No Secret at all still counts as TLS.
            &host("shop", "shop.example.com", Some("missing")),
            &host("plain", "plain.example.com", None),
            &Ingress {
                name: "kept",
                annotations: &[("preserve-trailing-slash", "true")],
                host: "kept.example.com",
                paths: &[("Prefix", "/", "shop")],
                tls: Some(""),
            }
            .yaml(),
            &Ingress {
                name: "exempt",
                annotations: &[("ssl-redirect", "false")],
                host: "off.example.com",
                paths: &[("Prefix", "/", "shop")],
                tls: Some(""),
            }
            .yaml(),
            &service("shop", &[shop.address]),
        ]),
    )]);
    let location = |host: &str, target: &str| {
        let reply = site.get(host, target);
        (reply.status, reply.header("location").unwrap_or_default().to_owned())
    };
    let to = |target: &str| (308, target.to_owned());
    assert_eq!(location("shop.example.com", "/a?b=c"), to("https://shop.example.com/a?b=c"));
    assert_eq!(location("shop.example.com:8080", "/a/"), to("https://shop.example.com/a"));
    assert_eq!(location("shop.example.com", "/"), to("https://shop.example.com"));
    assert_eq!(location("kept.example.com", "/a/"), to("https://kept.example.com/a/"));
    assert_eq!(location("plain.example.com", "/").0, 200);
    assert_eq!(location("off.example.com", "/").0, 200);
}

#[test]
fn plain_http_on_the_tls_port_gets_nginx_s_answer() {
    let site = Site::start(&[]);
    let reply = exchange(site.https, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("The plain HTTP request was sent to HTTPS port"));
}

#[test]
fn a_new_certificate_serves_the_next_handshake_and_old_connections_live_on() {
    let shop = Backend::echo("shop");
    let (first, secret) = certificate("shop", &["shop.example.com"]);
    let rules = documents(&[
        &host("shop", "shop.example.com", Some("shop")),
        &service("shop", &[shop.address]),
    ]);
    let site = Site::start(&[("rules.yaml", &rules), ("secret.yaml", &secret)]);
    let (mut old, presented) = tls(site.https, "shop.example.com");
    assert_eq!(presented, first);
    let (second, secret) = certificate("shop", &["shop.example.com"]);
    site.write("secret.yaml", &secret);
    until("the new certificate", || tls(site.https, "shop.example.com").1 == second);
    let reply = old.request("GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
    assert_eq!(reply.status, 200);
}

#[test]
fn a_client_that_sends_nonsense_harms_nobody() {
    let site = Site::start(&[]);
    let mut stream = std::net::TcpStream::connect(site.https).expect("it listens");
    stream.write_all(&[22, 3, 1, 255, 255, 0, 0, 0, 0]).expect("it is open");
    let mut rest = Vec::new();
    let _alert_or_reset = stream.read_to_end(&mut rest);
    assert_eq!(
        tls(site.https, "a.example.com").0.request("GET / HTTP/1.1\r\nhost: a\r\n\r\n").status,
        404
    );
    until("the failure is counted", || {
        site.metric("penstock_tls_handshake_failures_total{reason=\"malformed\"}") == Some(1)
    });
}
