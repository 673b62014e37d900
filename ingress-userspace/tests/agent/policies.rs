//! What annotations and the ConfigMap say about proxying, each as a client or an endpoint sees it.

use std::{
    io::Read as _,
    net::SocketAddr,
    sync::{Mutex, mpsc},
};

use crate::support::{
    Backend, Connection, Ingress, Reply, Site, TlsOptions, config_map, documents, exchange, saying,
    service, tls_with, until,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 2\r\n\r\nhi";

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn site_of(
    annotations: Pairs<'_>,
    path: &str,
    map: Pairs<'_>,
    more: &[&str],
    endpoints: &[SocketAddr],
) -> Site {
    let ingress = Ingress {
        name: "shop",
        annotations,
        host: "shop.example.com",
        paths: &[("ImplementationSpecific", path, "shop")],
        tls: None,
    };
    let (ingress, service, map) = (ingress.yaml(), service("shop", endpoints), config_map(map));
    let mut parts = vec![&*ingress, &service, &map];
    parts.extend(more);
    let files = [("all.yaml", &*documents(&parts))];
    Site::start_with(&files, &["--configmap=web/controller"], |_| {})
}

fn site(annotations: Pairs<'_>, endpoints: &[SocketAddr]) -> Site {
    site_of(annotations, "/", &[], &[], endpoints)
}

fn with_map(map: Pairs<'_>, endpoint: SocketAddr) -> Site {
    site_of(&[], "/", map, &[], &[endpoint])
}

const BUSY: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy";

#[test]
fn a_body_that_is_announced_as_too_large_is_413_before_any_redirect() {
    let shop = Backend::echo("shop");
    let annotations =
        [("proxy-body-size", "10"), ("permanent-redirect", "https://other.example.com")];
    let site = site(&annotations, &[shop.address]);
    let post = |length: usize| {
        let body = "x".repeat(length);
        exchange(
            site.http,
            &format!(
                "POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: {length}\r\n\r\n{body}"
            ),
        )
    };
    assert_eq!(post(11).status, 413);
    assert_eq!(post(10).status, 301);
    assert_eq!(shop.connections(), 0);
}

#[test]
fn a_chunked_body_is_413_where_it_becomes_too_large_and_the_endpoint_is_dropped() {
    let (told, tells) = mpsc::channel();
    let told = Mutex::new(told);
    let shop = Backend::scripted(move |mut stream, _| {
        let mut all = Vec::new();
        let _reset = stream.read_to_end(&mut all);
        let _test_over = told.lock().expect("no panic").send(all);
    });
    let annotations = [("proxy-body-size", "10"), ("proxy-request-buffering", "off")];
    let site = site(&annotations, &[shop.address]);
    let mut connection = Connection::open(site.http);
    connection.send(
        "POST / HTTP/1.1\r\nhost: shop.example.com\r\ntransfer-encoding: chunked\r\n\r\n\
         5\r\nhello\r\n",
    );
    until("the endpoint is asked", || shop.connections() == 1);
    connection.send("6\r\nworld!\r\n");
    assert_eq!(connection.reply(false).expect("an answer").status, 413);
    let all = tells.recv_timeout(crate::support::DEADLINE).expect("it is dropped");
    assert!(!all.ends_with(b"0\r\n\r\n"), "no end of the body");
}

#[test]
fn an_endpoint_is_not_asked_before_the_body_is_there() {
    let shop = Backend::echo("shop");
    let site = site(&[], &[shop.address]);
    let mut connection = Connection::open(site.http);
    connection.send("POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 5\r\n\r\nhel");
    assert_eq!(site.get("nobody.example.com", "/").status, 404);
    assert_eq!(shop.connections(), 0);
    let reply = connection.request("lo");
    assert_eq!(reply.line("body-length: "), Some("5"));
    assert_eq!(shop.connections(), 1);
}

#[test]
fn answers_of_named_statuses_are_had_from_another_endpoint() {
    let (busy, fine) = (saying(BUSY), Backend::echo("fine"));
    let endpoints = [busy.address, fine.address];
    let statuses = |annotations: Pairs<'_>, request: &str| {
        let site = site(annotations, &endpoints);
        let mut statuses: Vec<_> =
            (0..4).map(|_| Connection::open(site.http).request(request).status).collect();
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    };
    assert_eq!(statuses(&[], GET), [200, 503]);
    assert_eq!(statuses(&[("proxy-next-upstream", "http_503")], GET), [200]);
    assert_eq!(statuses(&[("proxy-next-upstream", "http_503")], POST), [200, 503]);
    let any = [("proxy-next-upstream", "http_503 non_idempotent")];
    assert_eq!(statuses(&any, POST), [200]);
    let once = [("proxy-next-upstream", "http_503"), ("proxy-next-upstream-tries", "1")];
    assert_eq!(statuses(&once, GET), [200, 503]);
}

