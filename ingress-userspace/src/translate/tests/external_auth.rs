//! Reference sections 1.3 and 8.1: who is asked, and that nothing that cannot be read lets anybody
//! pass.

use std::{sync::Arc, time::Duration};

use http::Method;

use super::{Translation, get, host, ingress, said, says, says_nothing, translate, translate_with};
use crate::{
    model::{AuthHost, AuthScheme, ExternalAuth, HostName, Piece, Policies, Text},
    translate::Options,
};

const PREFIX: &str = "nginx.ingress.kubernetes.io";
const URL: (&str, &str) = ("auth-url", "https://auth.example.com/verify");

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// With these annotations at three kinds of host, and what else there is.
fn with(annotations: Pairs<'_>, more: &str) -> Translation {
    let rules = ["a.com / Prefix web", "*.b.com / Prefix web", "- /any Prefix web"];
    translate(&(ingress("guarded", annotations, "", &rules) + more))
}

/// With the controller's ConfigMap.
fn with_map(data: Pairs<'_>, annotations: Pairs<'_>) -> Translation {
    let mut map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller}\ndata:\n  \
                   server-tokens: \"false\"\n"
        .to_owned();
    for (key, value) in data {
        map.push_str(&format!("  {key}: {value:?}\n"));
    }
    let options = Options {
        configmap: Some(("default".to_owned(), "controller".to_owned())),
        default_backend_service: Some(("default".to_owned(), "fallback".to_owned())),
        ..Options::default()
    };
    let rules = ["a.com / Prefix web", "a.com /.well-known/acme-challenge/x Prefix api"];
    translate_with(options, &(ingress("guarded", annotations, "", &rules) + &map))
}

fn policies(translation: &Translation, name: &str, path: &str) -> Option<Arc<Policies>> {
    let host = host(&translation.model, name);
    let route = host.routes.iter().find(|route| &*route.path == path).expect("a route");
    route.policies.clone()
}

fn auth(translation: &Translation) -> Arc<ExternalAuth> {
    let policies = policies(translation, "a.com", "/").expect("policies");
    policies.external.clone().expect("external authentication")
}

fn text(text: &str) -> Text {
    crate::translate::text::parse(text).expect("a text")
}

#[test]
fn all_that_an_ingress_says_is_understood() {
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n\
               data: {X-Site: 'here $host', X-None: ''}\n";
    let translation = with(
        &[
            ("auth-url", "http://auth.example.com:4180/verify?for=$request_uri"),
            ("auth-signin", "https://$host/start"),
            ("auth-signin-redirect-param", "back"),
            ("auth-method", "POST"),
            ("auth-response-headers", "X-User, x_groups,"),
            ("auth-proxy-set-headers", "default/extra"),
            ("auth-request-redirect", "https://$host$request_uri"),
            ("auth-cache-key", "$remote_addr$cookie_session"),
            ("auth-cache-duration", "200 202 10m, 401 5s, 0s, 1h"),
            ("auth-always-set-cookie", "true"),
            ("auth-keepalive", "8"),
        ],
        map,
    );
    says_nothing(&translation);
    assert_eq!(get(&translation, "a.com/"), "web");
    let auth = auth(&translation);
    assert_eq!(auth.server.scheme, AuthScheme::Http);
    assert_eq!(auth.server.host, AuthHost::Name("auth.example.com".into()));
    assert_eq!(auth.server.port, Some(4180));
    assert_eq!(auth.target, text("/verify?for=$request_uri"));
    let signin = auth.signin.as_ref().unwrap();
    assert_eq!(signin.url, text("https://$host/start"));
    assert_eq!(signin.parameter.as_deref(), Some("?back="));
    assert_eq!(auth.method, Some(Method::POST));
    assert_eq!(*auth.response_headers, ["X-User".into(), "x_groups".into()]);
    let none: Arc<str> = "X-None".into();
    assert_eq!(
        *auth.request_headers,
        [(none, Text::default()), ("X-Site".into(), text("here $host"))]
    );
    assert_eq!(auth.request_redirect, Some(text("https://$host$request_uri")));
    let cache = auth.cache.as_ref().unwrap();
    assert_eq!(cache.key, text("$remote_addr$cookie_session"));
    for (status, duration) in [(200, Some(600)), (401, Some(5)), (301, Some(0)), (403, None)] {
        assert_eq!(cache.duration(status), duration.map(Duration::from_secs), "{status}");
    }
    assert!(auth.always_set_cookie);
    assert!(!auth.only_200, "use-http2 is on");
}

