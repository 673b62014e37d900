//! Which requests a canary gets, and what of it can be seen.

use std::{collections::BTreeSet, net::SocketAddr};

use crate::support::{Backend, Ingress, Reply, Site, documents, exchange, service, until};

const HOST: &str = "shop.example.com";

fn yaml(name: &str, annotations: &[(&str, &str)], path: &str) -> String {
    let paths = &[("Prefix", path, name)];
    Ingress { name, annotations, host: HOST, paths, tls: None }.yaml()
}

/// A main Ingress with these annotations, and a canary; each with its Service.
fn site(
    main: &[(&str, &str)],
    own: &[(&str, &str)],
    shop: &[SocketAddr],
    new: &[SocketAddr],
) -> Site {
    let own = [&[("canary", "true")], own].concat();
    let parts = [
        yaml("new", &own, "/"),
        yaml("shop", main, "/"),
        service("shop", shop),
        service("new", new),
    ];
    Site::start(&[("all.yaml", &documents(&parts.each_ref().map(|part| &**part)))])
}

fn get(site: &Site, headers: &str) -> Reply {
    exchange(
        site.http,
        &format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{headers}connection: close\r\n\r\n"),
    )
}

fn asked(site: &Site, headers: &str) -> String {
    let reply = get(site, headers);
    assert_eq!(reply.status, 200, "{headers}: {}", reply.head);
    reply.line("backend: ").expect("an echo").to_owned()
}

#[test]
fn header_cookie_and_weight_decide_in_this_order() {
    let (shop, new) = (Backend::echo("shop"), Backend::echo("new"));
    let rules = [("canary-by-header", "X-Try"), ("canary-by-cookie", "try")];
    for (weight, otherwise) in [("0", "shop"), ("100", "new")] {
        let all = [&rules[..], &[("canary-weight", weight)]].concat();
        let site = site(&[], &all, &[shop.address], &[new.address]);
        for (headers, expected) in [
            ("", otherwise),
            ("x-try: always\r\n", "new"),
            ("x-try: never\r\n", "shop"),
            ("x-try: perhaps\r\n", otherwise),
            ("cookie: a=b; try=always\r\n", "new"),
            ("cookie: try=never\r\n", "shop"),
            ("x-try: never\r\ncookie: try=always\r\n", "shop"),
            ("x-try: always\r\ncookie: try=never\r\n", "new"),
        ] {
            assert_eq!(asked(&site, headers), expected, "{weight}: {headers}");
        }
    }
    let pattern = [("canary-by-header", "x-region"), ("canary-by-header-pattern", "^eu-(?!north)")];
    let site = site(&[], &pattern, &[shop.address], &[new.address]);
    for (region, expected) in
        [("eu-west", "new"), ("EU-west", "shop"), ("eu-north", "shop"), ("always", "shop")]
    {
        assert_eq!(asked(&site, &format!("x-region: {region}\r\n")), expected, "{region}");
    }
}

#[test]
fn a_header_can_be_asked_for_one_value() {
    let (shop, new) = (Backend::echo("shop"), Backend::echo("new"));
    let value = [("canary-by-header", "x-try"), ("canary-by-header-value", "me")];
    let one = site(&[], &value, &[shop.address], &[new.address]);
    for (said, expected) in [("me", "new"), ("ME", "shop"), ("always", "shop"), ("never", "shop")] {
        assert_eq!(asked(&one, &format!("x-try: {said}\r\n")), expected, "{said}");
    }
    assert_eq!(asked(&one, ""), "shop");
    // Of no header it is no rule, which is told.
    let wrong = [("canary-by-header-value", "me")];
    let site = site(&[], &wrong, &[shop.address], &[new.address]);
    assert_eq!(asked(&site, "x-try: me\r\n"), "shop");
    let said = site.state()["diagnostics"].to_string();
    assert!(said.contains("has no effect without canary-by-header"), "{said}");
}

