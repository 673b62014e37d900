//! What the server is told, and what of its answer goes on.

use super::{GET, HOST, Judge, OK, URL, all, ask, line, site, site_with};
use crate::support::{Backend, Connection, exchange};

#[test]
fn the_server_is_told_what_it_judges() {
    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let url = ("auth-url", "http://auth.web.svc.cluster.local:80/verify?x=y");
    let site = site(&[url], &shop, &judge);
    let reply = exchange(
        site.http,
        &format!(
            "DELETE /a%2Fb/../c?d=e HTTP/1.1\r\nhost: {HOST}:8080\r\nauthorization: Bearer abc\r\n\
             cookie: s=1\r\nx-own: 1\r\nx-request-id: 7\r\nif-none-match: \"x\"\r\nrange: bytes=0-1\r\n\
             connection: close\r\n\r\n"
        ),
    );
    assert_eq!(reply.status, 200);
    let question = judge.last();
    assert!(question.starts_with("GET /verify?x=y HTTP/1.1\n"), "{question}");
    for (begin, value) in [
        ("host: ", Some("auth.web.svc.cluster.local")),
        ("x-original-url: ", Some("http://shop.example.com:8080/a%2Fb/../c?d=e")),
        ("x-original-method: ", Some("DELETE")),
        ("x-real-ip: ", Some("127.0.0.1")),
        ("x-forwarded-for: ", Some("127.0.0.1")),
        ("x-request-id: ", Some("7")),
        ("x-sent-from: ", Some("nginx-ingress-controller")),
        ("x-auth-request-redirect: ", Some("/a%2Fb/../c?d=e")),
        ("authorization: ", Some("Bearer abc")),
        ("cookie: ", Some("s=1")),
        ("x-own: ", Some("1")),
        ("x-forwarded-proto: ", None),
        ("x-original-uri: ", None),
        ("x-scheme: ", None),
        ("content-length: ", None),
        ("connection: ", None),
        // A server that obeyed would answer 304 or 206.
        ("if-none-match: ", None),
        ("range: ", None),
    ] {
        assert_eq!(line(&question, begin), value, "{begin}: {question}");
    }
    // The upstream has its own.
    assert_eq!(reply.line("if-none-match: "), Some("\"x\""));
    assert_eq!(reply.line("x-sent-from: "), None);
    // An id of ours is the same for both.
    let reply = ask(&site, "/", &[]);
    let id = line(&judge.last(), "x-request-id: ").map(str::to_owned);
    assert_eq!(id.as_ref().map(String::len), Some(32));
    assert_eq!(reply.line("x-request-id: "), id.as_deref());
}

#[test]
fn auth_method_and_what_goes_with_it() {
    for (method, length) in [("POST", Some("0")), ("HEAD", None), ("OPTIONS", None)] {
        let (shop, judge) = (
            Backend::echo("shop"),
            Judge::new(|head| match head.starts_with("HEAD") {
                true => "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n".to_owned(),
                false => OK.to_owned(),
            }),
        );
        let site = site(&[URL, ("auth-method", method)], &shop, &judge);
        let mut connection = Connection::open(site.http);
        for _ in 0..2 {
            assert_eq!(connection.request(GET).status, 200, "{method}");
        }
        let question = judge.last();
        assert!(question.starts_with(&format!("{method} /verify HTTP/1.1\n")), "{question}");
        assert_eq!(line(&question, "x-original-uri: "), Some("/"));
        assert_eq!(line(&question, "x-scheme: "), Some("http"));
        assert_eq!(line(&question, "content-length: "), length, "{method}");
        // One that announced a body to HEAD may have sent it: that connection is not kept.
        let connections = if method == "HEAD" { 2 } else { 1 };
        assert_eq!(judge.backend.connections(), connections, "{method}");
    }
}

#[test]
fn clients_cannot_speak_in_our_place() {
    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let site = site(&[URL], &shop, &judge);
    let lies = [
        "X-Original-URL: http://shop.example.com/public",
        "X-Original-Method: GET-public",
        "X-Original-URI: /public",
        "X-Forwarded-Uri: /public",
        "X-Forwarded-Method: public",
        "X-Forwarded-Host: public",
        "X-Forwarded-For: public",
        "X-Forwarded-Proto: public",
        "X-Real-IP: public",
        "X-Scheme: public",
        "X-Sent-From: public",
        "X-Auth-Request-Redirect: /public",
        "ssl-client-verify: SUCCESS",
        "Proxy-Authorization: public",
        "Connection: x-original-url, x-sent-from, cookie",
        "Cookie: s=1",
    ];
    ask(&site, "/admin", &lies);
    let question = judge.last();
    assert!(!question.contains("public"), "{question}");
    assert_eq!(line(&question, "x-original-url: "), Some("http://shop.example.com/admin"));
    assert_eq!(line(&question, "x-sent-from: "), Some("nginx-ingress-controller"));
    assert_eq!(line(&question, "cookie: "), Some("s=1"));
}

