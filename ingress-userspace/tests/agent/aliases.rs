//! The other names of hosts, and redirects between names.

use crate::support::{
    Backend, Ingress, Reply, Site, certificate, config_map, documents, exchange, free_port,
    service, tls, until,
};

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn site(annotations: Pairs<'_>, names: &[&str], map: Pairs<'_>, path: &str, https: u16) -> Site {
    let shop = Backend::echo("shop");
    let (_, secret) = certificate("cert", names);
    let rules = Ingress {
        name: "shop",
        annotations,
        host: "shop.example.com",
        paths: &[("Prefix", path, "shop")],
        tls: Some("cert").filter(|_| !names.is_empty()),
    };
    let map = config_map(map);
    let parts = [&*rules.yaml(), &service("shop", &[shop.address]), &secret, &map];
    let arguments = ["--configmap=web/controller"];
    Site::start_with(&[("all.yaml", &documents(&parts))], &arguments, |config| {
        config.listen.https_port = https;
        config.translate.https_port = https;
    })
}

fn location(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.header("location").unwrap_or_default())
}

#[test]
fn an_alias_is_answered_as_its_host_and_keeps_its_name() {
    let site = site(&[("server-alias", "old.example.org,*.example.net")], &[], &[], "/", 0);
    for name in ["shop.example.com", "old.example.org", "OLD.example.org:80", "a.b.example.net"] {
        let reply = site.get(name, "/");
        assert_eq!((reply.status, reply.line("host: ")), (200, Some(name)), "{name}");
    }
    assert_eq!(site.get("example.net", "/").status, 404);
    let counted = [("status", "200"), ("ingress", "shop"), ("host", "shop.example.com")];
    let counted = || site.series("nginx_ingress_controller_requests", &counted);
    // Names of clients' choice make no series.
    until("all are counted for the host", || counted() == Some(4.0));
    let hosts = site.state()["hosts"].clone();
    let mut hosts = hosts.as_array().expect("a list").iter();
    let shop = hosts.find(|host| host["name"] == "shop.example.com").expect("it is there");
    assert_eq!(shop["aliases"][1]["name"], "*.example.net");
}

#[test]
fn an_alias_has_tls_only_where_the_certificate_covers_it() {
    let aliases = [("server-alias", "covered.example.org,bare.example.org")];
    let names = ["shop.example.com", "covered.example.org"];
    let site = site(&aliases, &names, &[], "/", 0);
    let over_tls = |name: &str| {
        let (mut connection, _) = tls(site.https, name);
        let request = format!("GET / HTTP/1.1\r\nhost: {name}\r\n\r\n");
        connection.request(&request).status
    };
    assert_eq!(over_tls("covered.example.org"), 200);
    assert_eq!(over_tls("bare.example.org"), 200, "by the default certificate");
    let plain = site.get("covered.example.org", "/x");
    assert_eq!(location(&plain), (308, "https://covered.example.org/x"));
    assert_eq!(site.get("bare.example.org", "/x").status, 200);
}

#[test]
fn www_redirects_with_its_port_and_without_a_final_slash() {
    let names = ["shop.example.com", "www.shop.example.com"];
    let www = [("from-to-www-redirect", "true")];
    let site = site(&www, &names, &[], "/", free_port());
    let port = site.http.port();
    for (target, to) in [("/a?b=c", "/a?b=c"), ("/a/", "/a"), ("/", ""), ("/a?b/", "/a?b")] {
        let reply = site.get("www.shop.example.com", target);
        assert_eq!(location(&reply), (308, &*format!("http://shop.example.com:{port}{to}")));
    }
    let (mut connection, _) = tls(site.https, "www.shop.example.com");
    let reply = connection.request("GET /a HTTP/1.1\r\nhost: www.shop.example.com\r\n\r\n");
    let port = site.https.port();
    assert_eq!(location(&reply), (308, &*format!("https://shop.example.com:{port}/a")));
    let explained = site.explain("url=http://www.shop.example.com/a");
    let last = explained["stages"].as_array().and_then(|all| all.last()).expect("some");
    assert_eq!((&last["stage"], &last["status"]), (&"target".into(), &308.into()));
    assert_eq!(last["detail"], "shop.example.com");
}

#[test]
fn www_redirects_follow_what_a_trusted_balancer_says() {
    let www = [("from-to-www-redirect", "true")];
    let ask = |site: &Site, fields: &str| {
        exchange(
            site.http,
            &format!(
                "GET /a HTTP/1.1\r\nhost: www.shop.example.com\r\n{fields}connection: close\r\n\r\n"
            ),
        )
    };
    let said = "x-forwarded-proto: https\r\nx-forwarded-port: 443\r\n";
    let odd = "x-forwarded-proto: gopher\r\nx-forwarded-port: 80/evil\r\n";
    let map = [("use-forwarded-headers", "true"), ("http-redirect-code", "301")];
    let trusting = site(&www, &[], &map, "/", 0);
    let port = trusting.http.port();
    assert_eq!(location(&ask(&trusting, said)), (301, "https://shop.example.com:443/a"));
    let own = format!("http://shop.example.com:{port}/a");
    assert_eq!(location(&ask(&trusting, odd)), (301, &*own));
    let plain = site(&www, &[], &[], "/", 0);
    let own = format!("http://shop.example.com:{}/a", plain.http.port());
    assert_eq!(location(&ask(&plain, said)), (308, &*own));
}

#[test]
fn redirects_name_ports_and_hosts_as_they_are_told() {
    let with =
        |annotations: Pairs<'_>, map: Pairs<'_>| site(annotations, &[], map, "/docs/", free_port());
    let get = |site: &Site, target: &str| {
        let reply = site.get("shop.example.com:81", target);
        let text = reply.header("location").unwrap_or_default();
        text.replace(&site.http.port().to_string(), "OWN")
            .replace(&site.https.port().to_string(), "TLS")
    };
    let port = ("use-port-in-redirects", "true");
    let relative = ("relative-redirects", "true");
    let tls = ("force-ssl-redirect", "true");
    let moved = ("permanent-redirect", "/there");
    let root = ("app-root", "/docs/");
    for (annotations, target, expected) in [
        (&[][..], "/docs?a", "http://shop.example.com/docs/?a"),
        (&[port], "/docs?a", "http://shop.example.com:OWN/docs/?a"),
        (&[relative], "/docs?a", "/docs/?a"),
        (&[port, relative], "/docs", "/docs/"),
        (&[moved], "/docs/", "http://shop.example.com/there"),
        (&[moved, port], "/docs/", "http://shop.example.com:OWN/there"),
        (&[moved, relative], "/docs/", "/there"),
        (&[tls], "/docs/x", "https://shop.example.com/docs/x"),
        (&[tls, port, relative], "/docs/x", "https://shop.example.com:TLS/docs/x"),
        (&[root], "/", "http://shop.example.com:81/docs/"),
        (&[root, relative], "/", "http://shop.example.com:81/docs/"),
    ] {
        let site = with(annotations, &[]);
        assert_eq!(get(&site, target), expected, "{annotations:?}");
    }
    let by_map = with(&[], &[("use-port-in-redirects", "true")]);
    assert_eq!(get(&by_map, "/docs"), "http://shop.example.com:OWN/docs/");
    let off = with(&[("use-port-in-redirects", "false")], &[("use-port-in-redirects", "true")]);
    assert_eq!(get(&off, "/docs"), "http://shop.example.com/docs/");
}
