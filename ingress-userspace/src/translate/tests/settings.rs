use std::{sync::LazyLock, time::Duration};

use super::{Translation, get, host, ingress, said, says, says_nothing, translate_with};
use crate::{
    model::{HttpsRedirect, RedirectCode, TicketKey, TlsSettings},
    translate::Options,
};

fn with_map(data: &[(&str, &str)], annotations: &[(&str, &str)]) -> Translation {
    let options = Options {
        configmap: Some(("default".to_owned(), "controller".to_owned())),
        ..Options::default()
    };
    let mut map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller}\ndata:\n  ssl-redirect: 'true'\n".to_owned();
    for (key, value) in data {
        map.push_str(&format!("  {key}: {value:?}\n"));
    }
    let rules = ["a.com / Prefix web", "a.com /.well-known/acme-challenge/x Prefix api"];
    translate_with(options, &(map + &ingress("x", annotations, "", &rules)))
}

fn redirect(translation: &Translation, path: &str) -> HttpsRedirect {
    let host = host(&translation.model, "a.com");
    host.routes.iter().find(|route| &*route.path == path).unwrap().https_redirect
}

#[test]
fn settings_are_those_of_the_config_map() {
    let translation = with_map(
        &[
            ("http-redirect-code", "301"),
            ("use-forwarded-headers", "true"),
            ("compute-full-forwarded-for", "1"),
            ("hsts-max-age", "10"),
            ("hsts-include-subdomains", "false"),
            ("hsts-preload", "true"),
        ],
        &[],
    );
    let settings = &translation.model.settings;
    assert_eq!(settings.redirect_code, RedirectCode::MovedPermanently);
    assert!(settings.use_forwarded_headers && settings.compute_full_forwarded_for);
    assert_eq!(settings.hsts.as_deref(), Some("max-age=10; preload"));
    says_nothing(&translation);
    assert_eq!(with_map(&[("hsts", "false")], &[]).model.settings.hsts, None);
}

#[test]
fn wrong_values_keep_the_default_and_unknown_keys_do_nothing() {
    let translation = with_map(
        &[
            ("hsts-max-age", "1y"),
            ("http-redirect-code", "200"),
            ("hsts", "no"),
            ("hstss", "x"),
            ("enable-ocsp", "true"),
        ],
        &[],
    );
    assert_eq!(translation.model.settings, crate::model::Settings::default());
    says(
        &translation,
        "error ConfigMap default/controller: data.hsts-max-age: is not a number of seconds; the default applies",
    );
    says(&translation, "data.http-redirect-code: is not 301, 302, 307 or 308");
    says(&translation, "data.hsts: is not `true` or `false`");
    says(
        &translation,
        "warning ConfigMap default/controller: data.hstss: is not known and has no effect; did you mean `hsts`?",
    );
    says(&translation, "data.enable-ocsp: has no effect: answers of authorities");
    assert_eq!(get(&translation, "a.com/"), "web");
}

#[test]
fn a_missing_config_map_means_the_defaults() {
    let options =
        Options { configmap: Some(("a".to_owned(), "b".to_owned())), ..Options::default() };
    let translation = translate_with(options, "");
    assert_eq!(translation.model.settings, crate::model::Settings::default());
    says(&translation, "warning ConfigMap a/b: --configmap: does not exist");
}

#[test]
fn redirects_to_https_follow_annotation_then_config_map() {
    use HttpsRedirect::{Always, IfTls, Never};

    for (data, annotations, expected) in [
        (&[][..], &[][..], IfTls),
        (&[], &[("ssl-redirect", "false")], Never),
        (&[], &[("force-ssl-redirect", "true")], Always),
        (&[], &[("force-ssl-redirect", "true"), ("ssl-redirect", "false")], Always),
        (&[("force-ssl-redirect", "true")], &[], Always),
        (&[("force-ssl-redirect", "true")], &[("force-ssl-redirect", "false")], IfTls),
        (&[], &[("ssl-redirect", "nonsense")], IfTls),
    ] {
        let translation = with_map(data, annotations);
        assert_eq!(redirect(&translation, "/"), expected, "{data:?} {annotations:?}");
        // Certificates are issued over plain HTTP.
        assert_eq!(redirect(&translation, "/.well-known/acme-challenge/x"), Never);
    }
    let translation = with_map(&[("no-tls-redirect-locations", "/x, /y")], &[]);
    assert_eq!(redirect(&translation, "/.well-known/acme-challenge/x"), IfTls);
}

