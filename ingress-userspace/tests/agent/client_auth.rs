//! Client certificates: who gets in, and what the upstream is told.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{
    Backend, Connection, Ingress, Pair, Reply, Site, TlsOptions, certificate, config_map,
    documents, secret_of, service, tls_config, tls_over, until,
};

struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("randomness");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).expect("plain").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// An authority beneath this one, and its certificate.
    fn intermediate(&self, name: &str) -> (Self, CertificateDer<'static>) {
        let key = KeyPair::generate().expect("randomness");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let own = params.signed_by(&key, &self.issuer).expect("plain");
        let (pem, own) = (own.pem(), own.der().clone());
        (Self { pem, issuer: Issuer::new(params, key) }, own)
    }

    fn client(&self, name: &str) -> Pair {
        let key = KeyPair::generate().expect("randomness");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(7));
        let own = params.signed_by(&key, &self.issuer).expect("plain").der().clone();
        (vec![own], PrivateKeyDer::try_from(key.serialize_der()).expect("our own"))
    }

    /// `ca.crl` without the client's certificate.
    fn list(&self) -> String {
        let now = SystemTime::now();
        let day = Duration::from_secs(86_400);
        let list = CertificateRevocationListParams {
            this_update: (now - day).into(),
            next_update: (now + day).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(7),
                revocation_time: (now - day).into(),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).expect("plain").pem().expect("plain")
    }
}

/// A host that looks at certificates, and one that does not.
fn rules(shop: &Backend, annotations: &[(&str, &str)]) -> String {
    let (_, secret) = certificate("cert", &["*.example.com"]);
    let ingress = |name, annotations: &[(&str, &str)], host| {
        let paths = &[("Prefix", "/", "shop")];
        Ingress { name, annotations, host, paths, tls: Some("cert") }.yaml()
    };
    let mut all = vec![("auth-tls-secret", "web/ca")];
    all.extend(annotations);
    documents(&[
        &ingress("guarded", &all, "guarded.example.com"),
        &ingress("open", &[], "open.example.com"),
        &secret,
        &service("shop", &[shop.address]),
    ])
}

/// A connection for a server name, with or without certificate.
fn open(site: &Site, name: &str, own: Option<Pair>) -> Connection {
    let config = tls_config(TlsOptions::default(), own);
    Connection::over(tls_over(site.https, name, &config).expect("the handshake succeeds"))
}

fn get(connection: &mut Connection, host: &str) -> Reply {
    connection.request(&format!(
        "GET /a HTTP/1.1\r\nhost: {host}\r\nssl-client-verify: SUCCESS\r\nssl-client-cert: mine\r\n\
         ssl-client-subject-dn: CN=admin\r\n\r\n"
    ))
}

#[test]
fn the_host_alone_that_asks_for_certificates_lets_nobody_in_without() {
    let (shop, ca) = (Backend::echo("shop"), Ca::new("ours"));
    let rules = rules(&shop, &[]);
    let site = Site::start(&[
        ("rules.yaml", &rules),
        ("ca.yaml", &secret_of("ca", &[("ca.crt", &ca.pem)])),
    ]);
    let guarded = "guarded.example.com";
    let good = get(&mut open(&site, guarded, Some(ca.client("alice"))), guarded);
    assert_eq!(good.status, 200);
    assert_eq!(good.line("ssl-client-verify: "), Some("SUCCESS"));
    assert_eq!(good.line("ssl-client-subject-dn: "), Some("CN=alice"));
    assert_eq!(good.line("ssl-client-issuer-dn: "), Some("CN=ours"));
    assert_eq!(good.line("ssl-client-cert: "), None, "the client cannot make it up");

    let none = get(&mut open(&site, guarded, None), guarded);
    assert_eq!((none.status, none.header("connection")), (400, Some("close")));
    assert!(none.text().contains("<center>No required SSL certificate was sent</center>"));
    let bad = get(&mut open(&site, guarded, Some(Ca::new("theirs").client("alice"))), guarded);
    assert_eq!(bad.status, 400);
    assert!(bad.text().contains("<center>The SSL certificate error</center>"));

    // The other host neither asks nor takes away.
    let open_host = "open.example.com";
    let mut connection = open(&site, open_host, Some(ca.client("alice")));
    let reply = get(&mut connection, open_host);
    assert_eq!((reply.status, reply.line("ssl-client-cert: ")), (200, Some("mine")));
    // A connection that was made for it does not lead into the guarded one.
    assert_eq!(get(&mut connection, guarded).status, 421);
    let mut connection = open(&site, guarded, Some(ca.client("alice")));
    assert_eq!(get(&mut connection, open_host).status, 200);
    assert_eq!(get(&mut connection, guarded).status, 200);
}

#[test]
fn annotations_choose_the_answer_and_the_headers() {
    let (shop, ca) = (Backend::echo("shop"), Ca::new("ours"));
    let start = |annotations: &[(&str, &str)]| {
        let rules = rules(&shop, annotations);
        let ca = secret_of("ca", &[("ca.crt", &ca.pem)]);
        Site::start(&[("rules.yaml", &rules), ("ca.yaml", &ca)])
    };
    let guarded = "guarded.example.com";
    let site = start(&[
        ("auth-tls-error-page", "https://example.com/sorry"),
        ("auth-tls-match-cn", "CN=alice"),
        ("auth-tls-pass-certificate-to-upstream", "true"),
    ]);
    let none = get(&mut open(&site, guarded, None), guarded);
    assert_eq!((none.status, none.header("location")), (302, Some("https://example.com/sorry")));
    let good = get(&mut open(&site, guarded, Some(ca.client("alice"))), guarded);
    let pem = good.line("ssl-client-cert: ").expect("it is passed on");
    assert!(pem.starts_with("-----BEGIN%20CERTIFICATE-----%0AMII"), "{pem}");
    assert_eq!(get(&mut open(&site, guarded, Some(ca.client("bob"))), guarded).status, 403);

    let site = start(&[("auth-tls-verify-client", "optional_no_ca")]);
    let none = get(&mut open(&site, guarded, None), guarded);
    assert_eq!((none.status, none.line("ssl-client-verify: ")), (200, Some("NONE")));
    let stranger = get(&mut open(&site, guarded, Some(Ca::new("theirs").client("eve"))), guarded);
    let verify = Some("FAILED:unable to verify the first certificate");
    assert_eq!((stranger.status, stranger.line("ssl-client-verify: ")), (200, verify));
}

