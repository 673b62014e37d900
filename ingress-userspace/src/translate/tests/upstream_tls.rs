//! TLS to endpoints: reference section 1.8.

use std::sync::Arc;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::{BASE, Translation, get, host, ingress, says, says_nothing};
use crate::{
    model::{Host, Proxying, TlsVersions, UpstreamTls},
    source::parse::tests::stores,
    stores::{Key, Stores},
    translate::{Options, Translator},
};

const HTTPS: (&str, &str) = ("backend-protocol", "HTTPS");
const SECRET: (&str, &str) = ("proxy-ssl-secret", "default/client");
const VERIFY: (&str, &str) = ("proxy-ssl-verify", "on");

/// A pair in PEM that can be both an authority and a client's certificate.
fn pem() -> (String, String) {
    let mut params = CertificateParams::new(vec!["a".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn with_secret(text: &str, data: &[(&str, &str)]) -> Stores {
    let (mut stores, diagnostics) = stores(&format!("{BASE}{text}"));
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let data =
        data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
    let secret = Secret { data: Some(data.collect()), ..Secret::default() };
    stores.secrets = [(Key::new("default", "client"), secret.into())].into_iter().collect();
    stores
}

/// Of an Ingress with these annotations, and this Secret `default/client`.
fn translate(annotations: &[(&str, &str)], data: &[(&str, &str)]) -> Translation {
    let text = ingress("x", annotations, "", &["a.com / Prefix web"]);
    Translator::new(Options::default()).translate(&with_secret(&text, data), &Arc::default())
}

fn routes<'t>(translation: &'t Translation, name: &str) -> &'t Host {
    host(&translation.model, name)
}

fn policy(host: &Host, path: &str) -> Arc<UpstreamTls> {
    let route = host.routes.iter().find(|route| &*route.path == path).expect(path);
    let proxying: &Proxying = &route.proxying;
    Arc::clone(proxying.tls.as_ref().expect("it has TLS"))
}

#[test]
fn without_the_secret_nothing_is_verified_and_no_name_is_sent() {
    let keys = [HTTPS, VERIFY, ("proxy-ssl-name", "web.example"), ("proxy-ssl-server-name", "on")];
    let translation = translate(&keys, &[]);
    assert_eq!(*policy(routes(&translation, "a.com"), "/"), UpstreamTls::default());
    for key in ["proxy-ssl-verify", "proxy-ssl-name", "proxy-ssl-server-name"] {
        says(&translation, &format!("{key}]: has no effect without proxy-ssl-secret"));
    }
    assert_eq!(get(&translation, "a.com/"), "web");
    says_nothing(&translate(&[HTTPS, ("proxy-ssl-verify", "off")], &[]));
}

#[test]
fn the_secret_and_the_annotations_make_the_policy() {
    let (certificate, key) = pem();
    let all: &[_] = &[("tls.crt", &*certificate), ("tls.key", &*key), ("ca.crt", &*certificate)];
    let keys = [
        HTTPS,
        SECRET,
        VERIFY,
        ("proxy-ssl-verify-depth", "2"),
        ("proxy-ssl-name", "Web.Example."),
        ("proxy-ssl-server-name", "on"),
        ("proxy-ssl-protocols", "TLSv1 TLSv1.2"),
        ("proxy-ssl-ciphers", "AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256"),
    ];
    let translation = translate(&keys, all);
    says_nothing(&translation);
    let policy = policy(routes(&translation, "a.com"), "/");
    let verify = policy.verify.as_ref().expect("it verifies");
    assert_eq!((verify.authorities.len(), verify.depth), (1, 2));
    assert_eq!(policy.name.as_deref(), Some("web.example"));
    assert!(policy.send_name);
    assert!(policy.identity.is_some());
    assert_eq!(policy.versions, TlsVersions::Tls12);
    assert_eq!(*policy.suites, [0xc02f]);
}

#[test]
fn a_secret_may_hold_one_half() {
    let (certificate, key) = pem();
    let authority = translate(&[HTTPS, SECRET, VERIFY], &[("ca.crt", &certificate)]);
    let policy_of = |translation| policy(routes(translation, "a.com"), "/");
    assert!(policy_of(&authority).verify.is_some() && policy_of(&authority).identity.is_none());
    // Without a name of its own the endpoint is known by its Service's.
    assert_eq!(policy_of(&authority).name.as_deref(), Some("web.default.svc"));
    let client = translate(&[HTTPS, SECRET], &[("tls.crt", &certificate), ("tls.key", &key)]);
    assert!(policy_of(&client).verify.is_none() && policy_of(&client).identity.is_some());
    assert_eq!(policy_of(&client).name, None);
}

#[test]
fn a_secret_that_cannot_be_used_denies() {
    let (certificate, key) = pem();
    let (other, _) = pem();
    let both = ("tls.crt", &*certificate);
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "has neither `tls.crt` and `tls.key` nor `ca.crt`"),
        (&[both], "has no entry `tls.key`"),
        (&[("tls.key", &key)], "has no entry `tls.crt`"),
        (&[("tls.crt", &other), ("tls.key", &key)], "has a `tls.key` that does not belong"),
        (&[both, ("tls.key", &key)], "has no entry `ca.crt` to verify endpoints by"),
        (&[("ca.crt", "nonsense")], "has a `ca.crt` without a certificate"),
        (&[("ca.crt", "")], "has a `ca.crt` without a certificate"),
        (
            &[("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")],
            "has a `ca.crt` with a certificate that cannot be used",
        ),
    ];
    for (data, why) in cases {
        let verify = if data.is_empty() { ("proxy-ssl-verify", "off") } else { VERIFY };
        let translation = translate(&[HTTPS, SECRET, verify], data);
        let denied = "503 nginx.ingress.kubernetes.io/proxy-ssl-secret";
        assert_eq!(get(&translation, "a.com/"), denied, "{why}");
        says(&translation, &format!("proxy-ssl-secret]: Secret default/client {why}"));
    }
}