#[test]
fn what_restricts_everything_denies_everything() {
    for (key, value) in [
        ("enable-modsecurity", "perhaps"),
        ("location-snippet", "deny all;"),
        ("server-snippet", "deny all;"),
        ("http-snippet", "deny all;"),
        ("global-auth-snippet", "x y;"),
    ] {
        let translation = with_map(&[(key, value)], &[]);
        for url in ["a.com/", "unknown.com/"] {
            assert_eq!(get(&translation, url), format!("503 {key}"), "{url}");
        }
        says(
            &translation,
            &format!(
                "error ConfigMap default/controller: data.{key}: is {}; everything answers 503",
                match key {
                    _ if key.ends_with("-snippet") => {
                        "off: `allow-snippet-annotations` is not `true`"
                    }
                    _ => "neither `true` nor `false`",
                }
            ),
        );
        assert_eq!(get(&with_map(&[(key, "")], &[]), "a.com/"), "web");
    }
}

#[test]
fn lists_that_cannot_be_read_close_everything() {
    for (key, value, why) in [
        ("whitelist-source-range", "10.0.0.0/33", "is not a comma list of addresses"),
        ("denylist-source-range", "10.0.0.0/8,x", "is not a comma list of addresses"),
        ("block-cidrs", "10.0.0.0/8 11.0.0.0/8", "is not a comma list of addresses"),
        ("block-user-agents", "curl,~(", "has an item that is no regular expression"),
        ("block-referers", "~*[", "has an item that is no regular expression"),
    ] {
        let translation = with_map(&[(key, value)], &[]);
        for url in ["a.com/", "unknown.com/"] {
            assert_eq!(get(&translation, url), format!("503 {key}"), "{url}");
        }
        says(&translation, &format!("error ConfigMap default/controller: data.{key}: {why}"));
        says(&translation, "; everything answers 503");
        assert_eq!(get(&with_map(&[(key, "")], &[]), "a.com/"), "web");
    }
}

#[test]
fn what_is_blocked_everywhere_is_read() {
    use crate::model::HeaderPattern;

    let patterns = |texts: &[&str]| -> Box<[HeaderPattern]> {
        texts.iter().map(|text| HeaderPattern::parse(text).expect(text)).collect()
    };
    let data = [("block-user-agents", "curl/8, \"~*bad bot\" ,'x y',"), ("block-referers", "~a")];
    let translation = with_map(&data, &[]);
    says_nothing(&translation);
    let blocked = translation.model.settings.blocked.as_ref().expect("there are some");
    assert_eq!(blocked.user_agents, patterns(&["curl/8", "~*bad bot", "x y"]));
    assert_eq!(blocked.referers, patterns(&["~a"]));
    assert_eq!(with_map(&[("block-referers", " , ")], &[]).model.settings.blocked, None);
}

#[test]
fn forwarded_headers_are_not_trusted_from_more_than_was_asked_for() {
    let address = |data: &[(&str, &str)]| with_map(data, &[]).model.settings.address.clone();
    let believes =
        |data: &[(&str, &str)], peer: &str| address(data).believes(peer.parse().unwrap());
    let trusts = |data: &[(&str, &str)], peer: &str| address(data).trusts(peer.parse().unwrap());
    // ingress-nginx's default: every IPv4 address, and fields that it never asks the peer for.
    assert!(trusts(&[], "1.2.3.4") && !trusts(&[], "2001:db8::1") && believes(&[], "2001:db8::1"));
    let some = [("proxy-real-ip-cidr", "10.0.0.0/8, fd00::/8")];
    for (peer, trusted) in
        [("10.1.2.3", true), ("fd00::1", true), ("11.0.0.1", false), ("::1", false)]
    {
        assert_eq!(trusts(&some, peer), trusted, "{peer}");
        assert_eq!(believes(&some, peer), trusted, "{peer}");
    }
    let wrong = [("use-forwarded-headers", "true"), ("proxy-real-ip-cidr", "10.0.0.0/8,ten")];
    assert!(!believes(&wrong, "10.1.2.3"));
    says(&with_map(&wrong, &[]), "data.proxy-real-ip-cidr: `ten` is no address or range");
}

