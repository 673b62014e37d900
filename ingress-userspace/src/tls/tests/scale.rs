//! Thousands of certificates: what a change costs, and what they weigh.

use std::{sync::Arc, time::Instant};

use k8s_openapi::{ByteString, api::core::v1::Secret};

use super::{Handshakes, Lasting, client, connect};
use crate::{
    source::parse::tests::stores,
    stores::Key,
    translate::{Options, Translator},
};

/// `VmRSS` in kB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).expect("a number")
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture five_thousand"]
fn five_thousand_certificates_are_published_in_no_time() {
    const HOSTS: usize = 5000;
    let mut text = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\n\
        metadata: {name: penstock}\nspec: {controller: penstock.dev/ingress-controller}\n"
        .to_owned();
    let mut secrets = Vec::with_capacity(HOSTS);
    for number in 0..HOSTS {
        let name = format!("host-{number}.example.com");
        text.push_str(&format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: i{number}}}\n\
             spec:\n  ingressClassName: penstock\n  tls: [{{hosts: [{name}], secretName: s{number}}}]\n\
             \x20 rules: [{{host: {name}}}]\n"
        ));
        let key = rcgen::KeyPair::generate().expect("randomness");
        let certificate = rcgen::CertificateParams::new(vec![name])
            .and_then(|params| params.self_signed(&key))
            .expect("a plain name");
        let entry = |name: &str, pem: String| (name.to_owned(), ByteString(pem.into_bytes()));
        let data = [entry("tls.crt", certificate.pem()), entry("tls.key", key.serialize_pem())];
        let secret = Secret { data: Some(data.into()), ..Secret::default() };
        secrets.push((Key::new("default", format!("s{number}")), Arc::new(secret)));
    }
    let (mut stores, _) = stores(&text);
    stores.secrets = secrets.iter().cloned().collect();
    let lasting = Lasting::new().expect("randomness");
    let mut translator = Translator::new(Options::default());
    let before = resident();
    let measure = |what: &str, work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        let line = format!("{what}: {:?}, {} kB\n", start.elapsed(), resident() - before);
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("it is open");
    };
    let (mut model, mut handshakes) = (Arc::default(), Handshakes::default());
    measure("first translation, each pair checked", &mut || {
        model = translator.translate(&stores, &Arc::default()).model;
    });
    assert_eq!(model.certificates.len(), HOSTS);
    measure("first handshake table, no key parsed", &mut || {
        handshakes = handshakes.next(&model, &lasting);
    });
    stores.secrets = secrets.iter().skip(1).chain(&secrets[..1]).cloned().collect();
    measure("the next change", &mut || {
        model = translator.translate(&stores, &Arc::default()).model;
        handshakes = handshakes.next(&model, &lasting);
    });
    let config = client(super::BOTH, None);
    measure("a handshake with each host", &mut || {
        for number in 0..HOSTS {
            connect(&handshakes, &config, &format!("host-{number}.example.com")).expect("done");
        }
    });
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture five_thousand"]
fn five_thousand_hosts_with_authorities_of_their_own() {
    use super::{
        authority::{Ca, asking, rule},
        host, model,
    };
    use crate::model::VerifyClient;
    let hosts = (0..5000).map(|number| {
        let ca = Ca::root(&format!("authority {number}"));
        let rule = rule(&[&ca], Vec::new(), VerifyClient::Required);
        host(&format!("host-{number}.example.com"), asking(rule))
    });
    let model = model(hosts.collect());
    let lasting = Lasting::new().expect("randomness");
    let mut handshakes = Handshakes::default();
    for _ in 0..2 {
        let (start, before) = (Instant::now(), resident());
        handshakes = handshakes.next(&model, &lasting);
        let grown = resident().saturating_sub(before);
        let line = format!("5000 classes: {:?}, {grown} kB\n", start.elapsed());
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("it is open");
    }
}
