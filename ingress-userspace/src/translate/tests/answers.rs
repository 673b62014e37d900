//! Error pages and compression (reference sections 5.7 and 9.1).

use super::{Options, Translation, get, host, ingress, says, says_nothing, translate_with};
use crate::model::{BackendId, Compression, ErrorPages};

const SHOP: [&str; 1] = ["a.com /x Prefix web"];

fn with(data: &[(&str, &str)], annotations: &[(&str, &str)], global: bool) -> Translation {
    let options = Options {
        configmap: Some(("default".to_owned(), "controller".to_owned())),
        default_backend_service: global.then(|| ("default".to_owned(), "fallback".to_owned())),
        ..Options::default()
    };
    let mut text = ingress("shop", annotations, "", &SHOP)
        + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller}\n\
           data:\n  ssl-redirect: 'true'\n";
    for (key, value) in data {
        text.push_str(&format!("  {key}: {value:?}\n"));
    }
    translate_with(options, &text)
}

fn pages(translation: &Translation, of: &str, path: &str) -> Option<ErrorPages> {
    let host = host(&translation.model, of);
    let route = host.routes.iter().find(|route| &*route.path == path).expect("it is there");
    route.policies.as_ref().and_then(|policies| policies.errors.clone())
}

fn service(translation: &Translation, id: Option<BackendId>) -> Option<String> {
    id.map(|id| translation.model.backends[id.0 as usize].key.to_string())
}

fn field(key: &str) -> String {
    format!("Ingress default/shop: metadata.annotations[nginx.ingress.kubernetes.io/{key}]: ")
}

#[test]
fn errors_are_replaced_by_whom_the_annotations_name() {
    let annotations = [
        ("custom-http-errors", "503, 404,404"),
        ("default-backend", "api"),
        ("disable-proxy-intercept-errors", "true"),
    ];
    let translation = with(&[("custom-http-errors", "500")], &annotations, true);
    says_nothing(&translation);
    let pages = pages(&translation, "a.com", "/x").expect("some");
    assert_eq!(*pages.statuses, [404, 503]);
    assert!(pages.own_only);
    assert_eq!(service(&translation, pages.own).as_deref(), Some("default-api-80"));
    assert_eq!(service(&translation, pages.global).as_deref(), Some("default-fallback-80"));
}

#[test]
fn the_config_map_says_whose_errors_are_replaced_and_how_redirects_look() {
    let data = [("custom-http-errors", "404"), ("disable-proxy-intercept-errors", "true")];
    let translation = with(&data, &[], true);
    says_nothing(&translation);
    for (host, path) in [("a.com", "/x"), ("a.com", "/"), ("-", "/")] {
        assert!(pages(&translation, host, path).expect("some").own_only, "{host}{path}");
    }
    let relative = |data: &[(&str, &str)], annotations: &[(&str, &str)]| {
        let translation = with(data, annotations, true);
        host(&translation.model, "a.com").routes[0].redirect_form.relative
    };
    assert!(relative(&[("relative-redirects", "true")], &[]) && !relative(&[], &[]));
    assert!(!relative(&[("relative-redirects", "true")], &[("relative-redirects", "false")]));
    let translation = with(&data, &[("disable-proxy-intercept-errors", "false")], true);
    assert!(!pages(&translation, "a.com", "/x").expect("some").own_only);
}

#[test]
fn the_config_map_speaks_for_who_says_nothing() {
    let translation = with(&[("custom-http-errors", "404,500")], &[], true);
    says_nothing(&translation);
    for (host, path) in [("a.com", "/x"), ("a.com", "/"), ("-", "/")] {
        let pages = pages(&translation, host, path).expect("some");
        assert_eq!((&*pages.statuses, pages.own_only, pages.own), (&[404, 500][..], false, None));
        assert_eq!(service(&translation, pages.global).as_deref(), Some("default-fallback-80"));
    }
    // nginx inherits no error page where there is one, which `auth-signin` makes.
    let signin = [("auth-signin", "https://a.example/start")];
    let translation = with(&[("custom-http-errors", "404,500")], &signin, true);
    assert_eq!(pages(&translation, "a.com", "/x"), None);
}

