//! `auth_request_set` of a `configuration-snippet`: what snippets make of the server's answer.

use super::{Judge, OK, Pairs, URL, ask, line, site_with};
use crate::support::{Backend, Site};

const ALLOWED: Pairs<'_> =
    &[("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];

fn site(snippet: &str, more: Pairs<'_>, shop: &Backend, judge: &Judge) -> Site {
    let annotations = [&[URL, ("configuration-snippet", snippet)], more].concat();
    site_with(&annotations, ALLOWED, &[], (shop, judge.backend.address))
}

/// Says who asks, if the question does.
fn knowing() -> Judge {
    Judge::new(|head| match line(head, "x-ask: ") {
        Some(who) => format!(
            "HTTP/1.1 200 OK\r\nx-user: {who}\r\nx-role: a\r\nx-role: b\r\n\
             set-cookie: id=7; Path=/\r\nset-cookie: b=c\r\ncontent-length: 0\r\n\r\n"
        ),
        None => OK.to_owned(),
    })
}

#[test]
fn endpoints_and_clients_get_what_the_server_said() {
    let (shop, judge) = (Backend::echo("shop"), knowing());
    // Before it is made, as in nginx.
    let snippet = "proxy_set_header X-User $user;\n\
                   auth_request_set $user $upstream_http_x_user;\n\
                   auth_request_set $all \"$upstream_status ${upstream_http_x_role}/$upstream_cookie_id\";\n\
                   proxy_set_header X-All \"<$all>\";\n\
                   add_header X-Who $user;\n\
                   more_set_headers \"X-Role: $all\";";
    let site = site(snippet, &[], &shop, &judge);
    let reply = ask(&site, "/", &["x-ask: ann", "x-user: admin", "X_User: admin"]);
    assert_eq!((reply.status, reply.line("x-user: ")), (200, Some("ann")));
    assert_eq!(reply.line("x-all: "), Some("<200 a, b/7>"));
    assert_eq!((reply.header("x-who"), reply.header("x-role")), (Some("ann"), Some("200 a, b/7")));
    // Nothing of the client's stands in where it says nothing.
    let reply = ask(&site, "/", &["x-user: admin", "X_User: admin"]);
    assert_eq!((reply.status, reply.line("x-user: ")), (200, None), "{}", reply.text());
    assert_eq!((reply.line("x_user: "), reply.header("x-who")), (None, None));
    assert_eq!(reply.line("x-all: "), Some("<200 />"));
}

#[test]
fn verdicts_that_are_kept_say_it_again() {
    let shop = Backend::echo("shop");
    let judge = Judge::saying("HTTP/1.1 200 OK\r\nx-user: ann\r\ncontent-length: 0\r\n\r\n");
    let snippet = "auth_request_set $user $upstream_http_x_user; proxy_set_header X-User $user;";
    let site = site(snippet, &[("auth-cache-key", "$remote_addr")], &shop, &judge);
    for _ in 0..10 {
        assert_eq!(ask(&site, "/", &[]).line("x-user: "), Some("ann"));
    }
    assert!(judge.asked() <= 2, "once for each worker: {}", judge.asked());
}

#[test]
fn what_the_server_says_splits_no_head() {
    let shop = Backend::echo("shop");
    let judge = Judge::saying("HTTP/1.1 200 OK\r\nx-user: a\u{1}b\r\ncontent-length: 0\r\n\r\n");
    let snippet = "auth_request_set $user $upstream_http_x_user;\n\
                   proxy_set_header X-User $user; add_header X-Who $user;";
    let site = site(snippet, &[], &shop, &judge);
    let reply = ask(&site, "/", &["x-user: admin"]);
    // An answer that is none gives no verdict; one that is taken hands nothing odd on.
    assert!(reply.status == 500 || reply.line("x-user: ").is_none(), "{}", reply.head);
}

#[test]
fn whoever_is_not_asked_has_nothing_said_about() {
    let (shop, judge) = (Backend::echo("shop"), knowing());
    let snippet = "auth_request_set $user $upstream_http_x_user; proxy_set_header X-User $user;";
    let any = [("satisfy", "any"), ("allowlist-source-range", "127.0.0.0/8")];
    let site = site(snippet, &any, &shop, &judge);
    let reply = ask(&site, "/", &["x-ask: ann", "x-user: admin"]);
    assert_eq!((reply.status, reply.line("x-user: "), judge.asked()), (200, None, 0));
}

#[test]
fn without_auth_url_it_says_nothing_and_that_is_told() {
    let (shop, judge) = (Backend::echo("shop"), knowing());
    let snippet = "auth_request_set $user $upstream_http_x_user; proxy_set_header X-User $user;";
    let annotations = [("configuration-snippet", snippet)];
    let site = site_with(&annotations, ALLOWED, &[], (&shop, judge.backend.address));
    let reply = ask(&site, "/", &["x-user: admin"]);
    assert_eq!((reply.status, reply.line("x-user: ")), (200, None));
    let said = site.state()["diagnostics"].to_string();
    assert!(said.contains("`auth_request_set`, which says nothing without `auth-url`"), "{said}");
}

#[test]
fn what_cannot_be_had_refuses_the_snippet() {
    let (shop, judge) = (Backend::echo("shop"), knowing());
    let set = "auth_request_set $user $upstream_http_x_user;";
    for (snippet, why) in [
        (
            format!("{set}\nif ($user) {{ return 403; }}"),
            "line 2: `if`: `$user` is not known before",
        ),
        (format!("{set} return 200 $user;"), "`$user` is not known before"),
        (format!("{set} set $other $user;"), "`$user` is not known before"),
        (format!("{set} set $user 1;"), "`$user` is made by a `set` too"),
        (format!("{set} more_set_input_headers \"X-User: $user\";"), "which is asked later"),
        (format!("{set} error_page 404 /$user;"), "which may not be asked yet"),
        (format!("if ($arg_x) {{ {set} }}"), "`auth_request_set` is not supported in `if`"),
        ("auth_request_set $user $http_x;".to_owned(), "`$http_x` is not supported here"),
        ("auth_request_set user x;".to_owned(), "names no variable"),
        ("auth_request_set $host x;".to_owned(), "one of nginx's own"),
        ("auth_request_set $a-b x;".to_owned(), "no name of a variable"),
        ("auth_request_set $user;".to_owned(), "is not `auth_request_set $name value`"),
    ] {
        let site = site(&snippet, &[], &shop, &judge);
        assert_eq!(ask(&site, "/", &["x-ask: ann"]).status, 503, "{snippet}");
        let said = site.state()["diagnostics"].to_string();
        assert!(said.contains(why), "{snippet}: {said}");
    }
    assert_eq!((shop.connections(), judge.asked()), (0, 0));
}