#[test]
fn what_is_meant_to_protect_and_is_not_understood_denies() {
    let (certificate, _) = pem();
    for (key, value) in [
        ("proxy-ssl-verify", "true"),
        ("proxy-ssl-verify", ""),
        ("proxy-ssl-name", "a b"),
        ("proxy-ssl-name", "$host"),
        ("proxy-ssl-name", ""),
        ("proxy-ssl-secret", "client"),
        ("proxy-ssl-secret", "../client"),
        ("proxy-ssl-secret", "other/client"),
    ] {
        let keys = [HTTPS, SECRET, (key, value)];
        let keys = if key == SECRET.0 { &keys[..1] } else { &keys[..2] };
        let keys: Vec<_> = keys.iter().copied().chain([(key, value)]).collect();
        let translation = translate(&keys, &[("ca.crt", &certificate)]);
        let denied = format!("503 nginx.ingress.kubernetes.io/{key}");
        assert_eq!(get(&translation, "a.com/"), denied, "{key}: {value}");
    }
}

#[test]
fn other_wrong_values_keep_the_default() {
    let (certificate, _) = pem();
    for (key, value) in [
        ("proxy-ssl-verify-depth", "-1"),
        ("proxy-ssl-verify-depth", "11"),
        ("proxy-ssl-server-name", "yes"),
        ("proxy-ssl-protocols", "TLSv1.1"),
        ("proxy-ssl-protocols", "tls13"),
        ("proxy-ssl-protocols", ""),
        ("proxy-ssl-ciphers", "RC4-SHA"),
        ("proxy-ssl-ciphers", ""),
    ] {
        let data = [("ca.crt", &*certificate)];
        let translation = translate(&[HTTPS, SECRET, VERIFY, (key, value)], &data);
        let plain = translate(&[HTTPS, SECRET, VERIFY], &data);
        let of = |translation| policy(routes(translation, "a.com"), "/");
        assert_eq!(of(&translation), of(&plain), "{key}: {value}");
        says(
            &translation,
            &format!(
                "error Ingress default/x: metadata.annotations[nginx.ingress.kubernetes.io/{key}]: is not "
            ),
        );
    }
}