#[test]
fn an_ingress_that_says_only_who_has_the_defaults() {
    let auth = auth(&with(&[URL], ""));
    assert_eq!(auth.server.scheme, AuthScheme::Https);
    assert_eq!((auth.server.port, &auth.target), (None, &text("/verify")));
    assert!(auth.method.is_none() && auth.signin.is_none() && auth.cache.is_none());
    assert!(auth.request_redirect.is_none() && !auth.always_set_cookie && !auth.only_200);
    let keyed = self::auth(&with(&[URL, ("auth-cache-key", "$host")], ""));
    let cache = keyed.cache.as_ref().unwrap();
    let five_minutes = Some(Duration::from_secs(300));
    for (status, duration) in [(200, five_minutes), (202, five_minutes), (401, five_minutes)] {
        assert_eq!(cache.duration(status), duration);
    }
    assert_eq!(cache.duration(204), None);
}

#[test]
fn a_url_without_path_asks_for_the_root() {
    for (url, target) in [
        ("http://auth.example.com", "/"),
        ("http://auth.example.com?a=b", "/?a=b"),
        ("http://auth.example.com/", "/"),
    ] {
        assert_eq!(auth(&with(&[("auth-url", url)], "")).target, text(target), "{url}");
    }
}

#[test]
fn nothing_that_cannot_be_read_lets_anybody_pass() {
    for (key, value, why) in [
        ("auth-url", "", "is not a URL"),
        ("auth-url", "auth.example.com/verify", "does not begin with"),
        ("auth-url", "ftp://auth.example.com", "does not begin with"),
        ("auth-url", "http://auth.example.com/;x", "is not a URL"),
        ("auth-url", "http://auth.example.com/\nx", "is not a URL"),
        ("auth-url", "http://user@auth.example.com/", "is not a URL"),
        ("auth-url", "http:///verify", "has no host"),
        ("auth-url", "http://:80/verify", "has no host"),
        ("auth-url", "http://auth..example.com/", "which is no name"),
        ("auth-url", "http://auth~/", "which is no name"),
        ("auth-url", "http://auth:0/", "port that is not between"),
        ("auth-url", "http://auth:65536/", "port that is not between"),
        ("auth-url", "http://auth:80:80/", "port that is not between"),
        ("auth-url", "http://auth/$nonsense", "`$nonsense` is not known"),
        ("auth-url", "http://auth/$http_cookie", "may not stand in a URL"),
        ("auth-url", "http://auth/$uri", "may not stand in a URL"),
        ("auth-url", "http://$http_x_host/", "another variable than `$host`"),
        ("auth-url", "http://$remote_addr/", "another variable than `$host`"),
        ("auth-url", "http://auth.example.com:$server_port/", "port that is not"),
        ("auth-url", "http://127.0.0.1/", "is this node itself"),
        ("auth-url", "http://0.0.0.0/", "is this node itself"),
        ("auth-url", "http://localhost:8080/", "is this node itself"),
        ("auth-method", "get", "is not `GET`"),
        ("auth-method", "TRACE", "is not `GET`"),
        ("auth-method", "", "is not `GET`"),
        ("auth-response-headers", "X User", "is not a comma list of names"),
        ("auth-response-headers", "X-User;x", "is not a comma list of names"),
        ("auth-response-headers", "X-User,Content-Length", "is not a comma list of names"),
        ("auth-response-headers", "host", "is not a comma list of names"),
        ("auth-proxy-set-headers", "default/missing", "default/missing does not exist"),
        ("auth-proxy-set-headers", "missing", "default/missing does not exist"),
        ("auth-proxy-set-headers", "other/map", "is of another namespace"),
        ("auth-proxy-set-headers", "", "does not exist"),
        ("auth-proxy-set-headers", "variable", "`$nonsense` is not known"),
        ("auth-proxy-set-headers", "octets", "which is no text"),
        ("auth-proxy-set-headers", "ours", "is written by the proxy itself"),
        ("auth-request-redirect", "", "is not a URL or path"),
        ("auth-request-redirect", "/x y", "is not a URL or path"),
        ("auth-request-redirect", "/$nonsense", "is not a URL or path"),
        ("auth-request-redirect", "/$binary_remote_addr", "is not a URL or path"),
        ("auth-cache-duration", "200", "is not a comma list of statuses"),
        ("auth-cache-duration", "5m 200", "is not a comma list of statuses"),
        ("auth-cache-duration", "any 5m", "is not a comma list of statuses"),
        ("auth-cache-duration", "99 5m", "is not a comma list of statuses"),
        ("auth-cache-duration", "200 5x", "is not a comma list of statuses"),
        ("auth-cache-duration", "", "is not a comma list of statuses"),
        ("auth-always-set-cookie", "perhaps", "is not `true` or `false`"),
    ] {
        let maps: String = [("variable", "X: $nonsense"), ("octets", "X: $binary_remote_addr")]
            .into_iter()
            .chain([("ours", "Host: x")])
            .map(|(name, data)| {
                let kind = "---\napiVersion: v1\nkind: ConfigMap";
                format!("{kind}\nmetadata: {{name: {name}}}\ndata: {{{data}}}\n")
            })
            .collect();
        let annotations = if key == "auth-url" { vec![] } else { vec![URL] };
        let annotations = [&annotations[..], &[(key, value)]].concat();
        let text = maps + &ingress("open", &[], "", &["open.com / Prefix api"]);
        let translation = with(&annotations, &text);
        let denied = format!("503 {PREFIX}/{key}");
        for url in ["a.com/", "x.b.com/", "other.com/any"] {
            assert_eq!(get(&translation, url), denied, "{key}: {value}");
        }
        assert_eq!(get(&translation, "open.com/"), "api");
        let field =
            format!("error Ingress default/guarded: metadata.annotations[{PREFIX}/{key}]: ");
        says(&translation, &field);
        says(&translation, why);
    }
}

