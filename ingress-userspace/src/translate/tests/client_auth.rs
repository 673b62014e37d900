//! Reference sections 1.4 and 4.6: who may not get in, whatever is wrong.

use std::sync::Arc;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};

use super::{BASE, Translation, get, host, ingress, said, says, says_nothing};
use crate::{
    model::{ClientAuth, ClientRule, Suite, VerifyClient},
    source::parse::tests::stores,
    stores::Key,
    translate::{Options, Translator},
};

const DENIED: &str = "503 nginx.ingress.kubernetes.io/auth-tls-secret";

/// `ca.crt` and `ca.crl`.
fn authority() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).unwrap().pem();
    let list = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(2126, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    (certificate, list.signed_by(&Issuer::new(params, key)).unwrap().pem().unwrap())
}

fn translate(text: &str, secrets: &[(&str, &str, &str, &str)]) -> Translation {
    translate_with(Options::default(), text, secrets)
}

fn translate_with(
    options: Options,
    text: &str,
    secrets: &[(&str, &str, &str, &str)],
) -> Translation {
    let (mut stores, diagnostics) = stores(&format!("{BASE}{text}"));
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let secret = |(namespace, name, crt, crl): &(&str, &str, &str, &str)| {
        let entry = |key: &str, value: &str| {
            (!value.is_empty()).then(|| (key.to_owned(), ByteString(value.as_bytes().to_vec())))
        };
        let data = [entry("ca.crt", crt), entry("ca.crl", crl)].into_iter().flatten().collect();
        (Key::new(*namespace, *name), Arc::new(Secret { data: Some(data), ..Default::default() }))
    };
    stores.secrets = secrets.iter().map(secret).collect();
    Translator::new(options).translate(&stores, &Arc::default())
}

fn rule(translation: &Translation, name: &str) -> Arc<ClientRule> {
    let own = host(&translation.model, name).handshake.clone().expect("it asks for something");
    match &own.client_auth {
        Some(ClientAuth::Rule(rule)) => Arc::clone(rule),
        other => panic!("no rule: {other:?}"),
    }
}

#[test]
fn the_annotations_make_the_rule_of_the_host() {
    let (crt, crl) = authority();
    let text = ingress(
        "x",
        &[
            ("auth-tls-secret", "default/ca"),
            ("auth-tls-verify-client", "optional_no_ca"),
            ("auth-tls-verify-depth", "3"),
            ("auth-tls-error-page", "https://example.com/sorry"),
            ("auth-tls-pass-certificate-to-upstream", "true"),
            ("auth-tls-match-cn", "CN=(alice|bob)"),
        ],
        "",
        &["a.com / Prefix web"],
    ) + &ingress("other", &[], "", &["a.com /b Prefix api", "b.com / Prefix api"]);
    let translation = translate(&text, &[("default", "ca", &crt, &crl)]);
    says_nothing(&translation);
    let rule = rule(&translation, "a.com");
    assert_eq!((rule.authority.roots.len(), rule.authority.lists.len()), (1, 1));
    assert_eq!((rule.verify, rule.depth), (VerifyClient::OptionalUntrusted, 3));
    assert_eq!(rule.error_page.as_deref(), Some("https://example.com/sorry"));
    assert_eq!(rule.subject.as_deref(), Some("CN=(alice|bob)"));
    assert!(rule.pass_certificate);
    assert_eq!(host(&translation.model, "b.com").handshake, None);
    assert_eq!(get(&translation, "a.com/b"), "api");
}

#[test]
fn defaults_are_those_of_ingress_nginx() {
    let (crt, _) = authority();
    let text = ingress("x", &[("auth-tls-secret", "default/ca")], "", &["a.com / Prefix web"]);
    let rule = rule(&translate(&text, &[("default", "ca", &crt, "")]), "a.com");
    assert_eq!((rule.verify, rule.depth), (VerifyClient::Required, 1));
    assert_eq!((rule.error_page.as_deref(), rule.subject.as_deref()), (None, None));
    assert!(!rule.pass_certificate && rule.authority.lists.is_empty());
}