#[test]
fn operators_can_forbid_risks_and_words() {
    let rewrite = [("rewrite-target", "/x")];
    let denied = "503 nginx.ingress.kubernetes.io/rewrite-target";
    assert_eq!(get(&with_map(&[], &rewrite), "a.com/"), "web");
    assert_eq!(get(&with_map(&[("annotations-risk-level", "Medium")], &rewrite), "a.com/"), "web");
    assert_eq!(get(&with_map(&[("annotations-risk-level", "Low")], &rewrite), "a.com/"), denied);
    let translation = with_map(&[("annotation-value-word-blocklist", "load_module,/x")], &rewrite);
    assert_eq!(get(&translation, "a.com/"), denied);
    assert!(said(&translation).contains("annotation-value-word-blocklist forbids `/x`"));
}

#[test]
fn handshakes_are_as_the_config_map_says() {
    let translation = with_map(
        &[
            ("ssl-protocols", "TLSv1.3"),
            ("ssl-ciphers", "ECDHE+AES256"),
            ("ssl-prefer-server-ciphers", "false"),
            ("ssl-session-cache-size", "1m"),
            ("ssl-session-timeout", "1h"),
            ("ssl-session-tickets", "true"),
            ("ssl-session-ticket-key", &KEY),
            ("ssl-reject-handshake", "true"),
        ],
        &[],
    );
    let tls = &translation.model.settings.tls;
    assert!(tls.tls13 && !tls.tls12 && !tls.prefer_own_suites && tls.tickets);
    assert!(tls.reject_unknown_names);
    assert_eq!((tls.suites.len(), tls.sessions), (2, 4096));
    assert_eq!(tls.session_timeout, Duration::from_secs(3600));
    assert_eq!(translation.model.ticket_keys, [TicketKey(vec![0; 48])]);
    says_nothing(&translation);
    assert_eq!(with_map(&[("ssl-session-cache", "false")], &[]).model.settings.tls.sessions, 0);
    says_nothing(&with_map(&[("ssl-protocols", "TLSv1.2 TLSv1.3")], &[]));
}

/// 48 zeros in Base64.
static KEY: LazyLock<String> = LazyLock::new(|| "A".repeat(64));

#[test]
fn what_is_wrong_about_handshakes_keeps_the_default() {
    for (key, value, why) in [
        ("ssl-protocols", "TLSv1 TLSv1.1", "has neither TLSv1.2 nor TLSv1.3"),
        ("ssl-protocols", "SSLv3 TLSv1.2 TLSv1.3", "SSLv3 are not offered"),
        ("ssl-ciphers", "RC4-SHA", "has none of ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("ssl-session-cache-size", "10 MB", "is not a size"),
        ("ssl-session-timeout", "0", "is not a time"),
        ("ssl-session-timeout", "8d", "is not a time"),
        ("ssl-session-tickets", "perhaps", "is not `true` or `false`"),
        ("ssl-session-ticket-key", "AAAA", "is not 48 or 80 bytes in Base64"),
        ("ssl-reject-handshake", "perhaps", "is not `true` or `false`"),
        ("ssl-early-data", "true", "has no effect: early data is never taken"),
        ("ssl-ecdh-curve", "secp521r1", "has none that is offered"),
    ] {
        let translation = with_map(&[(key, value)], &[]);
        assert_eq!(translation.model.settings.tls, TlsSettings::default(), "{key}: {value}");
        assert!(translation.model.ticket_keys.is_empty());
        says(&translation, &format!("data.{key}: {why}"));
        assert!(!said(&translation).contains("AAAA"), "nothing quotes a key");
    }
}

#[test]
fn ticket_keys_come_from_the_secret_in_the_order_of_its_entries() {
    let options = |configmap: bool| Options {
        tls_ticket_secret: Some(("default".to_owned(), "tickets".to_owned())),
        configmap: configmap.then(|| ("default".to_owned(), "controller".to_owned())),
        ..Options::default()
    };
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller}\n\
               data: {ssl-session-tickets: 'false'}\n";
    let plain = "k".repeat(80);
    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: tickets}}\n\
         stringData: {{b: {plain}, a: {}, c: short}}\n",
        *KEY
    );
    let translation = translate_with(options(false), &secret);
    let keys = [TicketKey(vec![0; 48]), TicketKey(plain.as_bytes().to_vec())];
    assert_eq!(translation.model.ticket_keys, keys);
    assert!(translation.model.settings.tls.tickets);
    says(&translation, "error Secret default/tickets: data[c]: is not a key of 48 or 80 bytes");
    let off = translate_with(options(true), &(secret + map));
    assert!(!off.model.settings.tls.tickets, "the ConfigMap says so");
    let missing = translate_with(options(false), "");
    assert!(!missing.model.settings.tls.tickets && missing.model.ticket_keys.is_empty());
    says(&missing, "Secret default/tickets: --tls-ticket-secret: does not exist");
}
