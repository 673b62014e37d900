//! What becomes of the keys of the firewall.

use super::{Options, get, host, ingress, said, says, says_nothing, translate_with};
use crate::{
    firewall::{Library, Mode},
    model::Firewall,
    translate::Translation,
};

const PREFIX: &str = "nginx.ingress.kubernetes.io";
const ALLOWED: &[(&str, &str)] =
    &[("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];
const RULE: &str = "SecRule ARGS:a \"@streq b\" \"id:1,phase:2,deny\"";

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// What the ConfigMap and the Ingress say, and what comes of it.
type Case<'a> = (Pairs<'a>, Pairs<'a>, Option<(Mode, bool)>);

fn with(library: Library, map: Pairs<'_>, annotations: Pairs<'_>) -> Translation {
    let mut text = ingress("a", annotations, "", &["a.com / Prefix web"]);
    text += "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller}\ndata:\n";
    text += "  server-tokens: \"false\"\n";
    for (key, value) in map {
        text += &format!("  {key}: {value:?}\n");
    }
    let configmap = Some(("default".to_owned(), "controller".to_owned()));
    translate_with(Options { configmap, firewall: library, ..Options::default() }, &text)
}

fn assumed(map: Pairs<'_>, annotations: Pairs<'_>) -> Translation {
    with(Library::assuming_core_rules(), map, annotations)
}

fn firewall(translation: &Translation) -> Option<Firewall> {
    let routes = &host(&translation.model, "a.com").routes;
    routes.iter().find_map(|route| route.policies.as_ref()?.firewall.clone())
}

fn mode(translation: &Translation) -> Option<(Mode, bool)> {
    let rules = firewall(translation)?.rules;
    Some((rules.settings().mode, rules.has_core_rules()))
}

#[test]
fn the_ingress_and_the_config_map_agree_on_rules_as_in_ingress_nginx() {
    use Mode::{DetectionOnly, On};

    let snippet = ("modsecurity-snippet", "SecRuleEngine On");
    let (on, off) = (("enable-modsecurity", "true"), ("enable-modsecurity", "false"));
    let (core, all) =
        (("enable-owasp-core-rules", "true"), ("enable-owasp-modsecurity-crs", "true"));
    let cases: &[Case<'_>] = &[
        (&[], &[], None),
        (&[], &[on], Some((DetectionOnly, false))),
        (&[], &[on, core], Some((DetectionOnly, true))),
        (&[], &[on, core, snippet], Some((On, true))),
        (&[], &[on, ("modsecurity-snippet", "SecRuleEngine Off")], None),
        (&[], &[core], None),
        (&[], &[off, core], None),
        (&[on], &[], Some((DetectionOnly, false))),
        (&[on], &[off], None),
        (&[on, all], &[], Some((DetectionOnly, true))),
        (&[on, all, snippet], &[], Some((On, true))),
        (&[on], &[core], Some((DetectionOnly, true))),
        (&[on, all], &[snippet], Some((On, true))),
        (
            &[on, all, snippet],
            &[("modsecurity-snippet", "SecRuleEngine DetectionOnly")],
            Some((DetectionOnly, true)),
        ),
        (&[all, snippet], &[], None),
    ];
    for (map, annotations, expected) in cases {
        let translation = assumed(&[ALLOWED, map].concat(), annotations);
        assert_eq!(mode(&translation), *expected, "{map:?} {annotations:?}");
        assert_eq!(get(&translation, "a.com/"), "web", "{}", said(&translation));
    }
}

#[test]
fn what_has_no_effect_with_ingress_nginx_has_none_and_is_told() {
    for key in ["enable-owasp-core-rules", "modsecurity-snippet", "modsecurity-transaction-id"] {
        let value = if key.ends_with("rules") { "true" } else { "SecRuleEngine On" };
        let translation = assumed(ALLOWED, &[(key, value)]);
        says(&translation, "has no effect without `enable-modsecurity: \"true\"`");
        assert_eq!(get(&translation, "a.com/"), "web");
    }
    let off = [("enable-modsecurity", "false"), ("enable-owasp-core-rules", "0")];
    says_nothing(&assumed(ALLOWED, &off));
}

#[test]
fn without_the_core_rules_nothing_is_served_that_asks_for_them() {
    let missing = || Library::without_core_rules("--modsecurity-rules /x: is not there");
    let on = ("enable-modsecurity", "true");
    let core = [on, ("enable-owasp-core-rules", "true")];
    let translation = with(missing(), ALLOWED, &core);
    assert_eq!(get(&translation, "a.com/"), format!("503 {PREFIX}/enable-owasp-core-rules"));
    says(&translation, "--modsecurity-rules /x: is not there");
    // By its name in a snippet too.
    let include = "Include /etc/nginx/owasp-modsecurity-crs/nginx-modsecurity.conf";
    let translation = with(missing(), ALLOWED, &[on, ("modsecurity-snippet", include)]);
    assert_eq!(get(&translation, "a.com/"), format!("503 {PREFIX}/enable-modsecurity"));
    let own = with(missing(), ALLOWED, &[on, ("modsecurity-snippet", RULE)]);
    assert_eq!(get(&own, "a.com/"), "web", "own rules need no others");
    let global = [on, ("enable-owasp-modsecurity-crs", "true")];
    let translation = with(missing(), &global, &[]);
    for url in ["a.com/", "unknown.com/"] {
        assert_eq!(get(&translation, url), "503 enable-owasp-modsecurity-crs");
    }
}

#[test]
fn snippets_need_leave_and_bad_ones_deny() {
    let annotations = [("enable-modsecurity", "true"), ("modsecurity-snippet", RULE)];
    let denied = format!("503 {PREFIX}/modsecurity-snippet");
    let translation = assumed(&[], &annotations);
    assert_eq!(get(&translation, "a.com/"), denied);
    says(&translation, "`allow-snippet-annotations` is not `true`");
    assert_eq!(get(&assumed(&ALLOWED[..1], &annotations), "a.com/"), denied);
    let bad = [annotations[0], ("modsecurity-snippet", "SecRuleEngine On\nSecNonsense x")];
    let translation = assumed(ALLOWED, &bad);
    assert_eq!(get(&translation, "a.com/"), denied);
    says(&translation, "line 2: `SecNonsense` is not supported");
    // Told so, the rest is obeyed.
    let without = [ALLOWED, &[("serve-without-snippets", "true")]].concat();
    let translation = assumed(&without, &bad);
    assert_eq!(get(&translation, "a.com/"), "web");
    assert_eq!(mode(&translation), Some((Mode::DetectionOnly, false)));
    let global = [("enable-modsecurity", "true"), ("modsecurity-snippet", "SecNonsense x")];
    assert_eq!(get(&assumed(&global, &[]), "unknown.com/"), "503 modsecurity-snippet");
}

#[test]
fn those_who_ask_for_the_same_share_it() {
    let library = Library::assuming_core_rules();
    let annotations = [("enable-modsecurity", "true"), ("modsecurity-snippet", RULE)];
    let one = firewall(&with(library.clone(), ALLOWED, &annotations)).expect("it is on");
    let two = firewall(&with(library.clone(), ALLOWED, &annotations)).expect("it is on");
    assert!(std::sync::Arc::ptr_eq(&one.rules, &two.rules));
    let other = [annotations[0], ("modsecurity-snippet", "SecRuleEngine On")];
    let other = firewall(&with(library, ALLOWED, &other)).expect("it is on");
    assert_ne!(one.rules, other.rules);
}

#[test]
fn a_transaction_has_the_name_that_it_is_given() {
    let on = ("enable-modsecurity", "true");
    let named = assumed(&[], &[on, ("modsecurity-transaction-id", "m-$request_id")]);
    says_nothing(&named);
    assert!(firewall(&named).is_some_and(|own| own.transaction_id.is_some()));
    let unknown = assumed(&[], &[on, ("modsecurity-transaction-id", "$nonsense")]);
    says(&unknown, "`$nonsense` is not known");
    assert!(firewall(&unknown).is_some_and(|own| own.transaction_id.is_none()), "still guarded");
}