#[test]
fn the_last_attempt_s_answer_is_the_client_s() {
    let busy = saying(BUSY);
    let annotations = [("proxy-next-upstream", "http_503"), ("proxy-next-upstream-tries", "3")];
    let site = site(&annotations, &[busy.address, busy.address]);
    let reply = Connection::open(site.http).request(GET);
    assert_eq!((reply.status, reply.text()), (503, "busy"));
    assert_eq!(busy.connections(), 3);
}

#[test]
fn no_attempt_is_repeated_where_that_is_off() {
    let fine = Backend::echo("fine");
    let site = site(&[("proxy-next-upstream", "off")], &[crate::support::nobody(), fine.address]);
    // One that refuses comes up within the first requests of a worker, and is seen.
    until("a refusal is passed on", || site.get("shop.example.com", "/").status == 502);
}

#[test]
fn what_endpoints_are_told_is_what_the_annotations_say() {
    let shop = Backend::echo("shop");
    let annotations = [
        ("upstream-vhost", "inner.example:8080"),
        ("connection-proxy-header", "close"),
        ("x-forwarded-prefix", "/outer"),
        ("rewrite-target", "/$1"),
        ("use-regex", "true"),
    ];
    let site = site_of(&annotations, "/outer/(.*)", &[], &[], &[shop.address]);
    let reply = site.get("shop.example.com", "/outer/a");
    for (field, value) in [
        ("GET ", "/a HTTP/1.1"),
        ("host: ", "inner.example:8080"),
        ("x-forwarded-host: ", "shop.example.com"),
        ("x-forwarded-prefix: ", "/outer"),
        ("connection: ", "close"),
    ] {
        assert_eq!(reply.line(field), Some(value), "{}", reply.text());
    }
}

#[test]
fn the_host_that_endpoints_are_told_may_be_made_of_the_request() {
    let shop = Backend::echo("shop");
    let told = |vhost: &str, client: &str| {
        let site = site(&[("upstream-vhost", vhost)], &[shop.address]);
        let reply = exchange(
            site.http,
            &format!(
                "GET / HTTP/1.1\r\nhost: shop.example.com:81\r\n{client}connection: close\r\n\r\n"
            ),
        );
        assert!(reply.status != 200 || reply.line("x-forwarded-host: ").is_some());
        (reply.status, reply.line("host: ").map(str::to_owned))
    };
    let says = |host: &str| (200, Some(host.to_owned()));
    let of_mesh = "$service_name.$namespace.svc.cluster.local:$service_port";
    assert_eq!(told(of_mesh, ""), says("shop.web.svc.cluster.local:80"));
    assert_eq!(told("$host", ""), says("shop.example.com"));
    assert_eq!(told("$http_host", ""), says("shop.example.com:81"));
    assert_eq!(told("$http_x_tenant.example", "x-tenant: blue\r\n"), says("blue.example"));
    // What makes no host reaches nobody.
    for bad in ["x-tenant: a b\r\n", "x-tenant: a/b\r\n", "x-tenant: u@a\r\n"] {
        assert_eq!(told("$http_x_tenant", bad), (400, None), "{bad}");
    }
    assert_eq!(told("$http_x_tenant", ""), (400, None));
    assert_eq!(told("$nonsense.example", ""), (503, None));
}

#[test]
fn endpoints_of_http10_get_a_length_and_a_connection_each() {
    let shop = Backend::echo("shop");
    let site = site(&[("proxy-http-version", "1.0")], &[shop.address]);
    for number in 1..4 {
        let reply = exchange(
            site.http,
            "POST / HTTP/1.1\r\nhost: shop.example.com\r\ntransfer-encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n\r\n",
        );
        assert_eq!(reply.line("POST / "), Some("HTTP/1.0"), "{}", reply.text());
        assert_eq!(reply.line("content-length: "), Some("5"));
        assert_eq!(shop.connections(), number);
    }
}

#[test]
fn redirects_and_cookies_of_endpoints_are_rewritten() {
    let shop = saying(
        "HTTP/1.1 302 Found\r\nlocation: http://inner/a\r\nset-cookie: a=1; Path=/in/; \
         Domain=inner.example\r\ncontent-length: 0\r\n\r\n",
    );
    let annotations = [
        ("proxy-redirect-from", "http://inner/"),
        ("proxy-redirect-to", "https://outer/"),
        ("proxy-cookie-domain", "inner.example outer.example"),
        ("proxy-cookie-path", "/in/ /"),
    ];
    let reply = site(&annotations, &[shop.address]).get("shop.example.com", "/");
    assert_eq!(reply.header("location"), Some("https://outer/a"));
    assert_eq!(reply.header("set-cookie"), Some("a=1; Path=/; Domain=outer.example"));
}

