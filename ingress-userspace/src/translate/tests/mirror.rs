//! `mirror-*`: where copies of requests go.

use std::net::IpAddr;

use super::{BASE, Translation, get, host, ingress, says, says_nothing, translate};
use crate::{
    model::{Mirror, MirrorHost, Piece, Protocol, Variable},
    names::{Known, Names},
    source::parse::tests::stores,
    translate::{Options, Translator},
};

fn with(annotations: &[(&str, &str)]) -> Translation {
    translate(&ingress("x", annotations, "", &["a.com / Prefix web"]))
}

fn mirror(translation: &Translation) -> Option<&Mirror> {
    host(&translation.model, "a.com").routes[0].policies.as_ref()?.mirror.as_ref()
}

fn text(text: &str) -> Piece {
    Piece::Text(text.into())
}

const URI: Piece = Piece::Variable(Variable::RequestUri);

#[test]
fn a_target_is_taken_apart() {
    for (value, to, port, path, named) in [
        ("http://192.0.2.1$request_uri", "192.0.2.1", 80, vec![URI], "192.0.2.1"),
        ("https://192.0.2.1:8443$request_uri", "192.0.2.1", 8443, vec![URI], "192.0.2.1"),
        (
            "HTTP://[2001:db8::1]:81/x$request_uri",
            "2001:db8::1",
            81,
            vec![text("/x"), URI],
            "[2001:db8::1]",
        ),
        ("https://[2001:db8::1]/", "2001:db8::1", 443, vec![text("/")], "[2001:db8::1]"),
        ("http://192.0.2.1", "192.0.2.1", 80, vec![URI], "192.0.2.1"),
    ] {
        let translation = with(&[("mirror-target", value)]);
        says_nothing(&translation);
        let own = mirror(&translation).expect(value);
        let ip: IpAddr = to.parse().expect("an address");
        assert_eq!((&own.to, own.port), (&MirrorHost::Address(ip), port), "{value}");
        assert_eq!(*own.target.pieces, *path, "{value}");
        assert_eq!(own.host.literal(), Some(named), "{value}");
        assert!(own.body, "{value}");
    }
}

#[test]
fn a_name_is_resolved_and_named_in_the_handshake() {
    let translation = with(&[("mirror-target", "https://Mirror.example.com$request_uri")]);
    let own = mirror(&translation).expect("a mirror");
    assert_eq!(own.to, MirrorHost::Name("mirror.example.com".into()));
    assert_eq!(own.proxying.protocol, Protocol::Https);
    let tls = own.proxying.tls.as_ref().expect("TLS");
    assert_eq!((tls.name.as_deref(), tls.send_name), (Some("mirror.example.com"), true));
    assert!(translation.names.contains("mirror.example.com"));
    says(
        &translation,
        "warning Ingress default/x: metadata.annotations[nginx.ingress.kubernetes.io/mirror-target]: `mirror.example.com` is not resolved yet",
    );
}

#[test]
fn the_model_has_what_names_stand_for() {
    let rules = [("mirror-target", "http://mirror.example.com$request_uri")];
    let (stores, _) =
        stores(&format!("{BASE}{}", ingress("x", &rules, "", &["a.com / Prefix web"])));
    let known = Known::Addresses { addresses: vec![[192, 0, 2, 7].into()], late: None };
    let names: Names = [("mirror.example.com".into(), known.clone())].into_iter().collect();
    let mut translator = Translator::new(Options::default());
    translator.translate(&stores, &Default::default());
    let translation = translator.translate(&stores, &names.into());
    says_nothing(&translation);
    assert_eq!(translation.model.names.get("mirror.example.com"), Some(&known));
    let nothing = Known::Nothing("there is no such name".to_owned());
    let names: Names = [("mirror.example.com".into(), nothing)].into_iter().collect();
    let translation = translator.translate(&stores, &names.into());
    says(&translation, "`mirror.example.com`: there is no such name; nothing is mirrored");
}

#[test]
fn the_host_and_the_body_can_be_said() {
    let target = ("mirror-target", "http://192.0.2.1$request_uri");
    let translation =
        with(&[target, ("mirror-host", "other.example.com"), ("mirror-request-body", "off")]);
    says_nothing(&translation);
    let own = mirror(&translation).expect("a mirror");
    assert_eq!((own.host.literal(), own.body), (Some("other.example.com"), false));
    let translation = with(&[target, ("mirror-host", "$host")]);
    let own = mirror(&translation).expect("a mirror");
    assert_eq!(*own.host.pieces, [Piece::Variable(Variable::Host)]);
}

#[test]
fn what_is_wrong_mirrors_nothing_and_serves_on() {
    for (value, why) in [
        ("", "is not a URL like"),
        ("mirror.example.com", "is not a URL like"),
        ("ftp://mirror.example.com", "is not a URL like"),
        ("http://", "is not a URL like"),
        ("http://a b$request_uri", "is not a URL like"),
        ("http://user@mirror.example.com", "is not a URL like"),
        ("http://mirror.example.com/\nx", "is not a URL like"),
        ("http://mirror.example.com:99999/", "is not a URL like"),
        ("http://$host/", "names its host by a variable"),
        ("http://mirror.example.com$nonsense", "`$nonsense` is not known"),
        ("http://127.0.0.1$request_uri", "`127.0.0.1` is this node itself"),
        ("http://[::1]$request_uri", "`[::1]` is this node itself"),
        ("http://localhost:9000$request_uri", "`localhost` is this node itself"),
    ] {
        let translation = with(&[("mirror-target", value)]);
        let field = "error Ingress default/x: \
                     metadata.annotations[nginx.ingress.kubernetes.io/mirror-target]: ";
        says(&translation, &format!("{field}{why}"));
        says(&translation, "; nothing is mirrored");
        assert_eq!(mirror(&translation), None, "{value}");
        assert_eq!(get(&translation, "a.com/"), "web", "{value}");
    }
    let target = ("mirror-target", "http://192.0.2.1$request_uri");
    let translation = with(&[target, ("mirror-host", "a b"), ("mirror-request-body", "yes")]);
    says(&translation, "mirror-host]: is no host; the host of mirror-target is named");
    says(&translation, "mirror-request-body]: is not `on` or `off`; the default applies");
    let own = mirror(&translation).expect("a mirror");
    assert_eq!((own.host.literal(), own.body), (Some("192.0.2.1"), true));
    says(&with(&[("mirror-host", "a")]), "mirror-host]: has no effect without mirror-target");
}
