//! CORS and headers of answers (reference sections 1.6 and 1.7).

use super::{
    Options, Translation, get, host, ingress, says, says_nothing, translate, translate_with,
};
use crate::model::{Cors, Origins, Policies};

fn policies(translation: &Translation) -> Option<&Policies> {
    let host = host(&translation.model, "a.com");
    let route = host.routes.iter().find(|route| &*route.path == "/x").expect("it is there");
    route.policies.as_deref()
}

fn with(annotations: &[(&str, &str)]) -> Translation {
    translate(&ingress("shop", annotations, "", &["a.com /x Prefix web"]))
}

fn cors(annotations: &[(&str, &str)]) -> (Cors, Translation) {
    let translation = with(&[&[("enable-cors", "true")], annotations].concat());
    let cors = policies(&translation).and_then(|policies| policies.cors.clone());
    (cors.expect("it is on"), translation)
}

fn field(key: &str) -> String {
    format!("error Ingress default/shop: metadata.annotations[nginx.ingress.kubernetes.io/{key}]: ")
}

#[test]
fn cors_is_off_unless_it_is_switched_on() {
    for value in ["false", "0"] {
        let translation = with(&[("enable-cors", value), ("cors-max-age", "1")]);
        assert_eq!(policies(&translation), None);
        says_nothing(&translation);
    }
    let translation = with(&[("enable-cors", "yes")]);
    assert_eq!(policies(&translation), None);
    says(&translation, &(field("enable-cors") + "is not `true` or `false`; the default applies"));
}

#[test]
fn invalid_values_are_the_defaults() {
    let (default, translation) = cors(&[]);
    says_nothing(&translation);
    assert_eq!(default.origins, Origins::Any);
    assert!(default.credentials);
    for (key, value) in [
        ("cors-allow-origin", ""),
        ("cors-allow-origin", "https://a.com;deny"),
        ("cors-allow-methods", "GET;"),
        ("cors-allow-methods", "*"),
        ("cors-allow-headers", "a b"),
        ("cors-allow-headers", "X-A,$host"),
        ("cors-expose-headers", "\"x\""),
        ("cors-expose-headers", ""),
        ("cors-allow-credentials", "no"),
        ("cors-max-age", "1h"),
    ] {
        let (cors, translation) = cors(&[(key, value)]);
        assert_eq!(cors, default, "{key}: {value}");
        says(&translation, &field(key));
        assert_eq!(get(&translation, "a.com/x"), "web");
    }
}

#[test]
fn malformed_origins_are_left_out() {
    let listed =
        "https://a.com, ftp:/x, http://*.b.com:80,HTTP://c.com,http://d.com:99999,http://[::1]:1";
    let (cors, translation) = cors(&[("cors-allow-origin", listed)]);
    for origin in ["https://a.com", "http://x.b.com:80", "http://[::1]:1"] {
        assert!(cors.origins.allow(origin.as_bytes()), "{origin}");
    }
    for origin in ["http://c.com", "http://d.com:99999", "http://x.b.com", "http://b.com:80", ""] {
        assert!(!cors.origins.allow(origin.as_bytes()), "{origin}");
    }
    for left_out in ["ftp:/x", "HTTP://c.com", "http://d.com:99999"] {
        says(&translation, &format!("{}`{left_out}` is not", field("cors-allow-origin")));
    }
}

#[test]
fn an_asterisk_wins_and_a_list_of_nothing_allows_nobody() {
    let (any, _) = cors(&[("cors-allow-origin", "https://a.com, *")]);
    assert_eq!(any.origins, Origins::Any);
    let (none, translation) = cors(&[("cors-allow-origin", "a.com")]);
    assert_eq!(none.origins, Origins::Listed([].into()));
    says(&translation, "names no origin that is understood; no origin is allowed");
}

fn with_headers(data: &str, allowed: &str, reference: &str) -> Translation {
    let options = Options {
        configmap: Some(("default".to_owned(), "controller".to_owned())),
        ..Options::default()
    };
    let text = ingress("shop", &[("custom-headers", reference)], "", &["a.com /x Prefix web"]);
    let maps = format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: controller}}\n\
         data: {{global-allowed-response-headers: {allowed:?}}}\n\
         ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: own}}\ndata: {{{data}}}\n"
    );
    translate_with(options, &(text + &maps))
}

#[test]
fn custom_headers_are_those_of_the_config_map() {
    for reference in ["default/own", "own"] {
        let translation = with_headers("X-A: '1', X-B: ''", "X-A,X-B", reference);
        says_nothing(&translation);
        let headers = policies(&translation).and_then(|own| own.headers.clone()).expect("some");
        let headers: Vec<_> = headers.iter().map(|own| (&*own.name, own.value.literal())).collect();
        assert_eq!(headers, [("X-A", Some("1")), ("X-B", Some(""))]);
    }
}

#[test]
fn custom_headers_that_cannot_be_set_deny() {
    for (data, allowed, reference, why) in [
        ("X-A: '1'", "X-A", "default/none", "ConfigMap default/none does not exist"),
        ("X-A: '1'", "X-A", "other/own", "ConfigMap other/own is of another namespace"),
        ("X-A: '1'", "x-a", "own", "`X-A` of ConfigMap default/own is not in"),
        ("X-A: '1'", "", "own", "`X-A` of ConfigMap default/own is not in"),
        ("'X A': '1'", "X A", "own", "`X A` of ConfigMap default/own is no name"),
        ("Upgrade: '1'", "Upgrade", "own", "`Upgrade` of ConfigMap default/own is written by"),
        ("X-A: \"a\\u0001b\"", "X-A", "own", "`X-A` of ConfigMap default/own has a control"),
        (
            "X-A: $nonsense",
            "X-A",
            "own",
            "`X-A` of ConfigMap default/own has a variable: `$nonsense`",
        ),
    ] {
        let translation = with_headers(data, allowed, reference);
        let denied = "503 nginx.ingress.kubernetes.io/custom-headers";
        assert_eq!(get(&translation, "a.com/x"), denied, "{data}");
        says(&translation, &format!("{}{why}", field("custom-headers")));
    }
}

#[test]
fn a_reference_that_is_none_is_dropped() {
    let translation = with_headers("X-A: '1'", "X-A", "a/b/c");
    assert_eq!(get(&translation, "a.com/x"), "web");
    assert_eq!(policies(&translation), None);
    says(&translation, &(field("custom-headers") + "is not `namespace/name` of a ConfigMap"));
}
