//! Versions, suites, names.

use std::sync::Arc;

use rustls::{
    ProtocolVersion,
    version::{TLS12, TLS13},
};

use super::{BOTH, client, connect, handshakes, host, model};
use crate::{
    model::{HostTls, Model, Settings, Suite, TlsSettings},
    tls::{Answer, Handshakes},
};

fn with(settings: TlsSettings) -> Model {
    Model { settings: Settings { tls: settings, ..Settings::default() }, ..model(Vec::new()) }
}

#[test]
fn the_newest_version_and_our_first_suite_are_agreed_on() {
    let handshakes = handshakes(&model(Vec::new()));
    let done = connect(&handshakes, &client(BOTH, None), "a.com").expect("done");
    assert_eq!(done.version, ProtocolVersion::TLSv1_3);
    assert_eq!(done.suite, "TLS13_AES_128_GCM_SHA256");
    let done = connect(&handshakes, &client(&[&TLS12], None), "a.com").expect("done");
    assert_eq!(done.suite, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
}

#[test]
fn a_version_that_is_off_is_refused() {
    for (tls12, tls13, refused, left) in
        [(true, false, &TLS13, &TLS12), (false, true, &TLS12, &TLS13)]
    {
        let handshakes = handshakes(&with(TlsSettings { tls12, tls13, ..TlsSettings::default() }));
        connect(&handshakes, &client(&[left], None), "a.com").expect("it is on");
        let error = connect(&handshakes, &client(&[refused], None), "a.com").expect_err("off");
        assert!(matches!(error, rustls::Error::PeerIncompatible(_)), "{error}");
    }
}

#[test]
fn a_host_has_its_own_suites_and_preference() {
    let own = HostTls {
        suites: Some(vec![
            Suite::EcdheRsaAes128GcmSha256,
            Suite::EcdheEcdsaChacha20Poly1305,
            Suite::EcdheEcdsaAes256GcmSha384,
        ]),
        ..HostTls::default()
    };
    let theirs = HostTls { prefer_own_suites: Some(false), ..own.clone() };
    let hosts = vec![host("a.com", Some(own)), host("b.com", Some(theirs)), host("c.com", None)];
    let handshakes = handshakes(&model(hosts));
    let suite = |name| connect(&handshakes, &client(&[&TLS12], None), name).expect("done").suite;
    assert_eq!(suite("a.com"), "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256");
    assert_eq!(suite("b.com"), "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "the client's first");
    assert_eq!(suite("c.com"), "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
}

#[test]
fn unknown_names_are_rejected_where_that_is_asked_for() {
    let mut model = with(TlsSettings { reject_unknown_names: true, ..TlsSettings::default() });
    model.hosts = [host("a.com", None), host("*.b.com", None), host("-", None)].into();
    let rejected = |handshakes: &Handshakes, name: Option<&str>| {
        matches!(handshakes.answer(name), Answer::UnknownName)
    };
    let strict = handshakes(&model);
    for name in ["a.com", "A.COM", "a.com.", "x.b.com"] {
        assert!(!rejected(&strict, Some(name)), "{name}");
    }
    for name in ["b.com", "x.y.b.com", ".b.com", "", "c.com"] {
        assert!(rejected(&strict, Some(name)), "{name}");
    }
    assert!(rejected(&strict, None));
    model.settings = Settings::default();
    let lenient = handshakes(&model);
    assert!(!rejected(&lenient, Some("c.com")) && !rejected(&lenient, None));
}

#[test]
fn hosts_that_ask_for_the_same_share_a_class() {
    let own = || Some(HostTls { prefer_own_suites: Some(false), ..HostTls::default() });
    let names = (0..100).map(|number| format!("host-{number}.com"));
    let hosts = names.map(|name| host(&name, own())).chain([host("plain.com", None)]).collect();
    let handshakes = handshakes(&model(hosts));
    let config = |name| match handshakes.answer(Some(name)) {
        Answer::Go(config, _) => config,
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&config("host-0.com"), &config("host-99.com")));
    assert!(Arc::ptr_eq(&config("plain.com"), &config("unknown.com")));
    assert!(!Arc::ptr_eq(&config("host-0.com"), &config("plain.com")));
}
