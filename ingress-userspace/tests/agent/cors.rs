//! CORS as a browser sees it (reference section 1.6).

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{Backend, Ingress, Reply, Site, documents, exchange, saying, service};

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const OTHERS: [&str; 4] = [
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
];

fn site(annotations: &[(&str, &str)], shop: &Backend) -> Site {
    let annotations = [&[("enable-cors", "true")], annotations].concat();
    let ingress = Ingress {
        name: "shop",
        annotations: &annotations,
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let parts = [&*ingress.yaml(), &service("shop", &[shop.address])];
    Site::start(&[("all.yaml", &documents(&parts))])
}

fn ask(site: &Site, method: &str, origin: Option<&str>) -> Reply {
    let origin = origin.map(|origin| format!("origin: {origin}\r\n")).unwrap_or_default();
    exchange(
        site.http,
        &format!(
            "{method} / HTTP/1.1\r\nhost: shop.example.com\r\n{origin}connection: close\r\n\r\n"
        ),
    )
}

#[test]
fn without_more_every_origin_is_allowed() {
    let shop = Backend::echo("shop");
    let site = site(&[], &shop);
    for origin in [None, Some("https://any.example")] {
        let reply = ask(&site, "GET", origin);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header(ALLOW_ORIGIN), Some("*"));
        let values = OTHERS.map(|name| reply.header(name));
        assert_eq!(
            values,
            [
                Some("true"),
                Some("GET, PUT, POST, DELETE, PATCH, OPTIONS"),
                Some(
                    "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,\
                     Content-Type,Range,Authorization"
                ),
                Some("1728000"),
            ]
        );
        assert_eq!(reply.header("access-control-expose-headers"), None);
        assert_eq!(reply.header("vary"), None);
    }
}

#[test]
fn a_preflight_is_answered_before_all_else_and_asks_nobody() {
    let shop = Backend::echo("shop");
    let more = [
        ("denylist-source-range", "0.0.0.0/0"),
        ("force-ssl-redirect", "true"),
        ("permanent-redirect", "https://elsewhere.example.com"),
    ];
    let site = site(&more, &shop);
    let reply = ask(&site, "OPTIONS", Some("https://any.example"));
    assert_eq!((reply.status, reply.header(ALLOW_ORIGIN)), (204, Some("*")));
    assert_eq!(reply.header("content-type"), Some("text/plain charset=UTF-8"));
    assert_eq!(reply.header("access-control-max-age"), Some("1728000"));
    // Even one that asks for nothing.
    assert_eq!(ask(&site, "OPTIONS", None).status, 204);
    let redirect = ask(&site, "GET", None);
    assert_eq!((redirect.status, redirect.header(ALLOW_ORIGIN)), (301, Some("*")));
    assert_eq!(shop.connections(), 0);
}

#[test]
fn answers_of_our_own_have_the_fields_too() {
    let shop = Backend::echo("shop");
    let closed = site(&[("denylist-source-range", "0.0.0.0/0")], &shop);
    let reply = ask(&closed, "GET", None);
    assert_eq!((reply.status, reply.header(ALLOW_ORIGIN)), (403, Some("*")));
    let denied = site(&[("auth-snippet", "x")], &shop);
    let reply = ask(&denied, "OPTIONS", None);
    assert_eq!((reply.status, reply.header(ALLOW_ORIGIN)), (503, Some("*")));
}

#[test]
fn a_list_allows_what_is_on_it_and_nobody_else() {
    let shop = Backend::echo("shop");
    let list = "https://a.example:8443, http://*.b.example,nonsense, null, https://*.*.c.example";
    let site = site(&[("cors-allow-origin", list)], &shop);
    for origin in
        ["https://a.example:8443", "HTTPS://A.example:8443", "http://one.b.example", "null"]
    {
        let reply = ask(&site, "GET", Some(origin));
        assert_eq!(reply.header(ALLOW_ORIGIN), Some(origin));
        assert_eq!(reply.header("vary"), Some("Origin"));
        assert_eq!(ask(&site, "OPTIONS", Some(origin)).status, 204, "{origin}");
    }
    for origin in [
        "https://a.example",
        "http://a.example:8443",
        "evil-https://a.example:8443",
        "https://a.example:84433",
        "http://b.example",
        "http://.b.example",
        "http://two.one.b.example",
        "http://oneXb.example",
        "https://one.b.example",
        "nonsense",
        "https://x.y.c.example",
    ] {
        let reply = ask(&site, "GET", Some(origin));
        assert_eq!(reply.status, 200, "{origin}");
        assert_eq!(reply.header(ALLOW_ORIGIN), None, "{origin}");
        assert_eq!(OTHERS.map(|name| reply.header(name)), [None; 4], "{origin}");
        // The endpoint may know an answer.
        let options = ask(&site, "OPTIONS", Some(origin));
        assert!(options.text().contains("OPTIONS / HTTP/1.1"), "{origin}");
    }
    assert_eq!(ask(&site, "GET", None).header(ALLOW_ORIGIN), None);
}

#[test]
fn the_annotations_replace_what_the_endpoint_says() {
    let shop = saying(
        "HTTP/1.1 200 OK\r\naccess-control-allow-origin: https://own.example\r\n\
         access-control-allow-credentials: true\r\naccess-control-max-age: 1\r\n\
         access-control-expose-headers: x-own\r\ncontent-length: 2\r\n\r\nok",
    );
    let annotations = [
        ("cors-allow-origin", "https://a.example"),
        ("cors-allow-methods", "GET"),
        ("cors-allow-headers", "X-A, X-B"),
        ("cors-expose-headers", "*, X-C"),
        ("cors-allow-credentials", "false"),
        ("cors-max-age", "600"),
    ];
    let site = site(&annotations, &shop);
    let reply = ask(&site, "GET", Some("https://a.example"));
    assert_eq!(reply.header(ALLOW_ORIGIN), Some("https://a.example"));
    assert_eq!(
        OTHERS.map(|name| reply.header(name)),
        [None, Some("GET"), Some("X-A, X-B"), Some("600")]
    );
    assert_eq!(reply.header("access-control-expose-headers"), Some("*, X-C"));
    for name in OTHERS {
        assert!(reply.head.to_lowercase().matches(name).count() <= 1, "{}", reply.head);
    }
    // Who is not allowed gets what the endpoint says.
    let other = ask(&site, "GET", Some("https://b.example"));
    assert_eq!(other.header(ALLOW_ORIGIN), Some("https://own.example"));
}

#[test]
fn a_preflight_over_http2_is_answered_too() {
    let shop = Backend::echo("shop");
    let site = site(&[("cors-allow-origin", "https://a.example")], &shop);
    crate::http2::run(async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("it listens");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("a handshake");
        tokio::spawn(connection);
        let request = http::Request::options("http://shop.example.com/")
            .header("origin", "https://a.example")
            .body(Full::new(Bytes::new()))
            .expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), 204);
        assert_eq!(response.headers()[ALLOW_ORIGIN], "https://a.example");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(body.is_empty());
    });
    assert_eq!(shop.connections(), 0);
}
