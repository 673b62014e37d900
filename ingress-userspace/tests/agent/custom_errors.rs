//! Other answers in the place of errors: `custom-http-errors`, `default-backend`,
//! `disable-proxy-intercept-errors` (reference section 5.7).

use std::{
    io::{BufReader, Read as _, Write as _},
    net::SocketAddr,
    sync::{Mutex, mpsc},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{
    Backend, Connection, DEADLINE, Ingress, Reply, Site, config_map, documents, exchange, nobody,
    read_request, saying, service, until,
};

/// Answers every request with a status and a text about the request.
fn pages(status: &'static str) -> Backend {
    Backend::scripted(move |stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut writer = stream;
        while let Some((head, body)) = read_request(&mut reader) {
            let text = format!("page\n{head}body-length: {}\n", body.len());
            let sent = if head.starts_with("HEAD ") { "" } else { &*text };
            let reply = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nx-page: 1\r\n\r\n{sent}",
                text.len()
            );
            if writer.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// The Services `shop` and `pages`.
fn site(
    annotations: &[(&str, &str)],
    data: &[(&str, &str)],
    arguments: &[&str],
    shop: &[SocketAddr],
    pages: &[SocketAddr],
) -> Site {
    let ingress = Ingress {
        name: "shop",
        annotations,
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let parts = [ingress.yaml(), service("shop", shop), service("pages", pages), config_map(data)];
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    let arguments = [&["--configmap=web/controller"], arguments].concat();
    Site::start_with(&[("all.yaml", &documents(&parts))], &arguments, |_| {})
}

fn get(site: &Site, more: &str) -> Reply {
    exchange(
        site.http,
        &format!("GET /a?b HTTP/1.1\r\nhost: shop.example.com\r\n{more}connection: close\r\n\r\n"),
    )
}

const OWN: [(&str, &str); 2] =
    [("custom-http-errors", "401,403,404,503"), ("default-backend", "pages")];

#[test]
fn a_client_that_leaves_takes_the_request_for_its_page_along() {
    let shop = saying("HTTP/1.1 404 Gone\r\ncontent-length: 4\r\n\r\ngone");
    let (left, leaves) = mpsc::channel();
    let left = Mutex::new(left);
    // It never answers.
    let own = Backend::scripted(move |mut stream, _| {
        let _request = read_request(&mut BufReader::new(stream.try_clone().expect("a handle")));
        let closed = stream.read(&mut [0]);
        let _test_over = left.lock().expect("no panic").send(matches!(closed, Ok(0) | Err(_)));
    });
    let site = site(&OWN, &[], &[], &[shop.address], &[own.address]);
    let mut connection = Connection::open(site.http);
    connection.send("GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
    until("the page is asked for", || own.connections() == 1);
    drop(connection);
    assert_eq!(leaves.recv_timeout(DEADLINE), Ok(true));
}

#[test]
fn an_endpoint_s_error_is_replaced_by_what_the_default_backend_says() {
    let shop = saying("HTTP/1.1 404 Gone\r\ncontent-length: 4\r\nx-shop: 1\r\n\r\ngone");
    let pages = pages("418 Teapot");
    let site = site(&OWN, &[], &[], &[shop.address], &[pages.address]);
    let reply = get(
        &site,
        "accept: text/html\r\nx-request-id: abc\r\nauthorization: Basic x\r\nrange: bytes=1-\r\n\
         if-none-match: \"a\"\r\ncookie: c=1\r\nx-code: forged\r\n",
    );
    assert_eq!(reply.status, 418, "the status of that answer");
    assert_eq!((reply.header("x-page"), reply.header("x-shop")), (Some("1"), None));
    assert_eq!(reply.line("GET "), Some("/ HTTP/1.1"), "{}", reply.text());
    for (field, value) in [
        ("x-code: ", Some("404")),
        ("x-format: ", Some("text/html")),
        ("x-original-uri: ", Some("/a?b")),
        ("x-namespace: ", Some("web")),
        ("x-ingress-name: ", Some("shop")),
        ("x-service-name: ", Some("shop")),
        ("x-service-port: ", Some("80")),
        ("x-request-id: ", Some("abc")),
        ("host: ", Some("shop.example.com")),
        ("x-forwarded-for: ", Some("127.0.0.1")),
        ("cookie: ", Some("c=1")),
        ("authorization: ", None),
        ("range: ", None),
        ("if-none-match: ", None),
        ("body-length: ", Some("0")),
    ] {
        assert_eq!(reply.line(field), value, "{field}{}", reply.text());
    }
    // The one connection to the endpoint is used again.
    assert_eq!(get(&site, "").status, 418);
}

#[test]
fn connections_of_small_answers_are_used_again() {
    let shop = saying("HTTP/1.1 404 Gone\r\ncontent-length: 4\r\n\r\ngone");
    let pages = pages("404 Not Found");
    let site = site(&OWN, &[], &[], &[shop.address], &[pages.address]);
    let mut connection = Connection::open(site.http);
    for _ in 0..5 {
        let reply = connection.request("GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
        assert_eq!((reply.status, reply.header("x-page")), (404, Some("1")));
    }
    assert_eq!((shop.connections(), pages.connections()), (1, 1));
}

#[test]
fn errors_of_our_own_are_replaced() {
    let shop = Backend::echo("shop");
    let pages = pages("503 Unavailable");
    let closed = [&OWN[..], &[("denylist-source-range", "0.0.0.0/0")]].concat();
    let closed = site(&closed, &[], &[], &[shop.address], &[pages.address]);
    let reply = get(&closed, "ssl-client-verify: SUCCESS\r\n");
    assert_eq!((reply.status, reply.line("x-code: ")), (503, Some("403")));
    assert_eq!(reply.line("x-forwarded-host: "), Some("shop.example.com"));
    assert_eq!(reply.line("x-original-uri: "), Some("/a?b"));
    assert_eq!(reply.line("ssl-client-verify: "), None, "nobody has verified it");
    assert_eq!(reply.line("x-request-id: ").map(str::len), Some(32));

    let denied = [&OWN[..], &[("auth-snippet", "x")]].concat();
    let denied = site(&denied, &[], &[], &[shop.address], &[pages.address]);
    assert_eq!(get(&denied, "").line("x-code: "), Some("503"));
    assert_eq!(shop.connections(), 0);

    let refused = [("custom-http-errors", "502"), ("default-backend", "pages")];
    let refused = site(&refused, &[], &[], &[nobody()], &[pages.address]);
    assert_eq!(get(&refused, "").line("x-code: "), Some("502"));
}

#[test]
fn the_body_of_the_request_goes_nowhere_else() {
    let shop = saying("HTTP/1.1 404 Gone\r\ncontent-length: 0\r\n\r\n");
    let pages = pages("200 OK");
    let open = site(&OWN, &[], &[], &[shop.address], &[pages.address]);
    let mut connection = Connection::open(open.http);
    for _ in 0..3 {
        let reply = connection
            .request("POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 2\r\n\r\nhi");
        assert_eq!((reply.status, reply.line("POST ")), (200, Some("/ HTTP/1.1")));
        assert_eq!(reply.line("body-length: "), Some("0"));
        assert_eq!(reply.line("content-length: "), Some("0"));
    }
    // Nor where it was not even read.
    let closed = [&OWN[..], &[("denylist-source-range", "0.0.0.0/0")]].concat();
    let closed = site(&closed, &[], &[], &[shop.address], &[pages.address]);
    let reply = exchange(
        closed.http,
        "POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 100\r\n\r\npart",
    );
    assert_eq!((reply.line("x-code: "), reply.line("body-length: ")), (Some("403"), Some("0")));
}

#[test]
fn head_is_asked_as_head() {
    let shop = saying("HTTP/1.1 404 Gone\r\ncontent-length: 4\r\n\r\n");
    let pages = pages("404 Not Found");
    let site = site(&OWN, &[], &[], &[shop.address], &[pages.address]);
    let reply = exchange(site.http, "HEAD / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
    assert_eq!((reply.status, reply.header("x-page")), (404, Some("1")));
}

#[test]
fn what_the_default_backend_says_is_never_replaced() {
    let pages = pages("404 Not Found");
    let site = site(&OWN, &[], &[], &[], &[pages.address]);
    // It stands in for the Service without endpoints, and its 404 is asked for once more.
    let reply = get(&site, "");
    assert_eq!((reply.status, reply.line("x-code: ")), (404, Some("404")));
    assert_eq!(reply.line("GET "), Some("/ HTTP/1.1"));
}

#[test]
fn a_service_without_endpoints_is_stood_in_for() {
    let pages = pages("200 OK");
    let own = [("default-backend", "pages"), ("rewrite-target", "/new")];
    let open = site(&own, &[], &[], &[], &[pages.address]);
    let reply = get(&open, "accept: text/css\r\n");
    assert_eq!((reply.status, reply.line("GET ")), (200, Some("/new?b HTTP/1.1")));
    for (field, value) in [
        ("x-code: ", Some("503")),
        ("x-format: ", Some("text/css")),
        ("x-namespace: ", Some("web")),
        ("x-ingress-name: ", Some("shop")),
        ("x-service-name: ", Some("shop")),
        ("x-service-port: ", Some("80")),
        ("x-original-uri: ", None),
    ] {
        assert_eq!(reply.line(field), value, "{field}{}", reply.text());
    }
    // Whoever may not ask the Service may not ask it either.
    let closed = [&own[..], &[("denylist-source-range", "0.0.0.0/0")]].concat();
    let closed = site(&closed, &[], &[], &[], &[pages.address]);
    assert_eq!(get(&closed, "").status, 403);
    // Itself without endpoints it stands in for nobody.
    let none = site(&own, &[], &[], &[], &[]);
    assert_eq!(get(&none, "").status, 503);
}

#[test]
fn a_default_backend_that_fails_leaves_the_error() {
    let shop = saying(
        "HTTP/1.1 401 No\r\ncontent-length: 4\r\nwww-authenticate: Basic realm=\"a\"\r\n\r\ngone",
    );
    let site = site(&OWN, &[], &[], &[shop.address], &[nobody()]);
    let reply = get(&site, "");
    assert_eq!(reply.status, 401);
    assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"a\""));
    assert!(reply.text().contains("<h1>401 Authorization Required</h1>"), "{}", reply.text());
}

#[test]
fn how_to_log_in_is_kept() {
    let shop = saying(
        "HTTP/1.1 401 No\r\ncontent-length: 4\r\nwww-authenticate: Basic realm=\"a\"\r\n\r\ngone",
    );
    let pages = pages("401 Unauthorized");
    let site = site(&OWN, &[], &[], &[shop.address], &[pages.address]);
    let reply = get(&site, "");
    assert_eq!((reply.status, reply.line("x-code: ")), (401, Some("401")));
    assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"a\""));
}

#[test]
fn answers_of_endpoints_stay_where_that_is_asked_for() {
    let shop = saying("HTTP/1.1 404 Gone\r\ncontent-length: 4\r\n\r\ngone");
    let pages = pages("200 OK");
    let annotations = [&OWN[..], &[("disable-proxy-intercept-errors", "true")]].concat();
    let open = site(&annotations, &[], &[], &[shop.address], &[pages.address]);
    let reply = get(&open, "");
    assert_eq!((reply.status, reply.text()), (404, "gone"));
    let annotations = [&annotations[..], &[("denylist-source-range", "0.0.0.0/0")]].concat();
    let closed = site(&annotations, &[], &[], &[shop.address], &[pages.address]);
    assert_eq!(get(&closed, "").line("x-code: "), Some("403"));
}

#[test]
fn the_config_map_s_list_asks_the_global_default_backend() {
    let shop = saying("HTTP/1.1 404 Gone\r\ncontent-length: 4\r\n\r\ngone");
    let pages = pages("404 Not Found");
    let global = ["--default-backend-service=web/pages"];
    let map = [("custom-http-errors", "404,500")];
    let every = site(&[], &map, &global, &[shop.address], &[pages.address]);
    assert_eq!(get(&every, "").line("x-code: "), Some("404"));
    // The annotation replaces the list.
    let own = [("custom-http-errors", "500")];
    let own = site(&own, &map, &global, &[shop.address], &[pages.address]);
    assert_eq!(get(&own, "").text(), "gone");
    // Nobody to ask: nothing is replaced.
    let none = site(&[], &map, &[], &[shop.address], &[pages.address]);
    assert_eq!(get(&none, "").text(), "gone");
}

#[test]
fn another_first_port_is_another_default_backend() {
    let shop = saying("HTTP/1.1 404 Gone\r\ncontent-length: 4\r\n\r\ngone");
    let pages = pages("200 OK");
    let site = site(&OWN, &[], &[], &[shop.address], &[]);
    assert_eq!(get(&site, "").status, 404);
    site.replace("pages.yaml", &service("more", &[]));
    let text = service("pages", &[pages.address]).replace("port: 80,", "port: 81,");
    let ingress = Ingress {
        name: "shop",
        annotations: &OWN,
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let parts = [ingress.yaml(), service("shop", &[shop.address]), text, config_map(&[])];
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    site.replace("all.yaml", &documents(&parts));
    until("the page is had", || get(&site, "").line("x-code: ") == Some("404"));
}

#[test]
fn clients_of_http2_get_pages_too() {
    let shop = saying("HTTP/1.1 404 Gone\r\ncontent-length: 4\r\n\r\ngone");
    let pages = pages("404 Not Found");
    let site = site(&OWN, &[], &[], &[shop.address], &[pages.address]);
    crate::http2::run(async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("it listens");
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("a handshake");
        tokio::spawn(connection);
        for body in [0, 200_000] {
            let request = http::Request::post("http://shop.example.com/a")
                .body(Full::new(Bytes::from(vec![b'x'; body])))
                .expect("a request");
            let response = sender.clone().send_request(request).await.expect("an answer");
            assert_eq!(response.status(), 404);
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            let text = String::from_utf8(body.to_vec()).expect("text").to_lowercase();
            assert!(text.contains("\nx-code: 404\n"), "{text}");
            assert!(text.contains("\nhost: shop.example.com\n"), "{text}");
            assert!(text.contains("\nbody-length: 0\n"), "{text}");
        }
    });
}

#[test]
fn nobody_vouches_for_a_refused_client_in_front_of_a_default_backend() {
    let (judge, shown) = (pages("401 Unauthorized"), pages("401 Unauthorized"));
    let annotations = [
        ("auth-url", "http://shop.web.svc.cluster.local/judge"),
        ("auth-response-headers", "X-Auth-User"),
        ("custom-http-errors", "401"),
        ("default-backend", "pages"),
    ];
    let site = site(&annotations, &[], &[], &[judge.address], &[shown.address]);
    let reply = get(&site, "x-auth-user: admin\r\nx-other: kept\r\n");
    assert_eq!((reply.status, reply.header("x-page")), (401, Some("1")));
    let text = reply.text().to_ascii_lowercase();
    assert!(text.contains("x-code: 401") && text.contains("x-other: kept"), "{text}");
    assert!(!text.contains("x-auth-user"), "{text}");
}
