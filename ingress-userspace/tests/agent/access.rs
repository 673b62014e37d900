//! Who may ask, by address and by headers: lists of Ingresses and of the ConfigMap, and `satisfy`.

use std::net::SocketAddr;

use crate::support::{
    Backend, Connection, Ingress, Reply, Site, config_map, documents, exchange, secret_of, service,
    until,
};

const HOST: &str = "shop.example.com";

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// Two Ingresses of one host: one with the annotations at `/`, one without at `/open`.
fn manifests(annotations: Pairs<'_>, map: Pairs<'_>, endpoint: SocketAddr) -> String {
    let ingress = |name, annotations, path| {
        let paths = &[("Prefix", path, "shop")];
        Ingress { name, annotations, host: HOST, paths, tls: None }.yaml()
    };
    documents(&[
        &ingress("shop", annotations, "/"),
        &ingress("open", &[], "/open"),
        &service("shop", &[endpoint]),
        &secret_of("users", &[("auth", "bob:{PLAIN}secret")]),
        &config_map(map),
    ])
}

fn site(annotations: Pairs<'_>, map: Pairs<'_>, endpoint: SocketAddr) -> Site {
    let files = [("all.yaml", &*manifests(annotations, map, endpoint))];
    Site::start_with(&files, &["--configmap=web/controller"], |_| {})
}

const PROXIED: (&str, &str) = ("use-proxy-protocol", "true");

/// The answer to a GET from this address.
fn from(site: &Site, address: &str, path: &str) -> Reply {
    let version = if address.contains(':') { "TCP6" } else { "TCP4" };
    let to = if address.contains(':') { "::1" } else { "127.0.0.1" };
    let text = format!(
        "PROXY {version} {address} {to} 4321 80\r\nGET {path} HTTP/1.1\r\nhost: {HOST}\r\n\
         connection: close\r\n\r\n"
    );
    exchange(site.http, &text)
}

fn statuses<const N: usize>(site: &Site, path: &str, addresses: [&str; N]) -> [u16; N] {
    addresses.map(|address| from(site, address, path).status)
}

/// The answer to a GET with these fields.
fn with(site: &Site, path: &str, fields: &str) -> Reply {
    let text = format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n{fields}connection: close\r\n\r\n");
    exchange(site.http, &text)
}

#[test]
fn only_addresses_of_the_list_may_ask() {
    let shop = Backend::echo("shop");
    let list = [("whitelist-source-range", "192.0.2.0/24, 198.51.100.7,2001:db8::/32")];
    let site = site(&list, &[PROXIED], shop.address);
    let ask =
        ["192.0.2.1", "198.51.100.7", "2001:db8::1", "198.51.100.8", "203.0.113.1", "2001:db9::1"];
    assert_eq!(statuses(&site, "/", ask), [200, 200, 200, 403, 403, 403]);
    assert_eq!(statuses(&site, "/open", ask), [200; 6]);
    let reply = from(&site, "203.0.113.1", "/");
    assert!(reply.text().contains("<title>403 Forbidden</title>"), "{}", reply.text());
    // A change is obeyed at once, and what cannot be read opens nothing.
    let list = [("whitelist-source-range", "203.0.113.0/24")];
    site.replace("all.yaml", &manifests(&list, &[PROXIED], shop.address));
    until("the new list is obeyed", || from(&site, "203.0.113.1", "/").status == 200);
    assert_eq!(from(&site, "192.0.2.1", "/").status, 403);
    let list = [("whitelist-source-range", "203.0.113.0/240")];
    site.replace("all.yaml", &manifests(&list, &[PROXIED], shop.address));
    until("nobody is let in", || from(&site, "203.0.113.1", "/").status == 503);
    assert_eq!(from(&site, "203.0.113.1", "/open").status, 200);
}

#[test]
fn who_is_denied_is_so_although_allowed() {
    let shop = Backend::echo("shop");
    let lists =
        [("denylist-source-range", "192.0.2.128/25"), ("allowlist-source-range", "192.0.2.0/24")];
    let both = site(&lists, &[PROXIED], shop.address);
    let ask = ["192.0.2.1", "192.0.2.200", "203.0.113.1"];
    assert_eq!(statuses(&both, "/", ask), [200, 403, 403]);
    let one = site(&lists[..1], &[PROXIED], shop.address);
    assert_eq!(statuses(&one, "/", ask), [200, 403, 200]);
}

