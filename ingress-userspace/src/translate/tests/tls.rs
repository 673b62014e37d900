//! Reference section 4.1, sentence by sentence.

use k8s_openapi::ByteString;
use rcgen::{CertificateParams, DnType, KeyPair};

use super::{BASE, Translation, host, ingress, said, says, says_nothing};
use crate::{
    model::Certificate,
    source::parse::tests::stores,
    stores::{Key, Stores},
    translate::{Options, Translator},
};

struct Pair {
    certificate: String,
    key: String,
}

fn pair(names: &[&str], common_name: &str) -> Pair {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    Pair { certificate, key: key.serialize_pem() }
}

fn with_secrets(text: &str, secrets: &[(&str, &str, &str)]) -> Stores {
    let (mut stores, diagnostics) = stores(&format!("{BASE}{text}"));
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let secret = |(name, certificate, key): &(&str, &str, &str)| {
        let entry = |key: &str, value: &str| {
            (!value.is_empty()).then(|| (key.to_owned(), ByteString(value.as_bytes().to_vec())))
        };
        let data = [entry("tls.crt", certificate), entry("tls.key", key)];
        let secret = k8s_openapi::api::core::v1::Secret {
            data: Some(data.into_iter().flatten().collect()),
            ..Default::default()
        };
        (Key::new("default", *name), secret.into())
    };
    stores.secrets = secrets.iter().map(secret).collect();
    stores
}

fn translate(text: &str, secrets: &[(&str, &Pair)]) -> Translation {
    let secrets: Vec<_> =
        secrets.iter().map(|(name, pair)| (*name, &*pair.certificate, &*pair.key)).collect();
    Translator::new(Options::default())
        .translate(&with_secrets(text, &secrets), &Default::default())
}

/// The Secret whose certificate a host presents: its name, `default` or, without TLS, `none`.
fn presents(translation: &Translation, name: &str) -> String {
    let host = host(&translation.model, name);
    let certificate = |id: crate::model::CertificateId| -> &Certificate {
        &translation.model.certificates[id.0 as usize]
    };
    match (host.tls, host.certificate) {
        (true, Some(id)) => certificate(id).secret.name.to_string(),
        (true, None) => "default".to_owned(),
        (false, None) => "none".to_owned(),
        (false, Some(_)) => panic!("{name} has a certificate and no TLS"),
    }
}

const RULES: &[&str] = &["a.com / Prefix web", "b.com / Prefix web"];

#[test]
fn the_entry_that_lists_the_host_decides() {
    let a = pair(&["a.com"], "a");
    let b = pair(&["b.com"], "b");
    let both = pair(&["a.com", "b.com"], "both");
    let tls = "tls: [{hosts: [A.com], secretName: a}, {hosts: [b.com], secretName: b}]";
    let secrets = [("a", &a), ("b", &b), ("both", &both)];
    let translation = translate(&ingress("x", &[], tls, RULES), &secrets);
    assert_eq!(presents(&translation, "a.com"), "a");
    assert_eq!(presents(&translation, "b.com"), "b");
    says_nothing(&translation);
    let used = &translation.model.certificates[0];
    assert_eq!((used.chain.len(), &*used.secret.namespace), (1, "default"));
    assert!(!format!("{used:?}").contains("key"));
}

#[test]
fn a_host_that_no_entry_lists_takes_the_first_certificate_for_it() {
    let other = pair(&["c.com"], "c");
    let b = pair(&["b.com"], "b");
    let wild = pair(&["*.com"], "wild");
    let tls = "tls: [{hosts: [c.com], secretName: c}, {secretName: b}, {secretName: wild}]";
    let secrets = [("c", &other), ("b", &b), ("wild", &wild)];
    let translation = translate(&ingress("x", &[], tls, RULES), &secrets);
    assert_eq!(presents(&translation, "a.com"), "wild");
    assert_eq!(presents(&translation, "b.com"), "b");
    // None is for it: TLS all the same.
    let tls = "tls: [{hosts: [c.com], secretName: c}]";
    let translation = translate(&ingress("x", &[], tls, RULES), &secrets);
    assert_eq!(presents(&translation, "a.com"), "default");
    says(
        &translation,
        "warning Ingress default/x: spec.tls: no entry lists a.com, and no certificate is for it",
    );
}

