//! How requests are forwarded: the ConfigMap's defaults, and what annotations say instead.

use std::{sync::Arc, time::Duration};

use super::{Translation, get, host, ingress, said, says, says_nothing, translate_with};
use crate::{
    model::{
        ClientLimits, Conditions, ConnectionField, FieldPolicy, HttpVersion, Protocol, Proxying,
        RedirectRewrite, Replacement, Retry, UpstreamPool,
    },
    translate::Options,
};

const PREFIX: &str = "metadata.annotations[nginx.ingress.kubernetes.io/";

fn with(data: &[(&str, &str)], annotations: &[(&str, &str)]) -> Translation {
    let options = Options {
        configmap: Some(("default".to_owned(), "controller".to_owned())),
        ..Options::default()
    };
    let mut text = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: sent}\n\
        data: {X-A: '1', x-B: '', X-Var: $host, X-Wrong: $nonsense, 'a b': c, Host: h}\n\
        ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller}\n\
        data:\n  ssl-redirect: 'true'\n"
        .to_owned();
    for (key, value) in data {
        text.push_str(&format!("  {key}: {value:?}\n"));
    }
    text += &ingress("x", annotations, "", &["a.com / Prefix web", "a.com /y Prefix api"]);
    translate_with(options, &(text + &ingress("plain", &[], "", &["b.com / Prefix web"])))
}

fn proxying(translation: &Translation, name: &str) -> Arc<Proxying> {
    Arc::clone(&host(&translation.model, name).routes[0].proxying)
}

/// What becomes of `Proxying`'s defaults by one key, said in an annotation and in the ConfigMap.
#[track_caller]
fn both(key: &str, value: &str, expected: Option<fn(&mut Proxying)>) {
    let mut wanted = Proxying::default();
    if let Some(change) = expected {
        change(&mut wanted);
    }
    for (translation, field) in [
        (with(&[], &[(key, value)]), format!("error Ingress default/x: {PREFIX}{key}]: is not")),
        (
            with(&[(key, value)], &[]),
            format!("error ConfigMap default/controller: data.{key}: is not"),
        ),
    ] {
        assert_eq!(*proxying(&translation, "a.com"), wanted, "{key}: {value}");
        match expected {
            Some(_) => says_nothing(&translation),
            None => says(&translation, &field),
        }
    }
}

#[test]
fn values_are_read_the_same_from_annotations_and_config_map() {
    let s = Duration::from_secs;
    assert_eq!(s(5), Proxying::default().connect_timeout);
    both("proxy-connect-timeout", "7", Some(|p| p.connect_timeout = Duration::from_secs(7)));
    both("proxy-send-timeout", "8", Some(|p| p.send_timeout = Duration::from_secs(8)));
    both("proxy-read-timeout", "3600", Some(|p| p.read_timeout = Duration::from_secs(3600)));
    both("proxy-body-size", "0", Some(|p| p.max_body = None));
    both("proxy-body-size", "8m", Some(|p| p.max_body = Some(8 << 20)));
    both("client-body-buffer-size", "16k", Some(|p| p.body_buffer = 16 << 10));
    both("proxy-request-buffering", "off", Some(|p| p.buffer_request = false));
    both("proxy-buffering", "on", Some(|p| p.buffer_response = true));
    both("proxy-http-version", "1.0", Some(|p| p.http_version = HttpVersion::Http10));
    both("proxy-next-upstream", "off", Some(|p| p.retry.conditions = Conditions::OFF));
    both("proxy-next-upstream", "error off", Some(|p| p.retry.conditions = Conditions::OFF));
    both(
        "proxy-next-upstream",
        "error http_502 non_idempotent",
        Some(|p| {
            p.retry.conditions =
                Conditions::ERROR.with(Conditions::HTTP_502).with(Conditions::NON_IDEMPOTENT);
        }),
    );
    both("proxy-next-upstream-tries", "1", Some(|p| p.retry.tries = 1.try_into().unwrap()));
    both("proxy-next-upstream-tries", "0", Some(|p| p.retry.tries = Retry::MOST));
    both("proxy-next-upstream-tries", "9999999999", Some(|p| p.retry.tries = Retry::MOST));
    both(
        "proxy-next-upstream-timeout",
        "10",
        Some(|p| p.retry.timeout = Some(Duration::from_secs(10))),
    );
    both("proxy-next-upstream-timeout", "0", Some(|_| {}));
    both("proxy-cookie-domain", "off", Some(|_| {}));
    both(
        "proxy-cookie-domain",
        "localhost example.org",
        Some(|p| {
            p.cookie_domain =
                Some(Replacement { from: "localhost".into(), to: "example.org".into() });
        }),
    );
    both(
        "proxy-cookie-path",
        "/two/ /",
        Some(|p| p.cookie_path = Some(Replacement { from: "/two/".into(), to: "/".into() })),
    );
    both("proxy-redirect-from", "default", Some(|p| p.redirect = RedirectRewrite::Default));
    both("proxy-redirect-from", "off", Some(|_| {}));
}

