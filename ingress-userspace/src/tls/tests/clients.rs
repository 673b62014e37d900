//! Reference section 4.6, with real chains.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use rustls::{
    HandshakeKind,
    version::{TLS12, TLS13},
};

use super::{
    BOTH, Done,
    authority::{Ca, Pair, asking, rule},
    client, connect, handshakes, host, model,
};
use crate::{
    model::{ClientRule, VerifyClient},
    tls::verify::{ClientVerdict, Fault},
};

fn judged(rule: ClientRule, own: Option<Pair>) -> Done {
    let handshakes = handshakes(&model(vec![host("a.com", asking(rule))]));
    connect(&handshakes, &client(BOTH, own), "a.com").expect("the handshake succeeds")
}

fn fault(rule: ClientRule, own: Pair) -> Option<Fault> {
    match judged(rule, Some(own)).identity.verdict {
        ClientVerdict::Failed(fault, _) => Some(fault),
        ClientVerdict::Valid(_) => None,
        ClientVerdict::None => panic!("there was a certificate"),
    }
}

#[test]
fn a_good_certificate_is_described() {
    let ca = Ca::root("The Authority");
    let mut rule = rule(&[&ca], Vec::new(), VerifyClient::Required);
    rule.pass_certificate = true;
    let own = ca.client("alice, <bob>", &[]);
    let der = own.0[0].clone();
    let done = judged(rule, Some(own));
    let ClientVerdict::Valid(certificate) = &done.identity.verdict else {
        panic!("{:?}", done.identity)
    };
    assert_eq!(certificate.subject, "CN=alice\\, \\<bob\\>,O=Shop");
    assert_eq!(certificate.issuer, "CN=The Authority");
    let pem = certificate.pem.replace("%20", " ").replace("%0A", "\n");
    let pem = pem.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    assert_eq!(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM"), der);
    assert!(pem.ends_with("-----END CERTIFICATE-----\n"));
    assert!(pem.lines().all(|line| line.len() <= 64));
}

#[test]
fn the_handshake_succeeds_whatever_the_certificate_is_worth() {
    let (ca, other) = (Ca::root("ours"), Ca::root("another"));
    let of = |lists| rule(&[&ca], lists, VerifyClient::Required);
    let now = SystemTime::now();
    let day = Duration::from_secs(86_400);
    let none = || of(Vec::new());
    let with = |change: fn(&mut CertificateParams)| ca.client_with("alice", &[], change);
    let expired = ca.client_with("alice", &[], |params| {
        params.not_after = (now - day).into();
    });
    let future = ca.client_with("alice", &[], |params| {
        params.not_before = (now + day).into();
    });
    let server_only = with(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(fault(none(), ca.client("alice", &[])), None);
    assert_eq!(fault(none(), other.client("alice", &[])), Some(Fault::Untrusted));
    assert_eq!(fault(none(), expired), Some(Fault::Expired));
    assert_eq!(fault(none(), future), Some(Fault::NotYetValid));
    assert_eq!(fault(none(), server_only), Some(Fault::Purpose));
    // Revocation lists.
    let alice = || ca.client("alice", &[]);
    assert_eq!(fault(of(vec![ca.list(&[], None)]), alice()), None);
    assert_eq!(fault(of(vec![ca.list(&[7], None)]), alice()), Some(Fault::Revoked));
    assert_eq!(fault(of(vec![ca.list(&[8], None)]), alice()), None);
    let stale = ca.list(&[], Some(Duration::from_secs(60)));
    assert_eq!(fault(of(vec![stale]), alice()), Some(Fault::StaleRevocationList));
    let foreign = other.list(&[], None);
    assert_eq!(fault(of(vec![foreign]), alice()), Some(Fault::NoRevocationList));
}

#[test]
fn depth_counts_what_is_between_the_client_and_the_authority() {
    let root = Ca::root("root");
    let one = root.intermediate("one");
    let two = one.intermediate("two");
    let of = |depth| ClientRule { depth, ..rule(&[&root], Vec::new(), VerifyClient::Required) };
    assert_eq!(fault(of(1), root.client("alice", &[])), None);
    assert_eq!(fault(of(1), one.client("alice", &[&one])), None);
    assert_eq!(fault(of(1), two.client("alice", &[&two, &one])), Some(Fault::TooLong));
    assert_eq!(fault(of(2), two.client("alice", &[&two, &one])), None);
    assert_eq!(fault(of(2), two.client("alice", &[&two])), Some(Fault::Untrusted));
}

#[test]
fn only_hosts_that_want_a_certificate_ask_for_one() {
    let ca = Ca::root("ours");
    let hosts = vec![
        host("asks.com", asking(rule(&[&ca], Vec::new(), VerifyClient::Optional))),
        host("off.com", asking(rule(&[&ca], Vec::new(), VerifyClient::Off))),
        host("plain.com", None),
    ];
    let handshakes = handshakes(&model(hosts));
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let config = client(versions, Some(ca.client("alice", &[])));
        let verdict = |name| connect(&handshakes, &config, name).expect("done").identity.verdict;
        assert!(matches!(verdict("asks.com"), ClientVerdict::Valid(_)));
        assert_eq!(verdict("off.com"), ClientVerdict::None);
        assert_eq!(verdict("plain.com"), ClientVerdict::None);
        assert_eq!(verdict("unknown.com"), ClientVerdict::None);
    }
}

#[test]
fn the_subject_is_searched_for_the_expression() {
    let ca = Ca::root("ours");
    let matches = |pattern: &str, own: Option<Pair>| {
        let subject = Some(pattern.into());
        let rule = ClientRule { subject, ..rule(&[&ca], Vec::new(), VerifyClient::Optional) };
        judged(rule, own).identity.subject_matches
    };
    let alice = || Some(ca.client("alice", &[]));
    assert!(matches("CN=alice", alice()));
    assert!(matches("CN=(ali|bo)", alice()), "it is not anchored");
    assert!(!matches("CN=Alice", alice()));
    assert!(!matches("CN=bob", alice()));
    assert!(!matches("CN=.*", None), "there is no subject");
}

#[test]
fn a_resumed_session_is_judged_anew() {
    let (ca, lasting) = (Ca::root("ours"), super::Lasting::new().expect("randomness"));
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let config = client(versions, Some(ca.client("alice", &[])));
        let of = |lists| {
            let rule = rule(&[&ca], lists, VerifyClient::Required);
            model(vec![host("a.com", asking(rule))])
        };
        let first = super::Handshakes::default().next(&of(Vec::new()), &lasting);
        let kind = |handshakes| {
            let done = connect(handshakes, &config, "a.com").expect("done");
            (done.kind, matches!(done.identity.verdict, ClientVerdict::Valid(_)))
        };
        assert_eq!(kind(&first), (Some(HandshakeKind::Full), true));
        assert_eq!(kind(&first), (Some(HandshakeKind::Resumed), true), "its certificate too");
        // The list takes the certificate back: neither the session nor the certificate is good.
        let second = first.next(&of(vec![ca.list(&[7], None)]), &lasting);
        assert_eq!(kind(&second), (Some(HandshakeKind::Full), false));
        assert_eq!(kind(&second), (Some(HandshakeKind::Resumed), false));
    }
}

#[test]
fn names_are_written_as_openssl_writes_them() {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    // Made by `openssl req -x509 -utf8 -multivalue-rdn`, and what `openssl x509 -nameopt rfc2253`
    // says of it.
    let (_, pem) = x509_parser::pem::parse_x509_pem(include_bytes!("names.pem")).expect("PEM");
    let (_, certificate) = X509Certificate::from_der(&pem.contents).expect("a certificate");
    let expected = include_str!("names.txt").trim_end().trim_start_matches("subject=");
    assert_eq!(crate::tls::name::rfc2253(certificate.subject()), expected);
}
