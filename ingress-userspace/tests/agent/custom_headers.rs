//! `custom-headers`, and variables in `proxy-set-headers` and `add-headers`.

use crate::support::{Backend, Ingress, Site, config_map, documents, exchange, service, until};

fn map(name: &str, data: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: web}}\n\
         data: {{{data}}}\n"
    )
}

fn manifests(
    annotations: &[(&str, &str)],
    data: &[(&str, &str)],
    maps: &[&str],
    shop: &Backend,
) -> String {
    let ingress = Ingress {
        name: "shop",
        annotations,
        host: "shop.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let mut parts = vec![ingress.yaml(), service("shop", &[shop.address]), config_map(data)];
    parts.extend(maps.iter().map(|&map| map.to_owned()));
    let parts: Vec<_> = parts.iter().map(String::as_str).collect();
    documents(&parts)
}

fn site(
    annotations: &[(&str, &str)],
    data: &[(&str, &str)],
    maps: &[&str],
    shop: &Backend,
) -> Site {
    let files = [("all.yaml", &*manifests(annotations, data, maps, shop))];
    Site::start_with(&files, &["--configmap=web/controller"], |_| {})
}

#[test]
fn custom_headers_are_on_every_answer_of_the_ingress() {
    let shop = Backend::echo("shop");
    let own =
        map("own", "X-Backend: ours, X-Frame-Options: DENY, X-From: \"$host for $remote_addr\"");
    let data = [("global-allowed-response-headers", "X-Backend, X-Frame-Options,X-From")];
    let annotations = [("custom-headers", "web/own")];
    let open = site(&annotations, &data, &[&own], &shop);
    let reply = open.get("shop.example.com", "/");
    assert_eq!((reply.status, reply.header("x-backend")), (200, Some("ours")));
    assert_eq!(reply.header("x-frame-options"), Some("DENY"));
    assert_eq!(reply.header("x-from"), Some("shop.example.com for 127.0.0.1"));
    assert_eq!(reply.head.to_lowercase().matches("x-backend").count(), 1);
    assert_eq!(open.get("other.example.com", "/").header("x-frame-options"), None);

    let annotations = [("custom-headers", "web/own"), ("denylist-source-range", "0.0.0.0/0")];
    let closed = site(&annotations, &data, &[&own], &shop);
    let reply = closed.get("shop.example.com", "/");
    assert_eq!((reply.status, reply.header("x-frame-options")), (403, Some("DENY")));
}

#[test]
fn nothing_is_served_without_headers_that_cannot_be_set() {
    let shop = Backend::echo("shop");
    let own = map("own", "X-A: ours");
    let annotations = [("custom-headers", "web/own")];
    let site = site(&annotations, &[("global-allowed-response-headers", "x-a")], &[&own], &shop);
    assert_eq!(site.get("shop.example.com", "/").status, 503);
    let data = [("global-allowed-response-headers", "X-A")];
    site.replace("all.yaml", &manifests(&annotations, &data, &[&own], &shop));
    until("the header is allowed", || site.get("shop.example.com", "/").status == 200);
    assert_eq!(site.get("shop.example.com", "/").header("x-a"), Some("ours"));
}

#[test]
fn values_with_variables_are_of_the_request() {
    let shop = Backend::echo("shop");
    let sent = map(
        "sent",
        "X-Ask: \"$request_method $request_uri of $http_user_agent\", X-Id: $request_id, \
         X-None: $cookie_none, X-Where: \"$namespace/$ingress_name/$service_name:$service_port\"",
    );
    let added = map("added", "X-Asked: \"$scheme://$host$request_uri\", X-Arg: $arg_x");
    let data = [("proxy-set-headers", "web/sent"), ("add-headers", "web/added")];
    let site = site(&[("rewrite-target", "/new")], &data, &[&sent, &added], &shop);
    let reply = exchange(
        site.http,
        "GET /a?x=1 HTTP/1.1\r\nhost: shop.example.com\r\nuser-agent: me\r\nx-none: forged\r\n\
         connection: close\r\n\r\n",
    );
    assert_eq!(reply.line("GET "), Some("/new?x=1 HTTP/1.1"), "{}", reply.text());
    assert_eq!(reply.line("x-ask: "), Some("GET /a?x=1 of me"));
    assert_eq!(reply.line("x-where: "), Some("web/shop/shop:80"));
    assert_eq!(reply.line("x-none: "), None);
    let id = reply.line("x-id: ").expect("an id");
    assert_eq!((id.len(), Some(id)), (32, reply.line("x-request-id: ")));
    assert_eq!(reply.header("x-asked"), Some("http://shop.example.com/a?x=1"));
    assert_eq!(reply.header("x-arg"), Some("1"));
    // Of one that is answered here.
    let none = site.get("nobody.example.com", "/b?x=2");
    assert_eq!(none.status, 404);
    assert_eq!(none.header("x-asked"), Some("http://nobody.example.com/b?x=2"));
    assert_eq!(none.header("x-arg"), Some("2"));
}