#[test]
fn a_certificate_that_is_taken_back_is_so_on_open_connections_too() {
    let (shop, ca) = (Backend::echo("shop"), Ca::new("ours"));
    let rules = rules(&shop, &[]);
    let site = Site::start(&[
        ("rules.yaml", &rules),
        ("ca.yaml", &secret_of("ca", &[("ca.crt", &ca.pem)])),
    ]);
    let guarded = "guarded.example.com";
    let mut connection = open(&site, guarded, Some(ca.client("alice")));
    assert_eq!(get(&mut connection, guarded).status, 200);
    let before = site.generation();
    site.replace("ca.yaml", &secret_of("ca", &[("ca.crt", &ca.pem), ("ca.crl", &ca.list())]));
    until("the list is known", || site.generation() > before);
    assert_eq!(get(&mut connection, guarded).status, 421, "connect again");
    assert_eq!(get(&mut open(&site, guarded, Some(ca.client("alice"))), guarded).status, 400);
}

#[test]
fn without_an_authority_nobody_gets_in() {
    let (shop, ca) = (Backend::echo("shop"), Ca::new("ours"));
    let site = Site::start(&[("rules.yaml", &rules(&shop, &[]))]);
    let guarded = "guarded.example.com";
    assert_eq!(get(&mut open(&site, guarded, Some(ca.client("alice"))), guarded).status, 403);
    assert_eq!(site.get(guarded, "/").status, 403);
    assert_eq!(get(&mut open(&site, "open.example.com", None), "open.example.com").status, 200);
}

#[test]
fn variables_say_who_showed_what_to_this_host() {
    let (shop, ca) = (Backend::echo("shop"), Ca::new("ours"));
    let (_, secret) = certificate("cert", &["*.example.com"]);
    let snippet = "add_header X-Client \"$ssl_client_verify|$ssl_client_s_dn|$ssl_client_i_dn\";";
    let ingress = |name, host, more: &[(&str, &str)]| {
        let mut annotations = vec![("configuration-snippet", snippet)];
        annotations.extend(more);
        let paths = &[("Prefix", "/", "shop")];
        Ingress { name, annotations: &annotations, host, paths, tls: Some("cert") }.yaml()
    };
    let guard = [("auth-tls-secret", "web/ca"), ("auth-tls-verify-client", "optional")];
    let all = documents(&[
        &ingress("guarded", "guarded.example.com", &guard),
        &ingress("open", "open.example.com", &[]),
        &secret,
        &secret_of("ca", &[("ca.crt", &ca.pem)]),
        &service("shop", &[shop.address]),
        &config_map(&[
            ("allow-snippet-annotations", "true"),
            ("annotations-risk-level", "Critical"),
        ]),
    ]);
    let site = Site::start_with(&[("all.yaml", &all)], &["--configmap=web/controller"], |_| {});
    let (guarded, open_host) = ("guarded.example.com", "open.example.com");
    let said = |connection: &mut Connection, host| {
        let reply = get(connection, host);
        assert_eq!(reply.status, 200);
        reply.header("x-client").map(str::to_owned)
    };
    let mut connection = open(&site, guarded, Some(ca.client("alice")));
    assert_eq!(said(&mut connection, guarded).as_deref(), Some("SUCCESS|CN=alice|CN=ours"));
    assert_eq!(said(&mut connection, open_host).as_deref(), Some("NONE||"), "not shown to it");
    let mut connection = open(&site, guarded, None);
    assert_eq!(said(&mut connection, guarded).as_deref(), Some("NONE||"));
}

#[test]
fn a_chain_may_be_as_long_as_the_depth_says() {
    let (shop, ca) = (Backend::echo("shop"), Ca::new("ours"));
    let (one, first) = ca.intermediate("one");
    let (two, second) = one.intermediate("two");
    let client = |of: &Ca, chain: &[&CertificateDer<'static>]| {
        let (mut own, key) = of.client("alice");
        own.extend(chain.iter().map(|certificate| (*certificate).clone()));
        (own, key)
    };
    let guarded = "guarded.example.com";
    // What stands between the client's certificate and the authority counts; 1 without a word.
    for (annotations, statuses) in [
        (&[][..], [200, 200, 400]),
        (&[("auth-tls-verify-depth", "1")], [200, 200, 400]),
        // As in ingress-nginx, this says nothing.
        (&[("auth-tls-verify-depth", "0")], [200, 200, 400]),
        (&[("auth-tls-verify-depth", "2")], [200, 200, 200]),
        (&[("auth-tls-verify-depth", "deep")], [200, 200, 400]),
    ] {
        let rules = rules(&shop, annotations);
        let secret = secret_of("ca", &[("ca.crt", &ca.pem)]);
        let site = Site::start(&[("rules.yaml", &rules), ("ca.yaml", &secret)]);
        let chains = [client(&ca, &[]), client(&one, &[&first]), client(&two, &[&second, &first])];
        let asked = chains.map(|own| get(&mut open(&site, guarded, Some(own)), guarded).status);
        assert_eq!(asked, statuses, "{annotations:?}");
    }
}