#[test]
fn wrong_values_keep_the_default_and_are_said() {
    for (key, values) in [
        ("proxy-connect-timeout", &["60s", "0", "-1", "", "1.5", "ten"][..]),
        ("proxy-send-timeout", &["1m"]),
        ("proxy-read-timeout", &["99999999999"]),
        ("proxy-body-size", &["8mb", "unlimited", "-1", ""]),
        ("proxy-request-buffering", &["true", "On", ""]),
        ("proxy-buffering", &["false"]),
        ("proxy-http-version", &["2", "1"]),
        ("proxy-next-upstream", &["", "errors", "error,timeout", "http_501"]),
        ("proxy-next-upstream-tries", &["-1", "many", "3.0"]),
        ("proxy-next-upstream-timeout", &["1s"]),
        ("proxy-cookie-domain", &["one", "a b c", "~^(.+)$ b", "a $host"]),
        ("proxy-cookie-path", &["", "/ /;$x"]),
        ("proxy-redirect-from", &["", "~*x", "http://$host/"]),
    ] {
        for value in values {
            both(key, value, None);
        }
    }
}

#[test]
fn what_only_annotations_say() {
    for (protocol, expected) in [
        ("http", Protocol::Http),
        ("HTTPS", Protocol::Https),
        ("auto_http", Protocol::AutoHttp),
        ("GRPC", Protocol::Grpc),
        ("grpcs", Protocol::Grpcs),
        ("FCGI", Protocol::Fcgi),
    ] {
        let translation = with(&[], &[("backend-protocol", protocol)]);
        let proxying = proxying(&translation, "a.com");
        assert_eq!(proxying.protocol, expected);
        assert_eq!(proxying.tls.is_some(), expected.may_use_tls(), "{protocol}");
        says_nothing(&translation);
    }
    for host in ["internal", "a.b-c.example:8080", "10.0.0.1", "[::1]:80"] {
        let translation = with(&[], &[("upstream-vhost", host)]);
        let own = proxying(&translation, "a.com").host.clone().expect("a host");
        assert_eq!(own.literal(), Some(host));
        says_nothing(&translation);
    }
    // As the documentation of others has people write it.
    for host in ["$host", "$http_host", "$service_name.$namespace.svc.cluster.local:$service_port"]
    {
        let translation = with(&[], &[("upstream-vhost", host)]);
        assert!(proxying(&translation, "a.com").host.is_some(), "{host}");
        says_nothing(&translation);
    }
    for bad in [
        "",
        "a b",
        "a:0",
        "a:65536",
        "a:80:80",
        "[::1",
        "a/b",
        "a\\r\\nX: y",
        "$",
        "${host",
        "$1.a",
        "$nonsense.a",
        "$binary_remote_addr",
        "$host/a",
        "$host:$service_port:80",
    ] {
        let translation = with(&[], &[("upstream-vhost", bad)]);
        assert_eq!(get(&translation, "a.com/"), "503 nginx.ingress.kubernetes.io/upstream-vhost");
        assert_eq!(get(&translation, "b.com/"), "web");
    }
    let close = with(&[], &[("connection-proxy-header", "close")]);
    assert_eq!(proxying(&close, "a.com").connection, Some(ConnectionField::Close));
    let prefix = [("x-forwarded-prefix", "/app"), ("rewrite-target", "/x")];
    assert_eq!(proxying(&with(&[], &prefix), "a.com").forwarded_prefix.as_deref(), Some("/app"));
    let useless = with(&[], &prefix[..1]);
    assert_eq!(proxying(&useless, "a.com").forwarded_prefix, None);
    says(&useless, "x-forwarded-prefix]: has no effect without rewrite-target");
}