/// Two Ingresses of one host, the older one with a Secret.
fn shared(data: &[(&str, &str)], per_ingress: bool) -> Translation {
    let map = format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: controller}}\n\
         data: {{proxy-ssl-location-only: '{per_ingress}'}}\n"
    );
    // By their names `z` is the older.
    let text = map
        + &ingress("z", &[HTTPS, SECRET, VERIFY], "", &["a.com /z Prefix web"])
        + &ingress("y", &[HTTPS], "", &["a.com /y Prefix web", "b.com / Prefix web"])
        + &ingress("x", &[], "", &["a.com /x Prefix web"]);
    let options =
        Options { configmap: Some(("default".into(), "controller".into())), ..Options::default() };
    Translator::new(options).translate(&with_secret(&text, data), &Arc::default())
}

#[test]
fn the_hosts_oldest_secret_counts_for_all_its_ingresses() {
    let (certificate, _) = pem();
    let translation = shared(&[("ca.crt", &certificate)], false);
    let a = routes(&translation, "a.com");
    assert!(policy(a, "/y").verify.is_some());
    assert!(Arc::ptr_eq(&policy(a, "/z"), &policy(a, "/y")));
    assert_eq!(*policy(routes(&translation, "b.com"), "/"), UpstreamTls::default());
    let clear = a.routes.iter().find(|route| &*route.path == "/x").unwrap();
    assert!(clear.proxying.tls.is_none());
}

#[test]
fn a_secret_can_count_for_its_ingress_alone() {
    let (certificate, _) = pem();
    let translation = shared(&[("ca.crt", &certificate)], true);
    let a = routes(&translation, "a.com");
    assert!(policy(a, "/z").verify.is_some());
    assert_eq!(*policy(a, "/y"), UpstreamTls::default());
}

#[test]
fn whoever_shares_a_broken_secret_is_denied_too() {
    let denied = "503 nginx.ingress.kubernetes.io/proxy-ssl-secret";
    let translation = shared(&[("ca.crt", "broken")], false);
    assert_eq!(get(&translation, "a.com/z"), denied);
    assert_eq!(get(&translation, "a.com/y"), denied);
    assert_eq!(get(&translation, "a.com/x"), "web");
    assert_eq!(get(&translation, "b.com/"), "web");
    let alone = shared(&[("ca.crt", "broken")], true);
    assert_eq!(get(&alone, "a.com/z"), denied);
    assert_eq!(get(&alone, "a.com/y"), "web");
}

#[test]
fn equal_policies_are_one_allocation_in_later_models_too() {
    let (certificate, _) = pem();
    let text = |path: &str| {
        ingress(
            "x",
            &[HTTPS, SECRET, VERIFY],
            "",
            &[&format!("a.com {path} Prefix web"), "b.com / Prefix web"],
        )
    };
    let mut translator = Translator::new(Options::default());
    let one = translator
        .translate(&with_secret(&text("/one"), &[("ca.crt", &certificate)]), &Arc::default());
    let two = translator
        .translate(&with_secret(&text("/two"), &[("ca.crt", &certificate)]), &Arc::default());
    let first = policy(routes(&one, "a.com"), "/one");
    assert!(Arc::ptr_eq(&first, &policy(routes(&one, "b.com"), "/")));
    assert!(Arc::ptr_eq(&first, &policy(routes(&two, "a.com"), "/two")));
    let (other, _) = pem();
    let three =
        translator.translate(&with_secret(&text("/two"), &[("ca.crt", &other)]), &Arc::default());
    assert_ne!(first, policy(routes(&three, "a.com"), "/two"));
}