#[test]
fn what_is_wrong_with_the_secret_means_the_default_certificate() {
    let good = pair(&["a.com"], "a");
    let other = pair(&["c.com"], "c");
    let tls = "tls: [{hosts: [a.com], secretName: s}]";
    let text = ingress("x", &[], tls, &["a.com / Prefix web"]);
    for (certificate, key, why) in [
        (
            &*good.certificate,
            &*other.key,
            "Secret default/s has a `tls.key` that does not belong to the first certificate of `tls.crt`",
        ),
        (
            &other.certificate,
            &other.key,
            "the certificate of Secret default/s is for c.com, not for a.com",
        ),
        ("", &good.key, "Secret default/s has no entry `tls.crt`"),
        (&good.certificate, "", "Secret default/s has no entry `tls.key`"),
        ("nonsense", &good.key, "Secret default/s has a `tls.crt` without a certificate"),
        (&good.key, &good.key, "Secret default/s has a `tls.crt` without a certificate"),
        (
            "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
            &good.key,
            "Secret default/s has a `tls.crt` that is no PEM",
        ),
        (
            "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
            &good.key,
            "Secret default/s has a `tls.crt` that is no X.509 certificate",
        ),
        (
            &good.certificate,
            "nonsense",
            "Secret default/s has a `tls.key` that is no private key in PEM",
        ),
        (
            &good.certificate,
            "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n",
            "Secret default/s has a `tls.key` of an unsupported kind",
        ),
    ] {
        let stores = with_secrets(&text, &[("s", certificate, key)]);
        let translation =
            Translator::new(Options::default()).translate(&stores, &Default::default());
        assert_eq!(presents(&translation, "a.com"), "default", "{why}");
        assert_eq!(super::get(&translation, "a.com/"), "web");
        says(&translation, &format!("error Ingress default/x: spec.tls[0].secretName: {why}"));
        says(&translation, "; the default certificate is used for a.com");
        for line in key.lines().filter(|line| line.len() > 20) {
            assert!(!said(&translation).contains(line) || line.starts_with("--"));
        }
    }
    let translation = translate(&text, &[]);
    assert_eq!(presents(&translation, "a.com"), "default");
    says(
        &translation,
        "spec.tls[0].secretName: Secret default/s does not exist; the default certificate is used for a.com",
    );
}

#[test]
fn an_entry_without_a_secret_asks_for_the_default_certificate() {
    for tls in ["tls: [{hosts: [a.com]}]", "tls: [{hosts: [a.com], secretName: ''}]"] {
        let translation = translate(&ingress("x", &[], tls, &["a.com / Prefix web"]), &[]);
        assert_eq!(presents(&translation, "a.com"), "default");
        says_nothing(&translation);
    }
}

#[test]
fn the_oldest_ingress_with_tls_decides() {
    let a = pair(&["a.com"], "a");
    // `z` is older than `b`, and `b` than `a`.
    let text = ingress("z", &[], "", &["a.com /z Prefix web"])
        + &ingress(
            "b",
            &[],
            "tls: [{hosts: [a.com], secretName: missing}]",
            &["a.com /b Prefix web"],
        )
        + &ingress("a", &[], "tls: [{hosts: [a.com], secretName: a}]", &["a.com /a Prefix web"]);
    let translation = translate(&text, &[("a", &a)]);
    assert_eq!(presents(&translation, "a.com"), "default");
}