#[test]
fn redirects_are_rewritten_only_by_both_keys() {
    let keys = |from: &'static str, to: &'static str| {
        [("proxy-redirect-from", from), ("proxy-redirect-to", to)]
    };
    let of = |data: &[(&str, &str)], annotations: &[(&str, &str)]| {
        proxying(&with(data, annotations), "a.com").redirect.clone()
    };
    let replaced = |from: &str, to: &str| {
        RedirectRewrite::Replace(Replacement { from: from.into(), to: to.into() })
    };
    let both = keys("http://web/", "https://a.com/");
    assert_eq!(of(&[], &both), replaced("http://web/", "https://a.com/"));
    assert_eq!(of(&both, &[]), replaced("http://web/", "https://a.com/"));
    assert_eq!(of(&both, &[("proxy-redirect-to", "/")]), replaced("http://web/", "/"));
    assert_eq!(of(&both, &[("proxy-redirect-from", "off")]), RedirectRewrite::Off);
    assert_eq!(of(&[], &both[1..]), RedirectRewrite::Off);
    assert_eq!(of(&[], &both[..1]), RedirectRewrite::Off);
    says(&with(&[], &both[..1]), "proxy-redirect-from]: has no effect without proxy-redirect-to");
}

#[test]
fn annotations_come_before_the_config_map() {
    let data = [("proxy-read-timeout", "10"), ("proxy-send-timeout", "20")];
    let translation = with(&data, &[("proxy-read-timeout", "30")]);
    let (own, plain) = (proxying(&translation, "a.com"), proxying(&translation, "b.com"));
    assert_eq!((own.read_timeout.as_secs(), own.send_timeout.as_secs()), (30, 20));
    assert_eq!((plain.read_timeout.as_secs(), plain.send_timeout.as_secs()), (10, 20));
    let wrong = with(&data, &[("proxy-read-timeout", "30s")]);
    assert_eq!(proxying(&wrong, "a.com").read_timeout.as_secs(), 10);
}

#[test]
fn repeating_what_cannot_be_repeated_is_added_to_every_ingress() {
    let data = [("retry-non-idempotent", "true")];
    let translation = with(&data, &[("proxy-next-upstream", "http_503")]);
    let expected = Conditions::HTTP_503.with(Conditions::NON_IDEMPOTENT);
    assert_eq!(proxying(&translation, "a.com").retry.conditions, expected);
    let plain = proxying(&translation, "b.com").retry.conditions;
    assert!(plain.contains(Conditions::NON_IDEMPOTENT.with(Conditions::ERROR)));
}

#[test]
fn conditions_know_their_status() {
    let some = Conditions::HTTP_503.with(Conditions::HTTP_429).with(Conditions::ERROR);
    for (status, contained) in [(503, true), (429, true), (502, false), (200, false), (404, false)]
    {
        assert_eq!(some.contains_status(status), contained, "{status}");
    }
}

#[test]
fn routes_with_the_same_values_share_them() {
    let translation = with(&[], &[("proxy-read-timeout", "60")]);
    let [one, two] = ["a.com", "b.com"].map(|name| proxying(&translation, name));
    assert!(Arc::ptr_eq(&one, &two));
    let translation = with(&[], &[("backend-protocol", "HTTPS")]);
    let routes = &host(&translation.model, "a.com").routes;
    assert!(Arc::ptr_eq(&routes[0].proxying, &routes[1].proxying));
}

#[test]
fn what_there_is_nothing_to_do_for_says_why() {
    let translation = with(&[("client-header-buffer-size", "1k")], &[("proxy-buffer-size", "16k")]);
    says(&translation, "data.client-header-buffer-size: has no effect: a connection borrows");
    says(&translation, "proxy-buffer-size]: has no effect: heads of answers may have 32 KiB");
}