#[test]
fn what_only_makes_an_answer_kinder_is_dropped() {
    for (key, value, why) in [
        ("auth-signin", "", "the answer stays 401"),
        ("auth-signin", "/start", "the answer stays 401"),
        ("auth-signin", "https:///start", "the answer stays 401"),
        ("auth-signin", "https://a.com/{x}", "the answer stays 401"),
        ("auth-signin", "https://a.com/$nonsense", "the answer stays 401"),
        ("auth-signin", "https://a.com/$http_cookie", "the answer stays 401"),
        ("auth-signin-redirect-param", "r d", "the default applies"),
        ("auth-cache-key", "$nonsense", "nothing is kept"),
        ("auth-keepalive", "some", "the default applies"),
        ("enable-global-auth", "perhaps", "the default applies"),
    ] {
        let translation = with(&[URL, (key, value)], "");
        assert_eq!(get(&translation, "a.com/"), "web", "{key}: {value}");
        says(
            &translation,
            &format!("error Ingress default/guarded: metadata.annotations[{PREFIX}/{key}]"),
        );
        says(&translation, why);
        assert_eq!(*auth(&translation), *auth(&with(&[URL], "")), "{key}: {value}");
    }
}

#[test]
fn the_place_of_the_original_url_depends_on_the_query() {
    for (url, parameter) in [
        ("https://a.com/start", Some("?rd=")),
        ("https://a.com/start?", Some("rd=")),
        ("https://a.com/start?x=y", Some("&rd=")),
        ("https://a.com/start?ord=y", Some("&rd=")),
        ("https://a.com/start?rd=", Some("&rd=")),
        ("https://a.com/start?x=y&rd=$escaped_request_uri", None),
    ] {
        let auth = auth(&with(&[URL, ("auth-signin", url)], ""));
        assert_eq!(auth.signin.as_ref().unwrap().parameter.as_deref(), parameter, "{url}");
    }
}

