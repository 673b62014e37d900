use super::{Translation, ingress, says, says_nothing, translate};
use crate::model::{AffinityMode, Balancing, HashBy, Piece, Policy, SameSite, Text, Variable};

/// What is asked for the backend of the Service `web`.
fn balancing(translation: &Translation) -> &Balancing {
    let is_web = |backend: &&std::sync::Arc<crate::model::Backend>| &*backend.key.service == "web";
    &translation.model.backends.iter().find(is_web).unwrap().balancing
}

fn asking(annotations: &[(&str, &str)]) -> Translation {
    translate(&ingress("x", annotations, "", &["a.com / Prefix web"]))
}

#[test]
fn requests_go_round_robin_unless_asked_otherwise() {
    assert_eq!(*balancing(&asking(&[])), Balancing::default());
    assert_eq!(balancing(&asking(&[("load-balance", "ewma")])).policy, Policy::Ewma);
    let refused = asking(&[("load-balance", "ip_hash")]);
    says(&refused, "is not `round_robin` or `ewma`; the paths of this Ingress answer 503");
}

#[test]
fn hashing_precedes_load_balance() {
    let by = |subset| {
        let text = Text { pieces: [Piece::Variable(Variable::RequestUri)].into() };
        Policy::Hash(HashBy { text, subset })
    };
    let hash = ("upstream-hash-by", "$request_uri");
    assert_eq!(balancing(&asking(&[hash, ("load-balance", "ewma")])).policy, by(None));
    let subset = ("upstream-hash-by-subset", "true");
    let size = |size: u16| std::num::NonZeroU16::new(size);
    assert_eq!(balancing(&asking(&[hash, subset])).policy, by(size(3)));
    let of_two = asking(&[hash, subset, ("upstream-hash-by-subset-size", "2")]);
    assert_eq!(balancing(&of_two).policy, by(size(2)));
    let alone = asking(&[hash, ("upstream-hash-by-subset-size", "2")]);
    assert_eq!(balancing(&alone).policy, by(None));
}

#[test]
fn an_unknown_variable_is_told_and_hashes_nothing() {
    let translation = asking(&[("upstream-hash-by", "$nonsense")]);
    says(&translation, "`$nonsense` is not known");
    says(&translation, "requests are balanced without it");
    assert_eq!(balancing(&translation).policy, Policy::RoundRobin);
    says(&asking(&[("upstream-hash-by", "$uri;")]), "the paths of this Ingress answer 503");
}

#[test]
fn affinity_has_all_its_attributes() {
    let translation = asking(&[
        ("affinity", "cookie"),
        ("affinity-mode", "persistent"),
        ("session-cookie-name", "route"),
        ("session-cookie-expires", "172800"),
        ("session-cookie-max-age", "-1"),
        ("session-cookie-path", "/shop"),
        ("session-cookie-domain", "example.com"),
        ("session-cookie-samesite", "None"),
        ("session-cookie-conditional-samesite-none", "true"),
        ("session-cookie-secure", "true"),
        ("session-cookie-change-on-failure", "true"),
    ]);
    says_nothing(&translation);
    let affinity = balancing(&translation).affinity.as_ref().unwrap();
    assert_eq!(affinity.mode, AffinityMode::Persistent);
    let cookie = &affinity.cookie;
    assert_eq!((&*cookie.name, cookie.expires, cookie.max_age), ("route", Some(172_800), Some(-1)));
    assert_eq!(cookie.path.as_deref(), Some("/shop"));
    assert_eq!(cookie.domain.as_deref(), Some("example.com"));
    assert_eq!(cookie.same_site, Some(SameSite::None));
    assert!(cookie.conditional_same_site_none && cookie.secure && cookie.change_on_failure);
}

#[test]
fn invalid_affinity_is_dropped() {
    let translation = asking(&[
        ("affinity", "cookie"),
        ("session-cookie-path", "/a; Domain=evil"),
        ("session-cookie-samesite", "none"),
        ("session-cookie-name", "a b"),
    ]);
    let cookie = &balancing(&translation).affinity.as_ref().unwrap().cookie;
    assert_eq!((&*cookie.name, &cookie.path, cookie.same_site), ("INGRESSCOOKIE", &None, None));
    assert_eq!(translation.diagnostics.len(), 3);
    assert_eq!(balancing(&asking(&[("affinity", "ip")])).affinity, None);
}

#[test]
fn of_several_ingresses_each_setting_has_its_winner() {
    // Without creation times the order is by name, descending: `c` is the oldest.
    let translation = translate(
        &[
            ingress("c", &[("load-balance", "ewma")], "", &["a.com /c Prefix web"]),
            ingress(
                "b",
                &[
                    ("affinity", "cookie"),
                    ("session-cookie-name", "b"),
                    ("affinity-mode", "persistent"),
                ],
                "",
                &["a.com /b Prefix web"],
            ),
            ingress(
                "a",
                &[
                    ("affinity", "cookie"),
                    ("session-cookie-name", "a"),
                    ("affinity-mode", "balanced"),
                    ("load-balance", "round_robin"),
                ],
                "",
                &["a.com /a Prefix web"],
            ),
        ]
        .concat(),
    );
    let balancing = balancing(&translation);
    assert_eq!(balancing.policy, Policy::Ewma, "the oldest");
    let affinity = balancing.affinity.as_ref().unwrap();
    assert_eq!(affinity.mode, AffinityMode::Persistent, "the oldest that has one");
    assert_eq!(&*affinity.cookie.name, "a", "the youngest that has one");
    let setting = |path: &str| {
        let host = super::host(&translation.model, "a.com");
        host.routes.iter().find(|route| &*route.path == path).unwrap().sets_session
    };
    assert_eq!([setting("/a"), setting("/b"), setting("/c")], [true, true, false]);
}