#[test]
fn a_weight_is_a_share() {
    let (shop, new) = (Backend::echo("shop"), Backend::echo("new"));
    let share = [("canary-weight", "500"), ("canary-weight-total", "1000")];
    let site = site(&[], &share, &[shop.address], &[new.address]);
    let mut connection = crate::support::Connection::open(site.http);
    let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let taken = (0..400).filter(|_| connection.request(&request).line("backend: ") == Some("new"));
    // Seven standard deviations: it fails by chance once in more than 10^11 runs.
    let taken = taken.count();
    assert!((130..=270).contains(&taken), "{taken}");
}

#[test]
fn each_needs_the_main_service_and_only_the_canary_its_own() {
    let backend = Backend::echo("there");
    let always = [("canary-weight", "100")];
    let down = site(&[], &always, &[], &[backend.address]);
    assert_eq!(get(&down, "").status, 503);
    let main_only = site(&[], &always, &[backend.address], &[]);
    assert_eq!(asked(&main_only, ""), "there");
}

#[test]
fn sessions_bind_to_either_and_are_in_ingress_nginx_s_format() {
    let (shop, new) = (Backend::echo("shop"), Backend::echo("new"));
    let sticky = [("affinity", "cookie"), ("affinity-mode", "persistent")];
    let by_header = [("canary-by-header", "try")];
    let site = site(&sticky, &by_header, &[shop.address], &[new.address]);
    let mut marks = BTreeSet::new();
    for (word, expected, mark) in [
        // md5(md5(b) + b) of `web-shop-80` and `web-new-80`, by Python's hashlib.
        ("never", "shop", "44cba271c9fc215f1fb84b7ff9a62d25"),
        ("always", "new", "34761b587658c03451e97046cd4ee3fe"),
    ] {
        let first = get(&site, &format!("try: {word}\r\n"));
        assert_eq!(first.line("backend: "), Some(expected));
        let cookie = first.header("set-cookie").expect("a session begins").to_owned();
        let (pair, attributes) = cookie.split_once("; ").expect("attributes");
        assert_eq!(attributes, "Path=/; HttpOnly");
        assert!(pair.ends_with(&format!("|{mark}")), "{pair}");
        marks.insert(mark);
        // Against the header too.
        for other in ["always", "never"] {
            let next = get(&site, &format!("cookie: {pair}\r\ntry: {other}\r\n"));
            assert_eq!(next.line("backend: "), Some(expected), "{word}, then {other}");
            assert_eq!(next.header("set-cookie"), None);
        }
    }
    assert_eq!(marks.len(), 2);
}

#[test]
fn legacy_canaries_have_no_sessions() {
    let (shop, new) = (Backend::echo("shop"), Backend::echo("new"));
    let legacy = [("canary-by-header", "try"), ("affinity-canary-behavior", "legacy")];
    let site = site(&[("affinity", "cookie")], &legacy, &[shop.address], &[new.address]);
    let reply = get(&site, "try: always\r\n");
    assert_eq!((reply.line("backend: "), reply.header("set-cookie")), (Some("new"), None));
    let other = "cookie: INGRESSCOOKIE=x|34761b587658c03451e97046cd4ee3fe\r\n";
    assert_eq!(asked(&site, other), "shop");
    let bound = get(&site, "try: never\r\n");
    let cookie = bound.header("set-cookie").expect("a session").to_owned();
    let (pair, _) = cookie.split_once("; ").expect("attributes");
    assert_eq!(asked(&site, &format!("cookie: {pair}\r\ntry: always\r\n")), "shop");
}

