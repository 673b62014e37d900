//! What an upstream sees of a request and a client of an answer.

use std::io::Write as _;

use crate::support::{Backend, Connection, Site, documents, exchange, ingress, service};

fn site(backend: &Backend, config: &str) -> Site {
    let rules = documents(&[
        &ingress("shop.example.com", "shop"),
        &service("shop", &[backend.address]),
        config,
    ]);
    Site::start_with(&[("all.yaml", &rules)], &["--configmap=web/config"], |_| {})
}

fn configmap(data: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: config, namespace: web}}\ndata: {data}\n"
    )
}

const CLOSE: &str = "connection: close\r\n\r\n";

#[test]
fn the_upstream_is_told_about_the_client() {
    let shop = Backend::echo("shop");
    let site = site(&shop, &configmap("{}"));
    let reply = exchange(
        site.http,
        &format!(
            "GET /a HTTP/1.1\r\nhost: shop.example.com:8080\r\nx-forwarded-for: 1.2.3.4\r\n\
             x-forwarded-host: evil.example\r\nx-forwarded-proto: https\r\nx-real-ip: 6.6.6.6\r\n\
             x-original-forwarded-host: evil\r\nproxy: evil\r\nx-scheme: ftp\r\n{CLOSE}"
        ),
    );
    let port = site.http.port().to_string();
    for (field, value) in [
        ("host: ", "shop.example.com:8080"),
        ("x-real-ip: ", "127.0.0.1"),
        ("x-forwarded-for: ", "127.0.0.1"),
        ("x-forwarded-host: ", "shop.example.com:8080"),
        ("x-forwarded-port: ", &port),
        ("x-forwarded-proto: ", "http"),
        ("x-forwarded-scheme: ", "http"),
        ("x-scheme: ", "http"),
        ("x-original-forwarded-for: ", "1.2.3.4"),
        ("x-original-forwarded-host: ", "evil.example"),
    ] {
        assert_eq!(reply.line(field), Some(value), "{field}\n{}", reply.text());
    }
    assert_eq!(reply.line("proxy: "), None);
    assert_eq!(reply.line("connection: "), None);
    let id = reply.line("x-request-id: ").expect("it is made");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let again = site.get("shop.example.com", "/");
    assert_ne!(again.line("x-request-id: "), Some(id));
    let own = exchange(
        site.http,
        &format!("GET / HTTP/1.1\r\nhost: shop.example.com\r\nx-request-id: mine\r\n{CLOSE}"),
    );
    assert_eq!(own.line("x-request-id: "), Some("mine"));
}

#[test]
fn a_balancer_in_front_is_believed_where_the_settings_say_so() {
    let shop = Backend::echo("shop");
    let site = site(
        &shop,
        &configmap("{use-forwarded-headers: \"true\", compute-full-forwarded-for: \"true\"}"),
    );
    let reply = exchange(
        site.http,
        &format!(
            "GET /a HTTP/1.1\r\nhost: shop.example.com\r\nx-forwarded-for: 1.2.3.4, 5.6.7.8\r\n\
             x-forwarded-host: front.example, other\r\nx-forwarded-proto: https\r\n\
             x-forwarded-port: 8443\r\n{CLOSE}"
        ),
    );
    for (field, value) in [
        ("host: ", "front.example"),
        ("x-real-ip: ", "1.2.3.4"),
        ("x-forwarded-for: ", "1.2.3.4, 5.6.7.8, 127.0.0.1"),
        ("x-forwarded-host: ", "front.example"),
        ("x-forwarded-port: ", "8443"),
        ("x-forwarded-proto: ", "https"),
        ("x-scheme: ", "https"),
    ] {
        assert_eq!(reply.line(field), Some(value), "{field}\n{}", reply.text());
    }
}