#[test]
fn connections_are_as_the_config_map_says() {
    let defaults = with(&[], &[]).model.settings.clone();
    assert_eq!(defaults.client, ClientLimits::default());
    assert_eq!(defaults.pool, UpstreamPool::default());
    let translation = with(
        &[
            ("use-http2", "false"),
            ("keep-alive", "0"),
            ("keep-alive-requests", "10"),
            ("client-header-timeout", "1"),
            ("client-body-timeout", "2"),
            ("large-client-header-buffers", "2 4k"),
            ("http2-max-concurrent-streams", "16"),
            ("upstream-keepalive-connections", "0"),
            ("upstream-keepalive-timeout", "3"),
            ("upstream-keepalive-requests", "4"),
            ("upstream-keepalive-time", "1h 30m"),
        ],
        &[],
    );
    says_nothing(&translation);
    let client = ClientLimits {
        http2: false,
        keep_alive: None,
        keep_alive_requests: 10,
        header_timeout: Duration::from_secs(1),
        body_timeout: Duration::from_secs(2),
        header_line: 4096,
        header_total: 8192,
        http2_streams: 16,
    };
    assert_eq!(translation.model.settings.client, client);
    let pool = UpstreamPool {
        connections: 0,
        timeout: Duration::from_secs(3),
        requests: 4,
        time: Duration::from_secs(5400),
    };
    assert_eq!(translation.model.settings.pool, pool);
}

#[test]
fn wrong_connection_settings_keep_the_default() {
    for (key, value) in [
        ("use-http2", "on"),
        ("keep-alive", "75s"),
        ("keep-alive-requests", "0"),
        ("client-header-timeout", "0"),
        ("client-body-timeout", "1m"),
        ("large-client-header-buffers", "8k"),
        ("large-client-header-buffers", "0 8k"),
        ("large-client-header-buffers", "4 1"),
        ("http2-max-concurrent-streams", "-1"),
        ("upstream-keepalive-connections", "lots"),
        ("upstream-keepalive-timeout", "1h"),
        ("upstream-keepalive-requests", "0"),
        ("upstream-keepalive-time", "0"),
        ("forwarded-for-header", "a b"),
        ("enable-real-ip", "yes"),
    ] {
        let translation = with(&[(key, value)], &[]);
        assert_eq!(translation.model.settings, with(&[], &[]).model.settings, "{key}: {value}");
        let text = format!("error ConfigMap default/controller: data.{key}: is not ");
        assert!(said(&translation).contains(&text), "{key}: {value}\n{}", said(&translation));
    }
    let large = with(&[("large-client-header-buffers", "8 64k")], &[]);
    let client = &large.model.settings.client;
    assert_eq!((client.header_line, client.header_total), (32 * 1024, 32 * 1024));
    says(&large, "data.large-client-header-buffers: is more than 32 KiB in all");
}

#[test]
fn fields_are_set_and_hidden_as_the_config_map_says() {
    assert_eq!(with(&[], &[]).model.settings.fields, FieldPolicy::default());
    let translation = with(
        &[
            ("enable-underscores-in-headers", "true"),
            ("ignore-invalid-headers", "false"),
            ("generate-request-id", "false"),
            ("proxy-add-original-uri-header", "true"),
            ("server-tokens", "true"),
            ("hide-headers", "X-Powered-By, Server,bad name"),
            ("proxy-set-headers", "default/sent"),
            ("add-headers", "default/missing"),
        ],
        &[],
    );
    let fields = &translation.model.settings.fields;
    assert!(fields.underscores && !fields.drop_invalid && !fields.request_id);
    assert!(fields.original_uri && fields.server);
    let hidden: Vec<_> = fields.hidden.iter().map(|name| &**name).collect();
    assert_eq!(hidden, ["x-powered-by", "server"]);
    let set: Vec<_> =
        fields.to_upstream.iter().map(|set| (&*set.name, set.value.literal())).collect();
    assert_eq!(
        set,
        [("X-A", Some("1")), ("X-Var", None), ("X-Wrong", Some("")), ("x-B", Some(""))]
    );
    assert!(fields.to_client.is_empty());
    for text in [
        "data.hide-headers: `bad name` is no name of a header",
        "data.proxy-set-headers: `X-Wrong` of ConfigMap default/sent has a variable: `$nonsense` is not known",
        "data.proxy-set-headers: `a b` of ConfigMap default/sent is no name",
        "data.proxy-set-headers: `Host` of ConfigMap default/sent is written by the proxy itself",
        "data.add-headers: ConfigMap default/missing does not exist",
    ] {
        says(&translation, text);
    }
    says(&with(&[("add-headers", "sent")], &[]), "data.add-headers: is not `namespace/name`");
}
