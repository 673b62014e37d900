//! Snippets, as clients and endpoints see them. What they do beside nginx itself is in
//! `tests/proof/differential/snippets.rs`.

use crate::support::{Backend, Ingress, Site, config_map, documents, exchange, service};

const ALLOWED: &[(&str, &str)] =
    &[("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];

fn site(map: &[(&str, &str)], annotations: &[(&str, &str)], shop: &Backend) -> Site {
    let ingress = Ingress {
        name: "shop",
        annotations,
        host: "shop.example.com",
        paths: &[("Prefix", "/app", "shop"), ("Prefix", "/", "shop")],
        tls: None,
    };
    let plain = Ingress { name: "plain", annotations: &[], host: "plain.example.com", ..ingress };
    let parts = [ingress.yaml(), plain.yaml(), service("shop", &[shop.address]), config_map(map)];
    let parts: Vec<&str> = parts.iter().map(|part| &**part).collect();
    Site::start_with(&[("all.yaml", &documents(&parts))], &["--configmap=web/controller"], |_| {})
}

#[test]
fn a_snippet_that_is_not_allowed_closes_its_paths_and_no_others() {
    let shop = Backend::echo("shop");
    let annotations = [("configuration-snippet", "add_header X-A 1;")];
    let closed = site(&[], &annotations, &shop);
    assert_eq!(closed.get("shop.example.com", "/app").status, 503);
    assert_eq!(closed.get("plain.example.com", "/app").status, 200);
    let without = site(&[("serve-without-snippets", "true")], &annotations, &shop);
    let reply = without.get("shop.example.com", "/app");
    assert_eq!((reply.status, reply.header("x-a")), (200, None));
}

#[test]
fn a_snippet_holds_for_its_ingress_alone() {
    let shop = Backend::echo("shop");
    let snippet = "more_set_headers \"X-A: $request_method\";\nproxy_set_header X-B \"$uri\";\n\
                   if ($arg_go) { return 302 /there; }\ndeny 10.0.0.0/8;";
    let site = site(ALLOWED, &[("configuration-snippet", snippet)], &shop);
    let reply = site.get("shop.example.com", "/app/x%20y");
    assert_eq!((reply.status, reply.header("x-a")), (200, Some("GET")));
    assert_eq!(reply.line("X-B: "), Some("/app/x y"));
    let reply = site.get("shop.example.com", "/app?go=1");
    assert_eq!(reply.header("location"), Some("http://shop.example.com/there"));
    let reply = site.get("plain.example.com", "/app");
    assert_eq!((reply.status, reply.header("x-a")), (200, None));
}

#[test]
fn a_server_snippet_answers_before_any_path() {
    let shop = Backend::echo("shop");
    let snippet = "location = /metrics { deny all; return 404; }\n\
                   location = /robots.txt { return 200 \"nothing\\n\"; }\n\
                   location = /secret { deny all; }\n\
                   if ($http_user_agent ~* bot) { return 403; }\nadd_header X-A 1;";
    let site = site(ALLOWED, &[("server-snippet", snippet)], &shop);
    assert_eq!(site.get("shop.example.com", "/metrics").status, 404);
    assert_eq!(site.get("shop.example.com", "/secret").status, 403);
    let robots = site.get("shop.example.com", "/robots.txt");
    assert_eq!((robots.status, robots.text()), (200, "nothing\n"));
    assert_eq!(robots.header("content-type"), Some("text/plain"));
    assert_eq!(robots.header("x-a"), Some("1"));
    let app = site.get("shop.example.com", "/app");
    assert_eq!((app.status, app.header("x-a")), (200, Some("1")));
    let request = "GET /app HTTP/1.1\r\nhost: shop.example.com\r\nuser-agent: A-Bot\r\n\
                   connection: close\r\n\r\n";
    assert_eq!(exchange(site.http, request).status, 403);
    assert_eq!(site.get("plain.example.com", "/metrics").status, 200);
}

#[test]
fn nothing_that_a_client_sends_splits_an_answer_or_a_request() {
    let shop = Backend::echo("shop");
    let snippet = "add_header X-A $uri;\nproxy_set_header X-B $uri;\n\
                   if ($arg_go) { return 302 https://x.example.com$uri; }";
    let site = site(ALLOWED, &[("configuration-snippet", snippet)], &shop);
    let reply = site.get("shop.example.com", "/a%0d%0aX-Evil:%201");
    assert_eq!(reply.status, 200);
    assert_eq!((reply.header("x-evil"), reply.header("x-a")), (None, None));
    assert_eq!((reply.line("X-Evil"), reply.line("X-B: ")), (None, None));
    assert_eq!(site.get("shop.example.com", "/a%0d%0aX-Evil:1?go=1").status, 400);
}

#[test]
fn access_rules_of_a_snippet_are_asked_in_their_order() {
    let shop = Backend::echo("shop");
    for (snippet, status) in [
        ("allow 127.0.0.0/8; deny all;", 200),
        ("deny 127.0.0.1; allow all;", 403),
        ("deny all;", 403),
        ("limit_except POST { deny all; }", 403),
        ("limit_except GET { deny all; }", 200),
    ] {
        let site = site(ALLOWED, &[("configuration-snippet", snippet)], &shop);
        assert_eq!(site.get("shop.example.com", "/app").status, status, "{snippet}");
    }
}

#[test]
fn rewrites_that_go_in_circles_end() {
    let shop = Backend::echo("shop");
    let snippet = "rewrite ^/app/(.*) /app/x$1 last;";
    let site = site(ALLOWED, &[("configuration-snippet", snippet)], &shop);
    assert_eq!(site.get("shop.example.com", "/app/").status, 500);
    assert_eq!(shop.connections(), 0);
}

#[test]
fn a_snippet_does_not_change_who_asks() {
    let shop = Backend::echo("shop");
    let map = [ALLOWED, &[("use-forwarded-headers", "true")]].concat();
    let annotations = [
        ("whitelist-source-range", "127.0.0.0/8"),
        ("configuration-snippet", "more_clear_input_headers \"X-Forwarded-For\";"),
    ];
    let site = site(&map, &annotations, &shop);
    let from = |address: &str| {
        let text = format!(
            "GET /app HTTP/1.1\r\nhost: shop.example.com\r\nx-forwarded-for: {address}\r\n\
             connection: close\r\n\r\n"
        );
        exchange(site.http, &text).status
    };
    assert_eq!(from("127.0.0.7"), 200);
    assert_eq!(from("8.8.8.8"), 403);
}

#[test]
fn groups_with_names_make_variables() {
    let shop = Backend::echo("shop");
    let snippet = "set $dest $http_destination;\n\
                   if ($http_destination ~ \"^https?://[^/]+(?<path>/.*)$\") { set $dest $path; }\n\
                   proxy_set_header Destination $dest;\nproxy_set_header X-Path \"[$path]\";\n\
                   if ($uri ~ ^/app/(?<one>\\w+)/(?P<two>\\w+)$) { return 302 /$two/$one; }";
    let site = site(ALLOWED, &[("configuration-snippet", snippet)], &shop);
    let to = |destination: &str| {
        let text = format!(
            "MOVE /app HTTP/1.1\r\nhost: shop.example.com\r\ndestination: {destination}\r\n\
             connection: close\r\n\r\n"
        );
        let reply = exchange(site.http, &text);
        let told = |name: &str| reply.line(name).map(str::to_owned);
        (reply.status, told("Destination: "), told("X-Path: "))
    };
    let is = |path: &str, group: &str| (200, Some(path.to_owned()), Some(group.to_owned()));
    assert_eq!(to("https://shop.example.com/a/b"), is("/a/b", "[/a/b]"));
    assert_eq!(to("/a/b"), is("/a/b", "[]"));
    let reply = site.get("shop.example.com", "/app/a/b");
    assert_eq!(reply.header("location"), Some("http://shop.example.com/b/a"));
}

#[test]
fn what_a_snippet_makes_of_a_request_chooses_its_endpoint() {
    let backends: Vec<_> = (0..4).map(|number: usize| Backend::echo(&number.to_string())).collect();
    let endpoints: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    // As Socket.IO's documentation has it.
    let snippet = "set $forwarded_client_ip \"\";\n\
                   if ($http_x_forwarded_for ~ \"^([^,]+)\") { set $forwarded_client_ip $1; }\n\
                   set $client_ip $remote_addr;\n\
                   if ($forwarded_client_ip != \"\") { set $client_ip $forwarded_client_ip; }";
    let annotations = [("configuration-snippet", snippet), ("upstream-hash-by", "$client_ip")];
    let ingress = Ingress {
        name: "shop",
        annotations: &annotations,
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let parts = [ingress.yaml(), service("shop", &endpoints), config_map(ALLOWED)];
    let parts: Vec<&str> = parts.iter().map(|part| &**part).collect();
    let all = [("all.yaml", &*documents(&parts))];
    let site = Site::start_with(&all, &["--configmap=web/controller"], |_| {});
    let asked = |address: &str| {
        let text = format!(
            "GET / HTTP/1.1\r\nhost: shop.example.com\r\nx-forwarded-for: {address}\r\n\
             connection: close\r\n\r\n"
        );
        exchange(site.http, &text).line("backend: ").expect("an echo").to_owned()
    };
    let first: Vec<_> = (1..40).map(|last| asked(&format!("192.0.2.{last}, 10.0.0.1"))).collect();
    let again: Vec<_> = (1..40).map(|last| asked(&format!("192.0.2.{last}, 10.0.0.2"))).collect();
    assert_eq!(first, again, "the first address alone counts");
    let all: std::collections::BTreeSet<_> = first.into_iter().collect();
    assert!(all.len() > 1, "they are spread");
}