#[test]
fn wildcard_hosts_are_compared_as_text() {
    let wild = pair(&["*.a.com"], "wild");
    let deep = pair(&["x.a.com"], "deep");
    let rules = ["*.a.com / Prefix web"];
    let listed = ingress("x", &[], "tls: [{hosts: ['*.a.com'], secretName: s}]", &rules);
    assert_eq!(presents(&translate(&listed, &[("s", &wild)]), "*.a.com"), "s");
    assert_eq!(presents(&translate(&listed, &[("s", &deep)]), "*.a.com"), "default");
    // `*.a.com` in an entry lists `*.a.com`, not `x.a.com`; its certificate is for both.
    let text = ingress(
        "x",
        &[],
        "tls: [{hosts: ['*.a.com'], secretName: s}]",
        &["x.a.com / Prefix web", "x.y.a.com / Prefix web"],
    );
    let translation = translate(&text, &[("s", &wild)]);
    assert_eq!(presents(&translation, "x.a.com"), "s");
    assert_eq!(presents(&translation, "x.y.a.com"), "default");
}

#[test]
fn a_tls_wildcard_covers_the_plain_hosts_beneath_it() {
    let wild = pair(&["*.a.com"], "wild");
    let text =
        ingress("x", &[], "tls: [{hosts: ['*.a.com'], secretName: s}]", &["*.a.com / Prefix web"])
            + &ingress(
                "y",
                &[],
                "",
                &["x.a.com / Prefix api", "x.y.a.com / Prefix api", "a.com / Prefix api"],
            )
            + &ingress(
                "z",
                &[],
                "tls: [{hosts: [own.a.com], secretName: missing}]",
                &["own.a.com / Prefix api"],
            );
    let translation = translate(&text, &[("s", &wild)]);
    assert_eq!(presents(&translation, "x.a.com"), "s");
    assert_eq!(presents(&translation, "x.y.a.com"), "none");
    assert_eq!(presents(&translation, "a.com"), "none");
    assert_eq!(presents(&translation, "own.a.com"), "default");
}

#[test]
fn the_common_name_counts_without_alternative_names_alone() {
    let text = ingress("x", &[], "tls: [{hosts: [a.com], secretName: s}]", &["a.com / Prefix web"]);
    assert_eq!(presents(&translate(&text, &[("s", &pair(&[], "a.com"))]), "a.com"), "s");
    assert_eq!(
        presents(&translate(&text, &[("s", &pair(&["b.com"], "a.com"))]), "a.com"),
        "default"
    );
}

#[test]
fn the_catch_all_has_no_tls() {
    let a = pair(&["a.com"], "a");
    let text = ingress("x", &[], "tls: [{secretName: a}]", &["- / Prefix web"]);
    let translation = translate(&text, &[("a", &a)]);
    assert_eq!(presents(&translation, "-"), "none");
}

#[test]
fn the_default_certificate_is_that_of_the_flag() {
    let own = pair(&["own.com"], "own");
    let options = Options {
        default_ssl_certificate: Some(("default".to_owned(), "own".to_owned())),
        ..Options::default()
    };
    let stores = with_secrets("", &[("own", &own.certificate, &own.key)]);
    let translation = Translator::new(options.clone()).translate(&stores, &Default::default());
    let id = translation.model.default_certificate.expect("it is good");
    assert_eq!(&*translation.model.certificates[id.0 as usize].secret.name, "own");
    let translation =
        Translator::new(options).translate(&with_secrets("", &[]), &Default::default());
    assert_eq!(translation.model.default_certificate, None);
    says(
        &translation,
        "error Secret default/own: --default-ssl-certificate: does not exist; a self-signed certificate is used",
    );
}

#[test]
fn a_certificate_that_is_renewed_is_presented() {
    let text = ingress("x", &[], "tls: [{hosts: [a.com], secretName: s}]", &["a.com / Prefix web"]);
    let (old, new) = (pair(&["a.com"], "a"), pair(&["a.com"], "a"));
    let mut translator = Translator::new(Options::default());
    let mut chain = |pair: &Pair| {
        let stores = with_secrets(&text, &[("s", &pair.certificate, &pair.key)]);
        let translation = translator.translate(&stores, &Default::default());
        assert_eq!(presents(&translation, "a.com"), "s");
        translation.model.certificates[0].chain.clone()
    };
    assert_ne!(chain(&old), chain(&new));
    assert_eq!(chain(&old), chain(&old));
}