#[test]
fn nothing_is_replaced_where_nobody_can_be_asked() {
    let translation = with(&[], &[("custom-http-errors", "404")], false);
    assert_eq!(pages(&translation, "a.com", "/x"), None);
    says(&translation, &format!("warning {}there is nobody to ask", field("custom-http-errors")));
    let translation = with(&[("custom-http-errors", "404")], &[], false);
    assert_eq!(pages(&translation, "a.com", "/x"), None);
    says(&translation, "controller: data.custom-http-errors: there is nobody to ask");
}

#[test]
fn a_default_backend_that_does_not_exist_is_ignored() {
    let translation = with(&[], &[("default-backend", "missing")], false);
    assert_eq!(pages(&translation, "a.com", "/x"), None);
    assert_eq!(get(&translation, "a.com/x"), "web");
    let why = "Service default/missing does not exist or has no port; it is ignored";
    says(&translation, &format!("error {}{why}", field("default-backend")));
}

#[test]
fn values_that_are_not_understood_deny_or_are_dropped() {
    for (key, value) in [
        ("custom-http-errors", "404;500"),
        ("custom-http-errors", "399"),
        ("custom-http-errors", "600"),
        ("custom-http-errors", "4xx"),
        ("custom-http-errors", "404,"),
        ("custom-http-errors", "+404"),
        ("custom-http-errors", ""),
        ("default-backend", "default/api"),
        ("default-backend", ""),
    ] {
        let translation = with(&[], &[(key, value)], true);
        let denied = format!("503 nginx.ingress.kubernetes.io/{key}");
        assert_eq!(get(&translation, "a.com/x"), denied, "{value}");
        says(&translation, &format!("error {}", field(key)));
    }
    let own = [("custom-http-errors", "404"), ("disable-proxy-intercept-errors", "no")];
    let translation = with(&[], &own, true);
    assert!(pages(&translation, "a.com", "/x").is_some_and(|pages| !pages.own_only));
    says(&translation, &format!("error {}", field("disable-proxy-intercept-errors")));
    let translation = with(&[("custom-http-errors", "404,no")], &[], true);
    assert_eq!(pages(&translation, "a.com", "/x"), None);
    says(&translation, "data.custom-http-errors: is not a comma list of statuses");
}

fn compression(data: &[(&str, &str)]) -> (Compression, Translation) {
    let translation = with(data, &[], false);
    let own = translation.model.settings.compression.as_deref().cloned();
    (own.unwrap_or_default(), translation)
}

#[test]
fn compression_is_off_and_has_the_defaults_of_ingress_nginx() {
    let (off, translation) = compression(&[("gzip-level", "5"), ("use-gzip", "false")]);
    says_nothing(&translation);
    assert_eq!(off, Compression::default());
    let (on, translation) = compression(&[("use-gzip", "true"), ("enable-brotli", "true")]);
    says_nothing(&translation);
    let (gzip, brotli) = (on.gzip.expect("on"), on.brotli.expect("on"));
    assert_eq!((gzip.level, gzip.min_length), (1, 256));
    assert_eq!((brotli.level, brotli.min_length), (4, 20));
    for media in ["text/html", "TEXT/css ; charset=utf-8", "application/json", "image/svg+xml"] {
        assert!(gzip.takes(media.as_bytes()) && brotli.takes(media.as_bytes()), "{media}");
    }
    for media in ["image/png", "text/event-stream", "", "text/htmlx"] {
        assert!(!gzip.takes(media.as_bytes()) && !brotli.takes(media.as_bytes()), "{media}");
    }
}

#[test]
fn compression_that_is_not_understood_is_the_default() {
    let on = [("use-gzip", "true"), ("enable-brotli", "true")];
    let (default, _) = compression(&on);
    for (key, value) in [
        ("gzip-level", "0"),
        ("gzip-level", "10"),
        ("gzip-min-length", "1k"),
        ("gzip-types", "text"),
        ("gzip-types", ""),
        ("brotli-level", "12"),
        ("brotli-level", "-1"),
        ("brotli-min-length", "x"),
        ("brotli-types", "text/css,text/plain"),
    ] {
        let (own, translation) = compression(&[&on[..], &[(key, value)]].concat());
        assert_eq!(own, default, "{key}: {value}");
        says(&translation, &format!("controller: data.{key}: is not"));
    }
    let (any, _) = compression(&[("use-gzip", "true"), ("gzip-types", "text/css *")]);
    assert!(any.gzip.is_some_and(|gzip| gzip.takes(b"image/png") && !gzip.takes(b"")));
}
