use super::{get, ingress, said, says, says_nothing, translate_with};
use crate::{
    source::parse::tests::stores,
    translate::{Options, Translator},
};

const CLASSES: &str = "---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: internal}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: other}
spec: {controller: example.com/other}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: named}
spec: {controller: example.com/other}
";

/// Whether an Ingress with this class and legacy annotation is served.
fn is_served(options: &Options, class: Option<&str>, annotation: Option<&str>, more: &str) -> bool {
    let text = ingress("x", &[], "", &["a.com / Prefix web"]);
    let text = match class {
        Some(class) => {
            text.replace("ingressClassName: penstock", &format!("ingressClassName: {class}"))
        }
        None => text.replace("  ingressClassName: penstock\n", ""),
    };
    let text = match annotation {
        Some(class) => text.replace(
            "example.com/unrelated: x",
            &format!("kubernetes.io/ingress.class: '{class}'"),
        ),
        None => text,
    };
    get(&translate_with(options.clone(), &format!("{CLASSES}{more}{text}")), "a.com/") == "web"
}

/// The options of an installation that migrates.
fn nginx() -> Options {
    Options {
        ingress_class: "nginx".to_owned(),
        controller_class: "k8s.io/ingress-nginx".to_owned(),
        ..Options::default()
    }
}

#[test]
fn the_class_of_the_spec_decides_alone() {
    for (class, annotation, served) in [
        (Some("nginx"), None, true),
        (Some("internal"), None, true),
        (Some("other"), None, false),
        (Some("missing"), None, false),
        (Some("other"), Some("nginx"), false),
        (Some("nginx"), Some("other"), true),
        (None, Some("nginx"), true),
        (None, Some("internal"), false),
        (None, Some(""), false),
        (None, None, false),
    ] {
        assert_eq!(is_served(&nginx(), class, annotation, ""), served, "{class:?} {annotation:?}");
    }
}

#[test]
fn ingresses_without_class_are_served_where_asked_for() {
    let options = Options { watch_ingress_without_class: true, ..nginx() };
    assert!(is_served(&options, None, None, ""));
    assert!(is_served(&options, None, Some(""), ""));
    assert!(is_served(&options, None, Some("nginx"), ""));
    assert!(!is_served(&options, None, Some("other"), ""));
    assert!(!is_served(&options, Some("other"), None, ""));
}

#[test]
fn a_class_can_be_served_by_its_name() {
    let options = Options { ingress_class: "named".to_owned(), ..nginx() };
    assert!(!is_served(&options, Some("named"), None, ""));
    let options = Options { ingress_class_by_name: true, ..options };
    assert!(is_served(&options, Some("named"), None, ""));
    assert!(is_served(&options, Some("nginx"), None, ""));
    assert!(!is_served(&options, Some("other"), None, ""));
}

#[test]
fn the_default_class_is_that_of_ingresses_that_name_none() {
    let class = |name: &str, controller: &str, created: &str| {
        format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata:\n  name: {name}\n{created}  \
             annotations: {{ingressclass.kubernetes.io/is-default-class: 'true'}}\nspec: {{controller: {controller}}}\n"
        )
    };
    let ours = class("ours", "k8s.io/ingress-nginx", "");
    assert!(is_served(&nginx(), None, None, &ours));
    assert!(!is_served(&nginx(), Some("other"), None, &ours));
    let theirs = class("theirs", "example.com/other", "");
    assert!(!is_served(&nginx(), None, None, &theirs));
    // Of several the newest.
    let newer =
        class("theirs", "example.com/other", "  creationTimestamp: '2026-01-01T00:00:00Z'\n");
    assert!(!is_served(&nginx(), None, None, &format!("{ours}{newer}")));
}

#[test]
fn a_class_that_appears_later_counts() {
    let text = ingress("x", &[], "", &["a.com / Prefix web"]).replace("penstock", "nginx");
    let mut translator = Translator::new(nginx());
    let without =
        translator.translate(&stores(&format!("{}{text}", super::BASE)).0, &Default::default());
    assert_eq!(get(&without, "a.com/"), "404");
    says(
        &without,
        "warning Ingress default/x: spec.ingressClassName: IngressClass nginx does not exist",
    );
    let with = translator
        .translate(&stores(&format!("{}{text}{CLASSES}", super::BASE)).0, &Default::default());
    assert_eq!(get(&with, "a.com/"), "web");
    says_nothing(&with);
}

#[test]
fn one_namespace_can_be_watched_alone() {
    let options = Options { watch_namespace: Some("elsewhere".to_owned()), ..Options::default() };
    let text = ingress("x", &[("auth-url", "x")], "", &["a.com / Prefix web"]);
    let translation = translate_with(options, &text);
    assert_eq!(get(&translation, "a.com/"), "404");
    assert_eq!(said(&translation), "");
    let options = Options { watch_namespace: Some("default".to_owned()), ..Options::default() };
    let text = ingress("x", &[], "", &["a.com / Prefix web"]);
    assert_eq!(get(&translate_with(options, &text), "a.com/"), "web");
}

#[test]
fn where_classes_may_not_be_read_the_field_decides_nothing() {
    for (without, annotation, served) in [
        (false, None, false),
        (false, Some("nginx"), true),
        (false, Some("other"), false),
        (true, None, true),
        (true, Some("other"), false),
    ] {
        let mut text = ingress("x", &[], "", &["a.com / Prefix web"]);
        if let Some(class) = annotation {
            let legacy = format!("kubernetes.io/ingress.class: '{class}'");
            text = text.replace("example.com/unrelated: x", &legacy);
        }
        let (mut stores, _) = stores(&format!("{}{text}", super::BASE));
        stores.ingress_classes = crate::stores::Store::default();
        stores.classes_forbidden = true;
        let options = Options { watch_ingress_without_class: without, ..nginx() };
        let translation = Translator::new(options).translate(&stores, &Default::default());
        assert_eq!(get(&translation, "a.com/") == "web", served, "{without} {annotation:?}");
    }
}