#[test]
fn an_authority_that_cannot_be_obeyed_closes_the_host() {
    let (crt, crl) = authority();
    for (reference, secret, why) in [
        ("default/ca", ("default", "other", &*crt, ""), "Secret default/ca does not exist"),
        ("ca", ("default", "ca", &crt, ""), "is not `namespace/name`"),
        ("", ("default", "ca", &crt, ""), "is not `namespace/name`"),
        ("default/", ("default", "ca", &crt, ""), "is not `namespace/name`"),
        ("web/ca", ("web", "ca", &crt, ""), "is of another namespace than the Ingress"),
        ("default/ca", ("default", "ca", "", ""), "has no entry `ca.crt`"),
        ("default/ca", ("default", "ca", "nonsense", ""), "`ca.crt` without a certificate"),
        (
            "default/ca",
            ("default", "ca", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ""),
            "`ca.crt` that is no X.509",
        ),
        ("default/ca", ("default", "ca", &crt, "nonsense"), "`ca.crl` that is no X.509"),
        ("default/ca", ("default", "ca", &crt, &crl[..crl.len() / 2]), "`ca.crl` that is no"),
    ] {
        let text = ingress("x", &[("auth-tls-secret", reference)], "", &["a.com / Prefix web"])
            + &ingress("other", &[], "", &["a.com /b Prefix api", "c.com / Prefix api"]);
        let translation = translate(&text, &[secret]);
        let own = host(&translation.model, "a.com").handshake.clone().unwrap_or_default();
        assert_eq!(own.client_auth, Some(ClientAuth::Broken), "{reference} {why}");
        for url in ["a.com/", "a.com/b"] {
            assert_eq!(get(&translation, url), DENIED, "{reference} {why}");
        }
        assert_eq!(get(&translation, "c.com/"), "api");
        says(&translation, why);
        says(&translation, "all paths of the hosts of this Ingress are refused");
    }
}

#[test]
fn wrong_values_that_would_let_people_in_close_the_host() {
    let (crt, _) = authority();
    for (key, value, why) in [
        ("auth-tls-match-cn", "alice", "is not `CN=` and a regular expression"),
        ("auth-tls-match-cn", "CN=(", "is no regular expression"),
        ("auth-tls-error-page", "nowhere", "is not a URL"),
        ("auth-tls-error-page", "https://a/\" onload", "is not a URL"),
        ("auth-tls-pass-certificate-to-upstream", "maybe", "is not `true` or `false`"),
    ] {
        let annotations = [("auth-tls-secret", "default/ca"), (key, value)];
        let text = ingress("x", &annotations, "", &["a.com / Prefix web"]);
        let translation = translate(&text, &[("default", "ca", &crt, "")]);
        assert_eq!(get(&translation, "a.com/"), DENIED, "{key}: {value}");
        says(&translation, &format!("/{key}]: {why}"));
    }
    for (key, value) in [
        ("auth-tls-verify-client", "sometimes"),
        ("auth-tls-verify-depth", "deep"),
        ("auth-tls-verify-depth", "0"),
    ] {
        let annotations = [("auth-tls-secret", "default/ca"), (key, value)];
        let text = ingress("x", &annotations, "", &["a.com / Prefix web"]);
        let translation = translate(&text, &[("default", "ca", &crt, "")]);
        let rule = rule(&translation, "a.com");
        assert_eq!((rule.verify, rule.depth), (VerifyClient::Required, 1), "{key}: {value}");
        says(&translation, "the default applies");
    }
}

#[test]
fn the_oldest_authority_wins_and_a_broken_one_closes() {
    let (crt, _) = authority();
    let secrets = [("default", "ca", &*crt, ""), ("default", "cb", &crt, "")];
    // Of two without a time the one later by name is older.
    let of = |name: &str, secret: &str, verify: &str| {
        let path = format!("a.com /{name} Prefix web");
        let annotations = [("auth-tls-secret", secret), ("auth-tls-verify-client", verify)];
        ingress(name, &annotations, "", &[&path])
    };
    let translation =
        translate(&(of("y", "default/ca", "optional") + &of("x", "default/cb", "off")), &secrets);
    let rule = rule(&translation, "a.com");
    assert_eq!((&*rule.authority.secret.name, rule.verify), ("ca", VerifyClient::Optional));
    for text in [
        of("y", "default/ca", "on") + &of("x", "default/gone", "on"),
        of("x", "default/ca", "on") + &of("y", "default/gone", "on"),
    ] {
        let translation = translate(&text, &secrets);
        assert_eq!(get(&translation, "a.com/x"), DENIED);
        assert_eq!(get(&translation, "a.com/y"), DENIED);
    }
}