#[test]
fn everything_else_is_the_main_ingress_s_and_redirects_come_first() {
    let (shop, new) = (Backend::echo("shop"), Backend::echo("new"));
    let main = [("upstream-vhost", "inner.example.com")];
    let own = [("canary-weight", "100"), ("upstream-vhost", "x.com"), ("auth-type", "basic")];
    let one = site(&main, &own, &[shop.address], &[new.address]);
    let reply = get(&one, "");
    assert_eq!(
        (reply.line("backend: "), reply.line("host: ")),
        (Some("new"), Some("inner.example.com"))
    );
    let redirect = [("force-ssl-redirect", "true")];
    let two = site(&redirect, &own, &[shop.address], &[new.address]);
    assert_eq!(get(&two, "").status, 308);
}

#[test]
fn the_admin_port_shows_the_canary_and_counts_its_requests() {
    let (shop, new) = (Backend::echo("shop"), Backend::echo("new"));
    let rules = [("canary-by-header", "try"), ("canary-weight", "0")];
    let site = site(&[], &rules, &[shop.address], &[new.address]);
    for word in ["always", "always", "never"] {
        let _counted = asked(&site, &format!("try: {word}\r\n"));
    }
    let counted = |canary: &str| {
        let labels = [
            ("status", "200"),
            ("ingress", "shop"),
            ("service", "shop"),
            ("canary", canary),
            ("host", HOST),
        ];
        site.series("nginx_ingress_controller_requests", &labels)
    };
    until("all are counted", || (counted("web-new-80"), counted("")) == (Some(2.0), Some(1.0)));
    let explained = site.explain(&format!("url=http://{HOST}/&header=try:+always"));
    assert_eq!(explained["outcome"]["service"]["name"], "new");
    let mut stages = explained["stages"].as_array().expect("a list").iter();
    let stage = stages.find(|own| own["stage"] == "canary").expect("it is one");
    assert_eq!(
        (&stage["verdict"], &explained["outcome"]["canary"]),
        (&"change".into(), &true.into())
    );
    assert_eq!(stage["causes"][0]["object"]["name"], "new");
    let backends = site.state()["backends"].clone();
    let mut all = backends.as_array().expect("a list").iter();
    let main = all.find(|one| one["name"] == "web-shop-80").expect("it is one");
    let canary = &main["canary"];
    assert_eq!(canary["ingress"], "Ingress web/new");
    assert_eq!(canary["backend"], "web-new-80");
    assert_eq!(canary["header"]["name"], "try");
    assert_eq!((&canary["weight"], &canary["weight-total"]), (&0.into(), &100.into()));
}

#[test]
fn a_canary_comes_and_goes_while_the_site_runs() {
    let (shop, new) = (Backend::echo("shop"), Backend::echo("new"));
    let rules = yaml("shop", &[], "/");
    let own = yaml("new", &[("canary", "true"), ("canary-weight", "100")], "/");
    let services = documents(&[&service("shop", &[shop.address]), &service("new", &[new.address])]);
    let site = Site::start(&[("canary.yaml", &own), ("services.yaml", &services)]);
    assert_eq!(get(&site, "").status, 404);
    site.write("main.yaml", &rules);
    until("the canary takes all", || get(&site, "").line("backend: ") == Some("new"));
    std::fs::remove_file(site.dir.path().join("canary.yaml")).expect("it was there");
    until("it is gone", || get(&site, "").line("backend: ") == Some("shop"));
}

#[test]
fn a_stand_in_is_asked_itself_whatever_canary_it_has() {
    let (page, new) = (Backend::echo("page"), Backend::echo("new"));
    let always = [("canary", "true"), ("canary-weight", "100")];
    let parts = [
        yaml("shop", &[("default-backend", "page")], "/"),
        yaml("page", &[], "/page"),
        yaml("new", &always, "/page"),
        service("shop", &[]),
        service("page", &[page.address]),
        service("new", &[new.address]),
    ];
    let site = Site::start(&[("all.yaml", &documents(&parts.each_ref().map(|part| &**part)))]);
    assert_eq!(site.get(HOST, "/page").line("backend: "), Some("new"));
    assert_eq!(site.get(HOST, "/").line("backend: "), Some("page"));
}