#[test]
fn the_client_s_address_is_the_one_that_trusted_balancers_tell() {
    let shop = Backend::echo("shop");
    let list = [("whitelist-source-range", "192.0.2.0/24")];
    let told = |map: Pairs<'_>, address: &str| {
        let site = site(&list, map, shop.address);
        with(&site, "/", &format!("x-forwarded-for: {address}\r\n")).status
    };
    let trusting = ("use-forwarded-headers", "true");
    assert_eq!(told(&[trusting], "192.0.2.1"), 200);
    assert_eq!(told(&[trusting], "203.0.113.1"), 403);
    assert_eq!(told(&[], "192.0.2.1"), 403, "nobody trusts the client");
    let stranger = ("proxy-real-ip-cidr", "10.0.0.0/8");
    assert_eq!(told(&[trusting, stranger], "192.0.2.1"), 403, "nor whoever connects");
}

#[test]
fn lists_of_the_config_map_are_for_ingresses_without_their_own() {
    let shop = Backend::echo("shop");
    let map =
        [PROXIED, ("whitelist-source-range", "192.0.2.0/24"), ("block-cidrs", "198.51.100.0/24")];
    let list = [("whitelist-source-range", "198.51.100.0/24")];
    let site = site(&list, &map, shop.address);
    let ask = ["192.0.2.1", "198.51.100.1", "203.0.113.1"];
    assert_eq!(statuses(&site, "/", ask), [403, 200, 403]);
    assert_eq!(statuses(&site, "/open", ask), [200, 403, 403]);
}

#[test]
fn blocked_addresses_get_nothing_where_no_list_lets_them_in() {
    let shop = Backend::echo("shop");
    let list = [("whitelist-source-range", "192.0.2.0/24,203.0.113.0/24")];
    let site = site(&list, &[PROXIED], shop.address);
    let ask = ["192.0.2.1", "203.0.113.1"];
    assert_eq!(statuses(&site, "/open", ask), [200, 200]);
    let blocking = [PROXIED, ("block-cidrs", "192.0.2.0/24,2001:db8::/32")];
    site.replace("all.yaml", &manifests(&list, &blocking, shop.address));
    until("the ConfigMap is obeyed", || from(&site, "192.0.2.1", "/open").status == 403);
    assert_eq!(statuses(&site, "/open", ask), [403, 200]);
    assert_eq!(from(&site, "2001:db8::1", "/open").status, 403);
    assert_eq!(statuses(&site, "/", ask), [200, 200], "the list says that they may");
    // Of hosts that are none, they do not learn even that.
    let unknown = |address: &str, path: &str| {
        let text = format!(
            "PROXY TCP4 {address} 127.0.0.1 4321 80\r\nGET {path} HTTP/1.1\r\nhost: unknown\r\n\
             connection: close\r\n\r\n"
        );
        exchange(site.http, &text).status
    };
    assert_eq!([unknown("192.0.2.1", "/"), unknown("203.0.113.1", "/")], [403, 404]);
    assert_eq!(unknown("192.0.2.1", "/healthz"), 200, "balancers look at this");
    // A range that is none closes all doors, instead of opening one.
    let broken = [PROXIED, ("block-cidrs", "192.0.2.0/24,nonsense")];
    site.replace("all.yaml", &manifests(&list, &broken, shop.address));
    until("nobody is let in", || from(&site, "203.0.113.1", "/open").status == 503);
}

#[test]
fn requests_are_blocked_by_what_they_say_of_themselves() {
    let shop = Backend::echo("shop");
    let map = [
        ("block-user-agents", "~*evil.*bot,Exact/1.0,~^Mozilla/[1-3]\\."),
        ("block-referers", "~*://spam\\.example/"),
    ];
    let site = site(&[("force-ssl-redirect", "true")], &map, shop.address);
    for (fields, status) in [
        ("", 200),
        ("user-agent: curl/8\r\n", 200),
        ("user-agent: An EVIL Bot\r\n", 403),
        ("user-agent: exact/1.0\r\n", 403),
        ("user-agent: Exact/1.0.1\r\n", 200),
        ("user-agent: Mozilla/3.0\r\n", 403),
        ("user-agent: mozilla/3.0\r\n", 200),
        ("user-agent: Mozilla/5.0\r\n", 200),
        ("user-agent: good\r\nuser-agent: evilbot\r\n", 403),
        ("user-agent: \u{fc} evil \u{fc} bot\r\n", 403),
        ("referer: https://SPAM.example/x\r\n", 403),
        ("referer: https://shop.example.com/x\r\n", 200),
    ] {
        assert_eq!(with(&site, "/open", fields).status, status, "{fields}");
    }
    // Before the path is looked at, and before any redirect; whatever the host.
    let evil = "user-agent: evilbot\r\n";
    assert_eq!(with(&site, "/", "").status, 308);
    assert_eq!(with(&site, "/", evil).status, 403);
    let text = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: unknown\r\n{evil}connection: close\r\n\r\n")
    };
    assert_eq!(exchange(site.http, &text("/")).status, 403);
    assert_eq!(exchange(site.http, &text("/healthz")).status, 403);
}