#[test]
fn a_balancer_in_front_is_believed_where_the_config_map_says_so() {
    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let map = [("use-forwarded-headers", "true"), ("proxy-real-ip-cidr", "127.0.0.0/8")];
    let site = site_with(
        &[URL, ("auth-signin", "https://a.example.com/start"), ("auth-method", "GET")],
        &map,
        &[],
        (&shop, judge.backend.address),
    );
    let lines = [
        "X-Forwarded-For: 198.51.100.7",
        "X-Forwarded-Host: www.example.com",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Uri: /public",
    ];
    assert_eq!(ask(&site, "/", &lines).status, 200);
    let question = judge.last();
    assert_eq!(line(&question, "x-real-ip: "), Some("198.51.100.7"));
    assert_eq!(line(&question, "x-forwarded-host: "), Some("www.example.com"));
    assert_eq!(line(&question, "x-scheme: "), Some("https"));
    assert_eq!(line(&question, "x-forwarded-uri: "), None);
}

#[test]
fn the_config_map_of_an_ingress_adds_fields() {
    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra, namespace: web}\ndata:\n  \
               X-Site: shop of $host\n  X-Forwarded-Host: $http_host\n  X-Own: ''\n  \
               X-Sent-From: me\n";
    let annotations = [
        URL,
        ("auth-proxy-set-headers", "web/extra"),
        ("auth-request-redirect", "https://$host$request_uri"),
    ];
    let site = site_with(&annotations, &[], &[map], (&shop, judge.backend.address));
    assert_eq!(ask(&site, "/x?y", &["x-own: 1", "x-forwarded-host: lie"]).status, 200);
    let question = judge.last();
    assert_eq!(line(&question, "x-site: "), Some("shop of shop.example.com"));
    assert_eq!(line(&question, "x-forwarded-host: "), Some("shop.example.com"));
    assert_eq!(line(&question, "x-own: "), None);
    assert_eq!(line(&question, "x-sent-from: "), Some("me"));
    let redirect = line(&question, "x-auth-request-redirect: ");
    assert_eq!(redirect, Some("https://shop.example.com/x?y"));
}