#[test]
fn fields_of_the_upstream_s_connection_do_not_reach_the_client() {
    let shop = Backend::scripted(|mut stream, _| {
        let mut reader = std::io::BufReader::new(stream.try_clone().expect("a second handle"));
        let _request = crate::support::read_request(&mut reader);
        let _closed = stream.write_all(
            b"HTTP/1.1 200 Fine\r\nserver: secret/1.0\r\nconnection: close, x-internal\r\n\
              x-internal: 1\r\nkeep-alive: timeout=5\r\nx-kept: 2\r\ncontent-length: 2\r\n\r\nok",
        );
    });
    let site = site(&shop, &configmap("{}"));
    let mut connection = Connection::open(site.http);
    let request = "GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";
    for _ in 0..3 {
        let reply = connection.request(request);
        assert_eq!((reply.status, reply.text()), (200, "ok"));
        assert_eq!(reply.header("x-kept"), Some("2"));
        for name in ["server", "connection", "x-internal", "keep-alive"] {
            assert_eq!(reply.header(name), None, "{name}");
        }
        assert!(reply.header("date").is_some());
    }
}

#[test]
fn connections_to_an_upstream_are_reused() {
    let shop = Backend::echo("shop");
    let site = site(&shop, &configmap("{}"));
    let mut connection = Connection::open(site.http);
    for number in 0..100 {
        let body = "x".repeat(number * 100);
        let reply = connection.request(&format!(
            "POST /{number} HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(reply.status, 200);
        let length = body.len().to_string();
        assert_eq!(reply.line("body-length: "), Some(length.as_str()));
    }
    assert_eq!(shop.connections(), 1);
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let shop = Backend::echo("shop");
    let site = site(&shop, &configmap("{}"));
    let mut connection = Connection::open(site.http);
    connection.send(
        "PUT / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n",
    );
    assert!(connection.head().expect("an interim answer").starts_with("HTTP/1.1 100 "));
    connection.send("hello");
    let reply = connection.reply(false).expect("an answer");
    assert_eq!(reply.line("body-length: "), Some("5"));
    assert_eq!(reply.line("expect: "), None);
}

#[test]
fn answers_without_a_body_keep_their_fields() {
    let shop = Backend::scripted(|stream, _| {
        let mut reader = std::io::BufReader::new(stream.try_clone().expect("a second handle"));
        let mut writer = stream;
        while let Some((head, _)) = crate::support::read_request(&mut reader) {
            let answer: &[u8] = if head.starts_with("GET /304") {
                b"HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\ncontent-length: 7\r\n\r\n"
            } else if head.starts_with("GET /204") {
                b"HTTP/1.1 204 No Content\r\n\r\n"
            } else {
                b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n"
            };
            if writer.write_all(answer).is_err() {
                return;
            }
        }
    });
    let site = site(&shop, &configmap("{}"));
    let mut connection = Connection::open(site.http);
    let mut request = |line: &str| {
        connection.request(&format!("{line} HTTP/1.1\r\nhost: shop.example.com\r\n\r\n"))
    };
    for _ in 0..3 {
        let head = request("HEAD /");
        assert_eq!((head.status, head.header("content-length")), (200, Some("1234")));
        let unchanged = request("GET /304");
        assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some("\"1\"")));
        assert_eq!(request("GET /204").status, 204);
    }
    // Where a body was announced it may come all the same: only the connection of the 204 was used
    // again, by the HEAD after it.
    assert_eq!(shop.connections(), 7);
}

#[test]
fn names_with_underscores_stand_for_none_of_ours() {
    let shop = Backend::echo("shop");
    let config = documents(&[
        &configmap("{enable-underscores-in-headers: \"true\", proxy-set-headers: web/sent}"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sent, namespace: web}\n\
         data: {X-Tenant: ours, X-Nobody: \"\"}\n",
    ]);
    let site = site(&shop, &config);
    let forged = [
        "X_Real_Ip",
        "X_Forwarded_For",
        "x_forwarded_uri",
        "X_Original_Url",
        "X_Request_Id",
        "Ssl_Client_Verify",
        "X_Auth_Request_User",
        "X_Code",
        "X_Scheme",
        "Content_Length",
        "X_Tenant",
        "x_nobody",
    ];
    let fields: String = forged.iter().map(|name| format!("{name}: forged\r\n")).collect();
    let reply = exchange(
        site.http,
        &format!("GET /a HTTP/1.1\r\nhost: shop.example.com\r\n{fields}api_key: 1\r\n{CLOSE}"),
    );
    assert_eq!(reply.line("api_key: "), Some("1"), "{}", reply.text());
    assert_eq!(reply.line("x-tenant: "), Some("ours"));
    assert_eq!(reply.line("x-real-ip: "), Some("127.0.0.1"));
    assert!(!reply.text().contains("forged"), "{}", reply.text());
}
