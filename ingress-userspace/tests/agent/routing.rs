//! What a request's host and path lead to, seen from outside.

use crate::support::{
    Backend, Connection, Ingress, Site, documents, exchange, ingress, nobody, service, until,
};

fn site(ingresses: &[String], services: &[String]) -> Site {
    let parts: Vec<&str> = ingresses.iter().chain(services).map(String::as_str).collect();
    Site::start(&[("all.yaml", &documents(&parts))])
}

#[test]
fn requests_go_to_the_service_of_their_host_and_path() {
    let (lobby, room) = (Backend::echo("lobby"), Backend::echo("room"));
    let site = site(
        &[Ingress {
            name: "game",
            annotations: &[],
            host: "game.example.com",
            paths: &[("Prefix", "/lobby", "lobby"), ("Exact", "/room", "room")],
            tls: None,
        }
        .yaml()],
        &[service("lobby", &[lobby.address]), service("room", &[room.address])],
    );
    let backend = |host: &str, target: &str| {
        let reply = site.get(host, target);
        (reply.status, reply.line("backend: ").unwrap_or_default().to_owned())
    };
    assert_eq!(backend("game.example.com", "/lobby"), (200, "lobby".to_owned()));
    assert_eq!(backend("GAME.example.com.:80", "/lobby/a?b"), (200, "lobby".to_owned()));
    assert_eq!(backend("game.example.com", "/room"), (200, "room".to_owned()));
    assert_eq!(backend("game.example.com", "/room/a").0, 404);
    assert_eq!(backend("game.example.com", "/lobbyist").0, 404);
    assert_eq!(backend("game.example.com", "/x/../lobby//a").0, 200);
    assert_eq!(backend("other.example.com", "/lobby").0, 404);
}

#[test]
fn the_upstream_sees_the_raw_target() {
    let shop = Backend::echo("shop");
    let site = site(&[ingress("shop.example.com", "shop")], &[service("shop", &[shop.address])]);
    let reply = site.get("shop.example.com", "/a//b/%2e%2e/c%2Fd?q=%20&r");
    assert!(
        reply.text().contains("\nGET /a//b/%2e%2e/c%2Fd?q=%20&r HTTP/1.1\n"),
        "{}",
        reply.text()
    );
    let absolute = exchange(
        site.http,
        "GET http://shop.example.com/x?y HTTP/1.1\r\nhost: ignored\r\nconnection: close\r\n\r\n",
    );
    assert!(absolute.text().contains("\nGET /x?y HTTP/1.1\n"), "{}", absolute.text());
    assert_eq!(absolute.line("host: "), Some("shop.example.com"));
}

#[test]
fn a_rewrite_replaces_the_path_and_keeps_the_query() {
    let api = Backend::echo("api");
    let site = site(
        &[Ingress {
            name: "api",
            annotations: &[("rewrite-target", "/$2")],
            host: "api.example.com",
            paths: &[("ImplementationSpecific", "/api(/|$)(.*)", "api")],
            tls: None,
        }
        .yaml()],
        &[service("api", &[api.address])],
    );
    let reply = site.get("api.example.com", "/api/users/7?full=1");
    assert!(reply.text().contains("\nGET /users/7?full=1 HTTP/1.1\n"), "{}", reply.text());
    let reply = site.get("api.example.com", "/api");
    assert!(reply.text().contains("\nGET / HTTP/1.1\n"), "{}", reply.text());
}

#[test]
fn pages_of_our_own_are_those_of_nginx() {
    let site = site(
        &[ingress("down.example.com", "down"), ingress("none.example.com", "none")],
        &[service("down", &[])],
    );
    let unknown = site.get("unknown.example.com", "/");
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.header("content-type"), Some("text/html"));
    assert_eq!(unknown.header("server"), None);
    assert!(unknown.text().contains("<center><h1>404 Not Found</h1></center>"));
    for host in ["down.example.com", "none.example.com"] {
        let reply = site.get(host, "/");
        assert_eq!(reply.status, 503, "{host}");
        assert!(reply.text().contains("<h1>503 Service Temporarily Unavailable</h1>"));
    }
    let head = exchange(
        site.http,
        "HEAD / HTTP/1.1\r\nhost: unknown.example.com\r\nconnection: close\r\n\r\n",
    );
    assert_eq!((head.status, head.body.len()), (404, 0));
    assert_eq!(head.header("content-length"), unknown.header("content-length"));
}

