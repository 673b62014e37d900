//! The way to the sign-in page, authentication for everybody, and who is exempt.

use super::{HOST, Judge, OK, Pairs, REFUSED, URL, all, ask, site, site_with};
use crate::support::{Backend, exchange, secret_of};

fn refusing() -> Judge {
    Judge::saying(
        "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\nset-cookie: csrf=1\r\n\
         content-length: 0\r\n\r\n",
    )
}

fn location(annotations: Pairs<'_>, target: &str) -> String {
    let (shop, judge) = (Backend::echo("shop"), refusing());
    let site = site(&[&[URL], annotations].concat(), &shop, &judge);
    let reply = ask(&site, target, &[]);
    assert_eq!(reply.status, 302);
    assert_eq!(all(&reply, "set-cookie"), ["csrf=1"]);
    assert_eq!(reply.header("www-authenticate"), None);
    assert_eq!(shop.connections(), 0);
    reply.header("location").expect("a location").to_owned()
}

#[test]
fn the_original_url_is_escaped_into_the_sign_in_url() {
    let start = [("auth-signin", "https://auth.example.com/start")];
    for (target, escaped) in [
        ("/?a=b", "%2F%3Fa%3Db"),
        ("/", "%2F"),
        ("/a%2Fb/c-d._~?x=1&y=2", "%2Fa%252Fb%2Fc-d._~%3Fx%3D1%26y%3D2"),
        ("/%0d%0aX:y", "%2F%250d%250aX%3Ay"),
        ("//evil.example.com/", "%2F%2Fevil.example.com%2F"),
    ] {
        let expected = format!("https://auth.example.com/start?rd=http://{HOST}{escaped}");
        assert_eq!(location(&start, target), expected);
    }
}

#[test]
fn the_sign_in_url_says_where_the_original_one_goes() {
    for (url, parameter, expected) in [
        (
            "https://a.example.com/s?x=y",
            "",
            "https://a.example.com/s?x=y&rd=http://shop.example.com%2Fp",
        ),
        ("https://a.example.com/s?rd=z", "", "https://a.example.com/s?rd=z"),
        (
            "https://a.example.com/s",
            "back",
            "https://a.example.com/s?back=http://shop.example.com%2Fp",
        ),
        (
            "https://a.example.com/s?rd=z",
            "back",
            "https://a.example.com/s?rd=z&back=http://shop.example.com%2Fp",
        ),
        ("https://$host/s?rd=$escaped_request_uri", "", "https://shop.example.com/s?rd=%2Fp"),
        (
            "$scheme://$http_host/s?rd=$scheme://$http_host$request_uri",
            "",
            "http://shop.example.com/s?rd=http://shop.example.com/p",
        ),
    ] {
        let mut annotations = vec![("auth-signin", url)];
        if !parameter.is_empty() {
            annotations.push(("auth-signin-redirect-param", parameter));
        }
        assert_eq!(location(&annotations, "/p"), expected, "{url}");
    }
}

#[test]
fn a_rewritten_request_comes_back_to_what_the_client_asked_for() {
    let annotations = [("auth-signin", "https://a.example.com/s"), ("rewrite-target", "/new")];
    let expected = "https://a.example.com/s?rd=http://shop.example.com%2Fold%3Fq";
    assert_eq!(location(&annotations, "/old?q"), expected);
}

#[test]
fn a_balancer_in_front_says_which_scheme_the_original_url_has() {
    let (shop, judge) = (Backend::echo("shop"), refusing());
    let annotations = [URL, ("auth-signin", "https://a.example.com/s")];
    let map = [("use-forwarded-headers", "true")];
    let site = site_with(&annotations, &map, &[], (&shop, judge.backend.address));
    let reply = ask(&site, "/", &["x-forwarded-proto: https"]);
    let expected = "https://a.example.com/s?rd=https://shop.example.com%2F";
    assert_eq!(reply.header("location"), Some(expected));
}

#[test]
fn only_a_401_leads_to_the_sign_in_page() {
    for (status, outcome) in [(403, 403), (302, 500), (500, 500)] {
        let shop = Backend::echo("shop");
        let judge = Judge::saying(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"));
        let site = site(&[URL, ("auth-signin", "https://a.example.com/s")], &shop, &judge);
        assert_eq!(ask(&site, "/", &[]).status, outcome);
    }
    // One of the upstream is the upstream's.
    let shop = Backend::scripted(|mut stream, _| {
        let _gone = std::io::Write::write_all(&mut stream, REFUSED.as_bytes());
    });
    let site = site(&[URL, ("auth-signin", "https://a.example.com/s")], &shop, &Judge::saying(OK));
    assert_eq!(ask(&site, "/", &[]).status, 401);
}

#[test]
fn passwords_that_are_missing_lead_there_too() {
    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let secret = secret_of("users", &[("auth", "ann:{PLAIN}secret")]);
    let annotations = [
        URL,
        ("auth-type", "basic"),
        ("auth-secret", "users"),
        ("auth-signin", "https://a.example.com/s"),
    ];
    let site = site_with(&annotations, &[], &[&secret], (&shop, judge.backend.address));
    assert_eq!(ask(&site, "/", &[]).status, 302);
    assert_eq!(judge.asked(), 0, "the password comes first");
    // ann:secret
    let reply = ask(&site, "/", &["authorization: Basic YW5uOnNlY3JldA=="]);
    assert_eq!((reply.status, judge.asked()), (200, 1));
    assert_eq!(reply.line("authorization: "), None);
}

#[test]
fn authentication_for_everybody_but_who_is_exempt() {
    let judge = Judge::saying(REFUSED);
    let shop = Backend::echo("shop");
    let global = [("global-auth-url", URL.1), ("global-auth-signin", "https://sso.example.com/")];
    for (annotations, status) in [
        (&[][..], 302),
        (&[("enable-global-auth", "true")], 302),
        (&[("enable-global-auth", "false")], 200),
        // Its own server, and nothing of the global one.
        (&[URL], 401),
    ] {
        let site = site_with(annotations, &global, &[], (&shop, judge.backend.address));
        assert_eq!(ask(&site, "/", &[]).status, status, "{annotations:?}");
        let challenge = "/.well-known/acme-challenge/token";
        assert_eq!(ask(&site, challenge, &[]).status, 200, "{annotations:?}");
        assert_eq!(ask(&site, "/.well-known/acme-challenge/../../", &[]).status, status);
        assert_eq!(ask(&site, "/.well-known/acme-challenge/%2e%2e/%2e%2e/x", &[]).status, status);
        assert_eq!(ask(&site, "//.well-known/../x", &[]).status, status);
    }
    let map = [("global-auth-url", URL.1), ("no-auth-locations", "/other")];
    let site = site_with(&[], &map, &[], (&shop, judge.backend.address));
    assert_eq!(ask(&site, "/other/x", &[]).status, 200);
    assert_eq!(ask(&site, "/otherwise", &[]).status, 401);
    assert_eq!(ask(&site, "/.well-known/acme-challenge/token", &[]).status, 401);
    let unreadable = [("global-auth-url", "nonsense")];
    let site = site_with(&[], &unreadable, &[], (&shop, judge.backend.address));
    assert_eq!(ask(&site, "/", &[]).status, 503);
    let other = exchange(site.http, "GET / HTTP/1.1\r\nhost: other\r\nconnection: close\r\n\r\n");
    assert_eq!(other.status, 404);
}