#[test]
fn a_snippet_adds_fields() {
    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let text = "proxy_set_header X-Original-URL $scheme://$http_host$request_uri;\n\
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
                proxy_set_header X-Own \"\";\nproxy_set_header Connection \"\";";
    let map = [("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];
    let annotations = [URL, ("auth-snippet", text)];
    let site = site_with(&annotations, &map, &[], (&shop, judge.backend.address));
    assert_eq!(ask(&site, "/x?y", &["x-own: 1", "x-forwarded-for: 8.8.8.8"]).status, 200);
    let question = judge.last();
    assert_eq!(line(&question, "x-original-url: "), Some("http://shop.example.com/x?y"));
    assert_eq!(line(&question, "x-forwarded-for: "), Some("8.8.8.8, 127.0.0.1"));
    assert_eq!(line(&question, "x-own: "), None);
    // One that is not obeyed lets nobody in.
    let annotations = [URL, ("auth-snippet", "if ($uri) { return 200; }")];
    let site = site_with(&annotations, &map, &[], (&shop, judge.backend.address));
    assert_eq!((ask(&site, "/", &[]).status, judge.asked()), (503, 1));
}

#[test]
fn nothing_of_a_request_becomes_a_line_or_a_path_of_the_question() {
    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let site = site(
        &[
            ("auth-url", "http://auth.web.svc.cluster.local/verify$request_uri"),
            ("auth-request-redirect", "/back$uri"),
        ],
        &shop,
        &judge,
    );
    assert_eq!(ask(&site, "/a%20b?c=/../d", &[]).status, 200);
    assert!(judge.last().starts_with("GET /verify/a%20b?c=/../d HTTP/1.1\n"), "{}", judge.last());
    for target in ["/a/../../x", "/a/../x", "/a/%2e%2e/x", "/a%2f..%2fx", "/a/..;/x", "/./x"] {
        assert_eq!(ask(&site, target, &[]).status, 400, "{target}");
    }
    assert_eq!(judge.asked(), 1);
    // What is decoded for routing stays encoded here.
    let redirect = ("auth-request-redirect", "/back$uri?$arg_a&$cookie_c");
    let site = super::site(&[URL, redirect], &shop, &judge);
    let cookie = "cookie: c=%0d%0aX-User:root";
    let reply = ask(&site, "/a%0d%0aX-User:root?a=%0aX-User:root", &[cookie]);
    assert_eq!((reply.status, line(&judge.last(), "x-user:")), (200, None));
    let redirect = line(&judge.last(), "x-auth-request-redirect: ").map(str::to_owned);
    let expected = "/back/a%0d%0aX-User:root?%0aX-User:root&%0d%0aX-User:root";
    assert_eq!(redirect.as_deref(), Some(expected));
}

#[test]
fn upstreams_get_from_the_answer_what_is_listed_and_nothing_from_clients() {
    let shop = Backend::echo("shop");
    let judge = Judge::new(|head| match head.contains("x-say: nothing") {
        true => OK.to_owned(),
        false => "HTTP/1.1 200 OK\r\nx-user: ann\r\nX-Group: a\r\nx-group: b\r\nx-other: 1\r\n\
                  authorization: Bearer new\r\nx-empty:\r\ncontent-length: 0\r\n\r\n"
            .to_owned(),
    });
    let listed = ("auth-response-headers", "X-User,X-Group,X-Empty,Authorization");
    let map = [("enable-underscores-in-headers", "true")];
    let site = site_with(&[URL, listed], &map, &[], (&shop, judge.backend.address));
    let lies = [
        "x-user: root",
        "X-USER: root",
        "X_User: root",
        "x-group: root",
        "x-empty: root",
        "x-say: something",
        "authorization: root",
    ];
    let reply = ask(&site, "/", &lies);
    assert_eq!(reply.line("x-user: "), Some("ann"));
    assert_eq!(reply.line("x-group: "), Some("a, b"));
    assert_eq!(reply.line("authorization: "), Some("Bearer new"));
    assert_eq!(reply.line("x-other: "), None);
    assert!(!reply.text().contains("root"), "{}", reply.text());
    // Fields that `Connection` names are dropped, but not these.
    let reply = ask(&site, "/", &["connection: x-user, x-group"]);
    assert_eq!(reply.line("x-user: "), Some("ann"));
    assert_eq!(reply.line("x-group: "), Some("a, b"));
    let lies = [&lies[..5], &["authorization: root", "x-say: nothing"]].concat();
    let reply = ask(&site, "/", &lies);
    assert_eq!(reply.status, 200);
    assert!(!reply.text().contains("root"), "{}", reply.text());
}

#[test]
fn upstreams_get_nothing_from_clients_where_the_server_need_not_be_asked() {
    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let annotations = [
        URL,
        ("satisfy", "any"),
        ("whitelist-source-range", "127.0.0.0/8"),
        ("auth-response-headers", "X-User"),
    ];
    let site = site(&annotations, &shop, &judge);
    let reply = ask(&site, "/", &["x-user: root"]);
    assert_eq!((reply.status, reply.line("x-user: "), judge.asked()), (200, None, 0));
}

#[test]
fn cookies_of_the_server_reach_the_client() {
    const COOKIES: &str = "set-cookie: a=1; Path=/\r\nset-cookie: b=2\r\n";
    let shop = Backend::scripted(|mut stream, _| {
        use std::io::Write as _;
        let mut reader = std::io::BufReader::new(stream.try_clone().expect("a second handle"));
        while let Some(head) = crate::support::read_head(&mut reader) {
            let status = line(&head, "x-answer: ").unwrap_or("200");
            let answer =
                format!("HTTP/1.1 {status} X\r\nset-cookie: own=1\r\ncontent-length: 0\r\n\r\n");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let judge = Judge::new(|head| {
        let status = line(head, "x-say: ").unwrap_or("200");
        format!("HTTP/1.1 {status} X\r\n{COOKIES}content-length: 0\r\n\r\n")
    });
    let both = ["a=1; Path=/", "b=2"];
    for always in ["false", "true"] {
        let site = site(&[URL, ("auth-always-set-cookie", always)], &shop, &judge);
        for status in ["200", "201", "206", "301", "302", "303", "307", "308"] {
            let reply = ask(&site, "/", &[&format!("x-answer: {status}")]);
            assert_eq!(all(&reply, "set-cookie"), ["own=1", both[0], both[1]], "{status}");
        }
        for status in ["404", "500", "203"] {
            let reply = ask(&site, "/", &[&format!("x-answer: {status}")]);
            let cookies =
                if always == "true" { &["own=1", both[0], both[1]][..] } else { &["own=1"] };
            assert_eq!(all(&reply, "set-cookie"), cookies, "{status}");
        }
        for status in ["401", "403"] {
            let reply = ask(&site, "/", &[&format!("x-say: {status}")]);
            let cookies = if always == "true" { &both[..] } else { &[] };
            assert_eq!(all(&reply, "set-cookie"), cookies, "{status}");
        }
    }
}