#[test]
fn a_service_of_the_cluster_is_asked_at_its_endpoints() {
    for name in
        ["api.default.svc.cluster.local", "api.default.svc", "API.default.svc.cluster.local."]
    {
        let url = format!("http://{name}/verify");
        let translation = with(&[("auth-url", &url)], "");
        says_nothing(&translation);
        match &auth(&translation).server.host {
            AuthHost::Service(id, own) => {
                let backend = &translation.model.backends[id.0 as usize];
                assert_eq!(backend.key.to_string(), "default-api-80");
                assert_eq!(backend.endpoints.len(), 1);
                assert_eq!(**own, *name.to_ascii_lowercase());
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let translation = with(&[("auth-url", "http://none.default.svc:81/")], "");
    assert_eq!(get(&translation, "a.com/"), "web");
    let place = format!("warning Ingress default/guarded: metadata.annotations[{PREFIX}/auth-url]");
    says(
        &translation,
        &format!("{place}: Service default/none does not exist; its name is looked up in the DNS"),
    );
    // Names of more parts are of pods.
    let url = ("auth-url", "http://pod-0.api.default.svc.cluster.local/");
    assert!(matches!(auth(&with(&[url], "")).server.host, AuthHost::Name(_)));
}

#[test]
fn the_host_of_the_request_is_one_that_clients_do_not_choose_freely() {
    for url in ["https://$host/verify", "https://$http_host/verify", "$scheme://$host/verify"] {
        let translation = with(&[("auth-url", url)], "");
        assert_eq!(auth(&translation).server.host, AuthHost::Name("a.com".into()), "{url}");
        let beneath = policies(&translation, "*.b.com", "/").unwrap();
        assert_eq!(beneath.external.as_ref().unwrap().server.host, AuthHost::OfRequest, "{url}");
        assert_eq!(get(&translation, "other.com/any"), format!("503 {PREFIX}/auth-url"), "{url}");
        assert_eq!(get(&translation, "other.com/"), "404");
        says(&translation, "clients choose freely where no host is named");
    }
    let translation = with(&[("auth-url", "https://auth.$host/")], "");
    assert_eq!(auth(&translation).server.host, AuthHost::Name("auth.a.com".into()));
    assert_eq!(get(&translation, "x.b.com/"), format!("503 {PREFIX}/auth-url"));
    let translation = with(&[("auth-url", "https://$server_name/")], "");
    assert_eq!(auth(&translation).server.host, AuthHost::Name("a.com".into()));
    assert_eq!(get(&translation, "x.b.com/"), format!("503 {PREFIX}/auth-url"));
}

#[test]
fn keys_without_a_url_do_nothing_and_say_so() {
    for key in ["auth-signin", "auth-response-headers", "auth-always-set-cookie"] {
        let translation = with(&[(key, "x")], "");
        assert_eq!(get(&translation, "a.com/"), "web");
        assert_eq!(policies(&translation, "a.com", "/"), None);
        says(&translation, &format!("{key}]: has no effect without auth-url"));
    }
    let translation = with(&[URL, ("auth-keepalive-timeout", "5")], "");
    says(&translation, "auth-keepalive-timeout]: has no effect: connections to the server");
}

#[test]
fn keepalive_that_is_in_effect_wants_200() {
    let off = ("use-http2", "false");
    let strict = |map: Pairs<'_>, annotations: Pairs<'_>| {
        auth(&with_map(map, &[&[URL], annotations].concat())).only_200
    };
    assert!(strict(&[off], &[("auth-keepalive", "8")]));
    assert!(!strict(&[off], &[("auth-keepalive", "0")]));
    assert!(!strict(&[], &[("auth-keepalive", "8")]));
    let with_host = [("auth-url", "https://$host/"), ("auth-keepalive", "8")];
    assert!(!auth(&with_map(&[off], &with_host)).only_200);
}

#[test]
fn the_config_map_protects_whoever_is_not_exempt() {
    let data = [
        ("global-auth-url", "https://sso.example.com/verify"),
        ("global-auth-method", "HEAD"),
        ("global-auth-signin", "https://sso.example.com/start"),
        ("global-auth-signin-redirect-param", "back"),
        ("global-auth-response-headers", "X-User"),
        ("global-auth-request-redirect", "/here"),
        ("global-auth-cache-key", "$http_authorization"),
        ("global-auth-cache-duration", "200 1m"),
        ("global-auth-always-set-cookie", "true"),
    ];
    for annotations in [&[][..], &[("enable-global-auth", "true")], &[("enable-global-auth", "x")]]
    {
        let translation = with_map(&data, annotations);
        let auth = auth(&translation);
        assert_eq!(auth.server.host, AuthHost::Name("sso.example.com".into()));
        assert_eq!(auth.method, Some(Method::HEAD));
        assert_eq!(auth.signin.as_ref().unwrap().parameter.as_deref(), Some("?back="));
        assert_eq!(*auth.response_headers, ["X-User".into()]);
        assert_eq!(auth.request_redirect, Some(text("/here")));
        let cache = auth.cache.as_ref().unwrap();
        assert_eq!(cache.key, text("$http_authorization"));
        assert_eq!(*cache.durations, [(200, Duration::from_secs(60))]);
        assert!(auth.always_set_cookie);
        // The global default backend too.
        assert!(policies(&translation, "-", "/").unwrap().external.is_some());
    }
    says_nothing(&with_map(&data, &[]));
    let exempt = with_map(&data, &[("enable-global-auth", "false")]);
    assert_eq!(policies(&exempt, "a.com", "/"), None);
    let own = with_map(&data, &[URL]);
    assert_eq!(auth(&own).server.host, AuthHost::Name("auth.example.com".into()));
    assert!(auth(&own).signin.is_none(), "nothing of the global one is mixed in");
    assert_eq!(policies(&with_map(&[("global-auth-url", "")], &[]), "a.com", "/"), None);
}

#[test]
fn global_authentication_that_cannot_be_read_denies_whoever_is_not_exempt() {
    let url = ("global-auth-url", "https://sso.example.com/");
    for (map, key) in [
        (&[("global-auth-url", "sso")][..], "global-auth-url"),
        (&[url, ("global-auth-response-headers", "a b")], "global-auth-response-headers"),
        (&[url, ("global-auth-cache-duration", "200")], "global-auth-cache-duration"),
    ] {
        let denied = format!("503 {key}");
        let translation = with_map(map, &[]);
        assert_eq!(get(&translation, "a.com/"), denied);
        assert_eq!(get(&translation, "unknown.com/"), denied);
        says(&translation, &format!("error ConfigMap default/controller: data.{key}: "));
        says(&translation, "every Ingress answers 503 that has neither `auth-url` nor");
        assert_eq!(get(&with_map(map, &[("enable-global-auth", "false")]), "a.com/"), "web");
        assert_eq!(get(&with_map(map, &[URL]), "a.com/"), "web");
    }
    for (key, value) in [
        ("global-auth-method", "x"),
        ("global-auth-signin", "x"),
        ("global-auth-signin-redirect-param", "a b"),
        ("global-auth-request-redirect", "a b"),
        ("global-auth-cache-key", "$nonsense"),
        ("global-auth-always-set-cookie", "x"),
    ] {
        let translation = with_map(&[url, (key, value)], &[]);
        says(&translation, &format!("error ConfigMap default/controller: data.{key}: "));
        assert_eq!(*auth(&translation), *auth(&with_map(&[url], &[])), "{key}");
    }
    let of_request = with_map(&[("global-auth-url", "https://$host/")], &[]);
    assert_eq!(get(&of_request, "a.com/"), "web");
    assert_eq!(get(&of_request, "unknown.com/"), "503 global-auth-url");
}

#[test]
fn exempt_paths_ask_nobody() {
    const ACME: &str = "/.well-known/acme-challenge/x";
    let global = ("global-auth-url", "https://sso.example.com/");
    for (map, annotations) in [(&[][..], &[URL][..]), (&[global], &[])] {
        let translation = with_map(map, annotations);
        assert_eq!(policies(&translation, "a.com", ACME), None);
        assert!(policies(&translation, "a.com", "/").is_some());
    }
    let others = with_map(&[("no-auth-locations", "/x, /y")], &[URL]);
    assert!(policies(&others, "a.com", ACME).is_some());
    let all = with_map(&[("no-auth-locations", "/")], &[URL]);
    assert_eq!(policies(&all, "a.com", "/"), None);
    let none = with_map(&[("no-auth-locations", "")], &[URL]);
    assert!(policies(&none, "a.com", ACME).is_some());
    assert_eq!(said(&none), "");
    // What is no authentication stays.
    let sources = ("whitelist-source-range", "10.0.0.0/8");
    let policies = policies(&with_map(&[], &[URL, sources]), "a.com", ACME).unwrap();
    assert!(policies.external.is_none() && policies.sources.is_some());
}

#[test]
fn a_text_of_the_request_is_cut_once() {
    let auth = auth(&with(&[("auth-url", "https://a.com/$request_uri/x")], ""));
    assert_eq!(auth.target.pieces.len(), 3);
    assert_eq!(auth.target.pieces.first(), Some(&Piece::Text("/".into())));
}

#[test]
fn pages_for_errors_leave_the_default_backend_as_protected_as_it_was() {
    let data = [
        ("global-auth-url", "http://auth.example.com/ask"),
        ("block-cidrs", "9.9.9.9/32"),
        ("custom-http-errors", "404"),
    ];
    let translation = with_map(&data, &[]);
    let hosts = &translation.model.hosts;
    let any = hosts.iter().find(|host| host.name == HostName::CatchAll).expect("it is there");
    let policies = any.routes[0].policies.as_deref().expect("policies");
    assert!(policies.errors.is_some(), "{policies:?}");
    assert!(policies.external.is_some(), "{policies:?}");
    assert!(policies.sources.is_some(), "{policies:?}");
}