#[test]
fn without_a_secret_the_others_mean_nothing() {
    let text = ingress("x", &[("auth-tls-verify-client", "on")], "", &["a.com / Prefix web"]);
    let translation = translate(&text, &[]);
    assert_eq!(get(&translation, "a.com/"), "web");
    says(&translation, "auth-tls-verify-client]: has no effect without auth-tls-secret");
}

#[test]
fn suites_are_those_of_the_oldest_ingress_and_never_none() {
    let of = |name: &str, list: &str| {
        let path = format!("a.com /{name} Prefix web");
        let annotations = [("ssl-ciphers", list), ("ssl-prefer-server-ciphers", "false")];
        ingress(name, &annotations, "", &[&path])
    };
    let own = |translation: &Translation| {
        host(&translation.model, "a.com").handshake.clone().expect("it asks for something")
    };
    let translation = translate(
        &(of("y", "ECDHE-RSA-AES256-GCM-SHA384:RC4-SHA") + &of("x", "ECDHE+CHACHA20")),
        &[],
    );
    assert_eq!(own(&translation).suites, Some(vec![Suite::EcdheRsaAes256GcmSha384]));
    assert_eq!(own(&translation).prefer_own_suites, Some(false));
    says(&translation, "warning Ingress default/y");
    says(
        &translation,
        "ssl-ciphers]: RC4-SHA are not offered: only suites with ECDHE and AEAD are",
    );
    let translation = translate(&of("x", "RC4-SHA:NULL"), &[]);
    assert_eq!(own(&translation).suites, None);
    assert!(said(&translation).contains("the ConfigMap's list applies"));
}

#[test]
fn a_way_around_by_plain_http_is_said() {
    let (crt, _) = authority();
    let warns = |more: &[(&str, &str)], spec: &str| {
        let mut annotations = vec![("auth-tls-secret", "default/ca")];
        annotations.extend(more);
        let text = ingress("x", &annotations, spec, &["a.com / Prefix web"]);
        let translation = translate(&text, &[("default", "ca", &crt, "")]);
        said(&translation).contains("plain HTTP gets to these paths without a certificate")
    };
    let tls = "tls: [{hosts: [a.com]}]";
    assert!(warns(&[], ""));
    assert!(warns(&[("ssl-redirect", "false")], tls));
    assert!(!warns(&[], tls));
    assert!(!warns(&[("force-ssl-redirect", "true")], ""));
    assert!(!warns(&[("auth-tls-match-cn", "CN=alice")], ""), "there is no subject: 403");
    assert!(!warns(&[("auth-tls-verify-client", "optional")], ""));
}

#[test]
fn another_namespace_is_read_where_the_config_map_allows_it() {
    let (crt, _) = authority();
    let keys = [
        ("auth-tls-secret", "other/ca"),
        ("proxy-ssl-secret", "other/ca"),
        ("backend-protocol", "HTTPS"),
        ("force-ssl-redirect", "true"),
    ];
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller}\n\
               data: {allow-cross-namespace-resources: 'true'}\n";
    let text = ingress("x", &keys, "", &["a.com / Prefix web"]) + map;
    let configmap = Some(("default".to_owned(), "controller".to_owned()));
    let options = Options { configmap, ..Options::default() };
    let translation = translate_with(options, &text, &[("other", "ca", &crt, "")]);
    says_nothing(&translation);
    assert_eq!(rule(&translation, "a.com").authority.roots.len(), 1);
    assert_eq!(get(&translation, "a.com/"), "web");
    let closed = translate(&text, &[("other", "ca", &crt, "")]);
    assert_eq!(get(&closed, "a.com/"), DENIED);
}