fn asked(site: &Site, fields: &str) -> Reply {
    let request =
        format!("GET /a?b HTTP/1.1\r\nhost: shop.example.com\r\n{fields}connection: close\r\n\r\n");
    exchange(site.http, &request)
}

#[test]
fn fields_are_set_hidden_and_added_as_the_settings_say() {
    let shop = Backend::echo("shop");
    let set = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: set, namespace: web}\n\
               data: {X-Own: ours, Accept: \"\"}\n";
    let add = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: add, namespace: web}\n\
               data: {X-Added: ours}\n";
    let map = [
        ("proxy-set-headers", "web/set"),
        ("add-headers", "web/add"),
        ("hide-headers", "X-Backend"),
        ("enable-underscores-in-headers", "true"),
        ("generate-request-id", "false"),
        ("proxy-add-original-uri-header", "true"),
    ];
    let site = site_of(&[], "/", &map, &[set, add], &[shop.address]);
    let reply = asked(&site, "x-own: theirs\r\naccept: */*\r\na_b: 1\r\n");
    for (field, value) in [
        ("x-own: ", Some("ours")),
        ("accept: ", None),
        ("a_b: ", Some("1")),
        ("x-request-id: ", None),
        ("x-original-uri: ", Some("/a?b")),
    ] {
        assert_eq!(reply.line(field), value, "{field}{}", reply.text());
    }
    assert_eq!(reply.header("x-added"), Some("ours"));
    assert_eq!(reply.header("x-backend"), None);
    let none = site.get("nobody.example.com", "/");
    assert_eq!((none.status, none.header("x-added")), (404, Some("ours")));
}

#[test]
fn the_client_s_address_alone_is_believed_with_real_ip() {
    let shop = Backend::echo("shop");
    let map = [("enable-real-ip", "true"), ("forwarded-for-header", "CF-Connecting-IP")];
    let site = with_map(&map, shop.address);
    let reply = asked(&site, "cf-connecting-ip: 9.9.9.9\r\nx-forwarded-proto: https\r\n");
    for (field, value) in
        [("x-real-ip: ", "9.9.9.9"), ("x-forwarded-for: ", "9.9.9.9"), ("x-scheme: ", "http")]
    {
        assert_eq!(reply.line(field), Some(value), "{}", reply.text());
    }
}

#[test]
fn http2_is_not_spoken_where_it_is_off() {
    let shop = Backend::echo("shop");
    let site = with_map(&[("use-http2", "false")], shop.address);
    let options = TlsOptions { alpn: &[b"h2", b"http/1.1"], ..TlsOptions::default() };
    let (stream, _) = tls_with(site.https, "shop.example.com", options);
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut connection = Connection::open(site.http);
    connection.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(connection.head().expect("an answer").starts_with("HTTP/1.1 "));
}

#[test]
fn connections_of_clients_end_when_the_settings_say_so() {
    let shop = Backend::echo("shop");
    let site = with_map(&[("keep-alive-requests", "2")], shop.address);
    let mut connection = Connection::open(site.http);
    assert_eq!(connection.request(GET).header("connection"), None);
    assert_eq!(connection.request(GET).header("connection"), Some("close"));
    assert_eq!(connection.rest().expect("an orderly end"), b"");
    // Read live: the next connection knows.
    let map = config_map(&[("keep-alive", "0")]);
    let ingress = crate::support::ingress("shop.example.com", "shop");
    let all = documents(&[&ingress, &service("shop", &[shop.address]), &map]);
    site.replace("all.yaml", &all);
    until("the setting is obeyed", || {
        Connection::open(site.http).request(GET).header("connection") == Some("close")
    });
}

#[test]
fn lines_of_heads_are_as_long_as_the_settings_say() {
    let shop = Backend::echo("shop");
    let statuses = |buffers: &str| {
        let site = with_map(&[("large-client-header-buffers", buffers)], shop.address);
        [500, 6000, 12_000].map(|length| {
            let text = "x".repeat(length);
            asked(&site, &format!("x-long: {text}\r\n")).status
        })
    };
    assert_eq!(statuses("4 8k"), [200, 200, 400]);
    assert_eq!(statuses("4 16k"), [200, 200, 200]);
    assert_eq!(statuses("2 2k"), [200, 400, 400]);
}

#[test]
fn idle_connections_to_endpoints_are_kept_only_where_the_settings_say_so() {
    let shop = Backend::echo("shop");
    let site = with_map(&[("upstream-keepalive-connections", "0")], shop.address);
    let mut connection = Connection::open(site.http);
    for number in 1..4 {
        assert_eq!(connection.request(GET).status, 200);
        assert_eq!(shop.connections(), number);
    }
}
