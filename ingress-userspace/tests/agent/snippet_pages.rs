//! `error_page` of snippets to a path or a named location of the host, as clients and endpoints see
//! it.

use std::io::{BufReader, Write as _};

use crate::support::{
    Backend, Connection, Ingress, Site, config_map, documents, exchange, read_request, secret_of,
    service,
};

const HOST: &str = "shop.example.com";
const ALLOWED: &[(&str, &str)] =
    &[("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];

/// `/` leads to the shop, `/pages` to the pages; these are of an Ingress of their own.
fn site(annotations: &[(&str, &str)], shop: &Backend, pages: &Backend, more: &[&str]) -> Site {
    let ingress = Ingress {
        name: "shop",
        annotations,
        host: HOST,
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let of_pages = Ingress {
        name: "pages",
        annotations: &[],
        paths: &[("Prefix", "/pages", "pages")],
        ..ingress
    };
    let parts = [
        ingress.yaml(),
        of_pages.yaml(),
        service("shop", &[shop.address]),
        service("pages", &[pages.address]),
        config_map(ALLOWED),
    ];
    let parts: Vec<&str> = parts.iter().map(|part| &**part).chain(more.iter().copied()).collect();
    Site::start_with(&[("all.yaml", &documents(&parts))], &["--configmap=web/controller"], |_| {})
}

/// Answers with this status and a body of its own.
fn failing(status: &'static str) -> Backend {
    Backend::scripted(move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while read_request(&mut reader).is_some() {
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\nx-own: 1\r\n\r\noops");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_path_of_the_host_answers_in_the_place_of_an_error() {
    let (shop, pages) = (Backend::echo("shop"), Backend::echo("pages"));
    for (snippet, status) in [
        ("error_page 403 /pages/403?from=$arg_x;", 403),
        ("error_page 401 403 =200 /pages/403?from=$arg_x;", 200),
        ("error_page 403 = /pages/403?from=$arg_x;", 200),
    ] {
        let snippet =
            format!("{snippet}\nif ($arg_x) {{ return 403; }}\nadd_header X-A own always;");
        let site = site(&[("configuration-snippet", &snippet)], &shop, &pages, &[]);
        let reply = site.get(HOST, "/a?x=7");
        assert_eq!((reply.status, reply.line("backend: ")), (status, Some("pages")), "{snippet}");
        assert_eq!(reply.line("GET "), Some("/pages/403?from=7 HTTP/1.1"));
        // It is another location, with its own headers.
        assert_eq!(reply.header("x-a"), None);
        // What is no error is none.
        assert_eq!(site.get(HOST, "/a").line("backend: "), Some("shop"));
        // A body is not in the way of the next request.
        let mut connection = Connection::open(site.http);
        for _ in 0..2 {
            let reply = connection.request(&format!(
                "POST /a?x=7 HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 2\r\nx-forwarded-for: 1.1.1.1\r\n\r\nhi"
            ));
            assert_eq!((reply.status, reply.line("backend: ")), (status, Some("pages")));
            assert!(reply.line("GET ").is_some());
            assert_eq!(reply.line("body-length: "), Some("0"));
            assert_eq!(reply.line("x-forwarded-for: "), Some("127.0.0.1"));
        }
    }
}

#[test]
fn answers_of_endpoints_are_replaced_where_they_are_intercepted() {
    let (shop, pages) = (failing("404 Not Found"), Backend::echo("pages"));
    let page = "error_page 404 /pages/404;";
    let kept = site(&[("configuration-snippet", page)], &shop, &pages, &[]);
    let reply = kept.get(HOST, "/a");
    assert_eq!((reply.status, reply.text()), (404, "oops"));
    let text = [page, "proxy_intercept_errors on;"].concat();
    let site = site(&[("configuration-snippet", &text)], &shop, &pages, &[]);
    for _ in 0..3 {
        let request = format!(
            "GET /a HTTP/1.1\r\nhost: {HOST}\r\nif-none-match: \"x\"\r\nrange: bytes=0-1\r\n\
             connection: close\r\n\r\n"
        );
        let reply = exchange(site.http, &request);
        assert_eq!((reply.status, reply.line("backend: ")), (404, Some("pages")));
        assert_eq!((reply.header("x-own"), reply.line("range: ")), (None, None));
        assert_eq!(reply.line("if-none-match: "), None);
    }
}

#[test]
fn an_endpoint_that_is_not_there_has_a_page_too() {
    let pages = Backend::echo("pages");
    let gone = Backend::scripted(|_stream, _| {});
    let text = "error_page 502 503 504 =503 /pages/later;";
    let site = site(&[("configuration-snippet", text)], &gone, &pages, &[]);
    let reply = site.get(HOST, "/a");
    assert_eq!((reply.status, reply.line("GET ")), (503, Some("/pages/later HTTP/1.1")));
}

#[test]
fn named_and_internal_locations_answer() {
    let (shop, pages) = (Backend::echo("shop"), Backend::echo("pages"));
    let server = "location @sorry { add_header X-A 1 always; return 200 \"sorry $request_uri\"; }\n\
                  location = /403.html { internal; return 200 \"no\"; }\n\
                  location @away { return 302 https://example.com/; }\n\
                  location @on { rewrite ^ /pages/on last; }";
    let own = "error_page 401 @sorry; error_page 403 /403.html; error_page 405 = @away;\n\
               error_page 406 = @on; error_page 409 @nowhere;\n\
               if ($arg_x = 1) { return 401; } if ($arg_x = 2) { return 403; }\n\
               if ($arg_x = 3) { return 405; } if ($arg_x = 4) { return 406; }\n\
               if ($arg_x = 5) { return 409; }";
    let annotations = [("configuration-snippet", own), ("server-snippet", server)];
    let site = site(&annotations, &shop, &pages, &[]);
    let reply = site.get(HOST, "/a?x=1");
    assert_eq!((reply.status, reply.text()), (401, "sorry /a?x=1"));
    assert_eq!(reply.header("x-a"), Some("1"));
    let reply = site.get(HOST, "/a?x=2");
    assert_eq!((reply.status, reply.text()), (403, "no"));
    // No client gets there by itself.
    assert_eq!(site.get(HOST, "/403.html").status, 404);
    assert_eq!(site.get(HOST, "/@sorry").line("backend: "), Some("shop"));
    let reply = site.get(HOST, "/a?x=3");
    assert_eq!((reply.status, reply.header("location")), (302, Some("https://example.com/")));
    let reply = site.get(HOST, "/a?x=4");
    assert_eq!((reply.status, reply.line("GET ")), (200, Some("/pages/on?x=4 HTTP/1.1")));
    assert_eq!(site.get(HOST, "/a?x=5").status, 500);
    assert_eq!(site.get(HOST, "/a").status, 200);
}

#[test]
fn rewrites_of_the_server_lead_to_internal_locations() {
    let (shop, pages) = (Backend::echo("shop"), Backend::echo("pages"));
    let server = "rewrite ^/old$ /inner; rewrite ^/kept$ /inner break;\n\
                  if ($uri ~ ^/plain) { set $args x=1; }\n\
                  location = /inner { internal; return 200 \"inner\"; }\n\
                  location = /plain { internal; return 200 \"no\"; }";
    let site = site(&[("server-snippet", server)], &shop, &pages, &[]);
    for (target, status) in [("/old", 200), ("/kept", 200), ("/inner", 404), ("/plain", 404)] {
        assert_eq!(site.get(HOST, target).status, status, "{target}");
    }
}

#[test]
fn a_page_has_none_itself_and_goes_through_what_protects_it() {
    let (shop, pages) = (Backend::echo("shop"), Backend::echo("pages"));
    // The page is where everybody is refused, too.
    let own = "deny all; error_page 403 /x;";
    let closed = site(&[("configuration-snippet", own)], &shop, &pages, &[]);
    assert_eq!(closed.get(HOST, "/a").status, 403);
    let users = secret_of("users", &[("auth", "bob:{PLAIN}secret\n")]);
    let annotations = [
        ("auth-type", "basic"),
        ("auth-secret", "users"),
        (
            "configuration-snippet",
            "if ($arg_x) { return 404; }\nerror_page 404 /secret;\nerror_page 401 /pages/login;",
        ),
    ];
    let site = site(&annotations, &shop, &pages, &[&users]);
    // Without a password the protected page is none; the page of that is none either.
    assert_eq!(site.get(HOST, "/a?x=1").status, 401);
    assert_eq!(shop.connections(), 0);
    let reply = site.get(HOST, "/a");
    assert_eq!((reply.status, reply.line("GET ")), (401, Some("/pages/login HTTP/1.1")));
    let request = format!(
        "GET /a?x=1 HTTP/1.1\r\nhost: {HOST}\r\nauthorization: Basic Ym9iOnNlY3JldA==\r\n\
         connection: close\r\n\r\n"
    );
    let reply = exchange(site.http, &request);
    assert_eq!((reply.status, reply.line("GET ")), (404, Some("/secret HTTP/1.1")));
}

#[test]
fn nothing_that_a_client_sends_splits_the_request_for_a_page() {
    let (shop, pages) = (Backend::echo("shop"), Backend::echo("pages"));
    let own = "if ($arg_x) { return 404; }\nerror_page 404 /pages$uri?$http_x_q;";
    let site = site(&[("configuration-snippet", own)], &shop, &pages, &[]);
    let reply = site.get(HOST, "/a%20b%3F%0d%0aX-Evil:%201?x=1");
    assert_eq!(reply.line("X-Evil"), None);
    let reply = exchange(
        site.http,
        &format!(
            "GET /a%20b?x=1 HTTP/1.1\r\nhost: {HOST}\r\nx-q: a b\r\nconnection: close\r\n\r\n"
        ),
    );
    assert_eq!((reply.status, reply.line("GET ")), (404, Some("/pages/a%20b HTTP/1.1")));
}

#[test]
fn a_named_location_is_gone_to_past_the_steps_of_the_server() {
    let (shop, pages) = (Backend::echo("shop"), Backend::echo("pages"));
    let snippet = "set $maintenance 1;\nif ($maintenance) { return 503; }\n\
                   error_page 503 @maintenance;\n\
                   location @maintenance { return 503 'back in $maintenance hour'; }";
    let site = site(&[("server-snippet", snippet)], &shop, &pages, &[]);
    let reply = site.get(HOST, "/a");
    assert_eq!((reply.status, reply.text()), (503, "back in 1 hour"));
}

#[test]
fn a_page_has_no_status_that_has_no_body() {
    let (shop, pages) = (failing("404 Not Found"), Backend::echo("pages"));
    for status in ["204", "304", "444", "499"] {
        let snippet = format!("proxy_intercept_errors on;\nerror_page 404 ={status} /pages/404;");
        let site = site(&[("configuration-snippet", &snippet)], &shop, &pages, &[]);
        assert_eq!(site.get(HOST, "/a").status, 503);
        let said = site.state()["diagnostics"].to_string();
        assert!(said.contains(&format!("`={status}` is no status of a page")), "{said}");
    }
}

#[test]
fn a_page_is_not_counted_against_limits_once_more() {
    let (shop, pages) = (Backend::echo("shop"), Backend::echo("pages"));
    let annotations = [
        ("configuration-snippet", "error_page 503 =200 /limited;"),
        ("limit-rpm", "1"),
        ("limit-burst-multiplier", "1"),
    ];
    let site = site(&annotations, &shop, &pages, &[]);
    let seen: Vec<_> = (0..4)
        .map(|_| site.get(HOST, "/a").line("GET ").map(str::to_owned).unwrap_or_default())
        .collect();
    assert!(seen[0].starts_with("/a "), "{seen:?}");
    assert!(seen[3].starts_with("/limited "), "{seen:?}");
}

#[test]
fn a_client_cannot_have_removed_what_a_snippet_sets() {
    let (shop, pages) = (Backend::echo("shop"), Backend::echo("pages"));
    let snippet = "more_set_input_headers 'X-Internal: no';";
    let site = site(&[("configuration-snippet", snippet)], &shop, &pages, &[]);
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {HOST}\r\nx-internal: yes\r\nconnection: close, X-Internal\r\n\r\n"
    );
    let reply = exchange(site.http, &request);
    assert_eq!(reply.status, 200);
    assert!(reply.text().to_ascii_lowercase().contains("x-internal: no"), "{}", reply.text());
}