#[test]
fn a_missing_final_slash_is_added_by_redirect() {
    let docs = Backend::echo("docs");
    let site = site(
        &[Ingress {
            name: "docs",
            annotations: &[],
            host: "docs.example.com",
            paths: &[("Prefix", "/docs/", "docs")],
            tls: None,
        }
        .yaml()],
        &[service("docs", &[docs.address])],
    );
    let reply = site.get("docs.example.com:8080", "/docs?a=b");
    assert_eq!(reply.status, 301);
    assert_eq!(reply.header("location"), Some("http://docs.example.com/docs/?a=b"));
    assert_eq!(site.get("docs.example.com", "/docs/").status, 200);
}

#[test]
fn redirects_of_the_route_come_before_its_upstream() {
    let site = site(
        &[Ingress {
            name: "moved",
            annotations: &[("permanent-redirect", "https://new.example.com/x")],
            host: "old.example.com",
            paths: &[("Prefix", "/", "nowhere")],
            tls: Some(""),
        }
        .yaml()],
        &[],
    );
    let reply = site.get("old.example.com", "/a?b");
    assert_eq!(reply.status, 301);
    assert_eq!(reply.header("location"), Some("https://new.example.com/x"));
}

#[test]
fn requests_without_a_host_or_with_several_are_refused() {
    let shop = Backend::echo("shop");
    let site = site(&[ingress("", "shop")], &[service("shop", &[shop.address])]);
    let status = |text: &str| exchange(site.http, text).status;
    assert_eq!(status("GET / HTTP/1.1\r\nconnection: close\r\n\r\n"), 400);
    assert_eq!(status("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n"), 400);
    assert_eq!(status("GET / HTTP/1.1\r\nhost: a/b\r\nconnection: close\r\n\r\n"), 400);
    assert_eq!(status("GET /../x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"), 400);
    assert_eq!(status("OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"), 400);
    assert_eq!(status("CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\nconnection: close\r\n\r\n"), 405);
    assert_eq!(status("GET / HTTP/1.0\r\n\r\n"), 200);
    assert_eq!(shop.connections(), 1, "only the last one reached the upstream");
}

#[test]
fn the_catch_all_host_answers_health_checks() {
    let shop = Backend::echo("shop");
    let site = site(&[ingress("shop.example.com", "shop")], &[service("shop", &[shop.address])]);
    let reply = site.get("127.0.0.1", "/healthz");
    assert_eq!((reply.status, reply.text()), (200, ""));
    assert_eq!(site.get("shop.example.com", "/healthz").line("backend: "), Some("shop"));
}

#[test]
fn requests_are_spread_over_the_ready_endpoints() {
    let backends: Vec<_> = ["one", "two", "three"].map(Backend::echo).into();
    let addresses: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let site = site(&[ingress("shop.example.com", "shop")], &[service("shop", &addresses)]);
    // One connection is one worker, whose turns are even.
    let mut connection = Connection::open(site.http);
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..30 {
        let reply = connection.request("GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n");
        *counts.entry(reply.line("backend: ").expect("an echo").to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [10, 10, 10]);
}

#[test]
fn an_endpoint_that_refuses_is_passed_over() {
    let shop = Backend::echo("shop");
    let site =
        site(&[ingress("shop.example.com", "shop")], &[service("shop", &[nobody(), shop.address])]);
    for _ in 0..10 {
        assert_eq!(site.get("shop.example.com", "/").status, 200);
    }
}

#[test]
fn the_admin_port_explains_what_it_does() {
    let shop = Backend::echo("shop");
    let site = site(&[ingress("shop.example.com", "shop")], &[service("shop", &[shop.address])]);
    assert_eq!(site.admin("/healthz").status, 200);
    assert_eq!(site.admin("/readyz").status, 200);
    assert_eq!(site.admin("/nothing").status, 404);
    assert_eq!(site.admin("/api/v1/explain").status, 400);
    let answer = site.explain("url=http%3A%2F%2Fshop.example.com/a/b");
    assert_eq!(answer["outcome"]["kind"], "forward");
    assert_eq!(answer["outcome"]["service"]["name"], "shop");
    assert_eq!(answer["outcome"]["endpoints"][0]["address"], shop.address.to_string());
    assert_eq!(answer["route"]["ingress"]["name"], "shop");
    assert_eq!(answer["route"]["path"], "/");

    assert_eq!(site.get("shop.example.com", "/").status, 200);
    assert_eq!(site.get("unknown.example.com", "/").status, 404);
    let requests = "nginx_ingress_controller_requests";
    // An answer is counted when it has left.
    until("the answer is counted", || {
        site.series(requests, &[("ingress", "shop"), ("status", "200")]) == Some(1.0)
    });
    // As ingress-nginx: nobody defines the host.
    assert_eq!(site.series(requests, &[("status", "404")]), None);
}