#[test]
fn what_blocks_is_read_live_and_an_expression_that_is_none_opens_nothing() {
    let shop = Backend::echo("shop");
    let site = site(&[], &[], shop.address);
    let mut connection = Connection::open(site.http);
    let text =
        |agent: &str| format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: {agent}\r\n\r\n");
    assert_eq!(connection.request(&text("bot")).status, 200);
    let mut change = |value: &str, agent: &str, expected: u16| {
        let map = [("block-user-agents", value)];
        site.replace("all.yaml", &manifests(&[], &map, shop.address));
        until(value, || exchange(site.http, &text(agent)).status == expected);
        // The same goes for a connection that was there before.
        assert_eq!(connection.request(&text(agent)).status, expected, "{value}");
    };
    change("~bot,curl", "bot", 403);
    change("~bot,~(", "curl", 503);
    change("curl", "bot", 200);
    // An agent that says nothing is empty.
    change("~^$", "", 403);
}

#[test]
fn redirects_come_before_lists() {
    let shop = Backend::echo("shop");
    let annotations =
        [("whitelist-source-range", "192.0.2.0/24"), ("permanent-redirect", "https://a.example")];
    let site = site(&annotations, &[PROXIED], shop.address);
    assert_eq!(from(&site, "203.0.113.1", "/").status, 301);
}

#[test]
fn one_way_in_is_enough_where_any_satisfies() {
    const LOGIN: [(&str, &str); 2] = [("auth-type", "basic"), ("auth-secret", "users")];
    const ALLOW: (&str, &str) = ("whitelist-source-range", "192.0.2.0/24");
    const DENY: (&str, &str) = ("denylist-source-range", "203.0.113.0/24");

    let shop = Backend::echo("shop");
    let ask = |satisfy: &str, lists: Pairs<'_>| {
        let annotations: Vec<_> =
            LOGIN.iter().chain(lists).copied().chain([("satisfy", satisfy)]).collect();
        let site = site(&annotations, &[PROXIED], shop.address);
        let status = |address: &str, password: &str| {
            let text = format!(
                "PROXY TCP4 {address} 127.0.0.1 4321 80\r\nGET / HTTP/1.1\r\nhost: {HOST}\r\n\
                 {password}connection: close\r\n\r\n"
            );
            let reply = exchange(site.http, &text);
            assert_eq!(reply.status == 401, reply.header("www-authenticate").is_some());
            if reply.status == 200 {
                assert_eq!(reply.line("authorization: "), None, "it is for us");
            }
            reply.status
        };
        let right = "authorization: Basic Ym9iOnNlY3JldA==\r\n";
        let wrong = "authorization: Basic Ym9iOnNlY3JlZA==\r\n";
        ["192.0.2.1", "203.0.113.1", "198.51.100.1"]
            .map(|address| [status(address, right), status(address, wrong), status(address, "")])
    };
    assert_eq!(ask("all", &[]), [[200, 401, 401]; 3]);
    assert_eq!(ask("any", &[]), [[200, 401, 401]; 3]);
    assert_eq!(ask("all", &[ALLOW]), [[200, 401, 401], [403; 3], [403; 3]]);
    assert_eq!(ask("any", &[ALLOW]), [[200; 3], [200, 401, 401], [200, 401, 401]]);
    // Not to be on the list of those who may not is no way in.
    assert_eq!(ask("all", &[DENY]), [[200, 401, 401], [403; 3], [200, 401, 401]]);
    assert_eq!(ask("any", &[DENY]), [[200, 401, 401]; 3]);
    assert_eq!(ask("any", &[DENY, ALLOW]), [[200; 3], [200, 401, 401], [200, 401, 401]]);
    // What is no word of it means all.
    assert_eq!(ask("some", &[ALLOW]), [[200, 401, 401], [403; 3], [403; 3]]);
}
