//! Which backend gets which canary, and what a canary may say.

use proptest::prelude::*;

use super::{Translation, get, ingress, said, says, says_nothing, translate};
use crate::model::{Canary, CanaryHeaderRule, HostName, Policy};

/// A canary of one rule.
fn canary(name: &str, annotations: &[(&str, &str)], rule: &str) -> String {
    let all = [&[("canary", "true")], annotations].concat();
    ingress(name, &all, "", &[rule])
}

fn main_of(rule: &str) -> String {
    ingress("main", &[], "", &[rule])
}

fn created(text: &str, day: usize) -> String {
    let when = format!("metadata:\n  creationTimestamp: '2026-01-{day:02}T00:00:00Z'\n");
    text.replace("metadata:\n", &when)
}

/// The canary of a Service's backend.
fn of<'t>(translation: &'t Translation, service: &str) -> Option<&'t Canary> {
    let mut backends = translation.model.backends.iter();
    backends.find(|it| &*it.key.service == service)?.balancing.canary.as_deref()
}

/// The Service that a Service's canary leads to.
fn to(translation: &Translation, service: &str) -> Option<String> {
    let id = of(translation, service)?.backend;
    Some(translation.model.backends[id.0 as usize].key.service.to_string())
}

#[test]
fn a_canary_says_when_it_is_taken() {
    let asked = |annotations: &[(&str, &str)]| {
        let text =
            main_of("a.com / Prefix web") + &canary("new", annotations, "a.com / Prefix api");
        let translation = translate(&text);
        says_nothing(&translation);
        assert_eq!(to(&translation, "web").as_deref(), Some("api"));
        assert_eq!(of(&translation, "api"), None);
        of(&translation, "web").expect("it has one").clone()
    };
    let plain = asked(&[]);
    assert_eq!((plain.weight, plain.total, plain.sticky), (0, 100, true));
    assert_eq!((plain.header, plain.cookie), (None, None));
    let full = asked(&[
        ("canary-by-header", "X_Canary"),
        ("canary-by-cookie", "try_new"),
        ("canary-weight", "5"),
        ("canary-weight-total", "1000"),
        ("affinity-canary-behavior", "legacy"),
        ("load-balance", "ewma"),
        ("service-upstream", "false"),
    ]);
    assert_eq!((full.weight, full.total, full.sticky), (5, 1000, false));
    assert_eq!(full.cookie.as_deref(), Some("try_new"));
    let header = full.header.expect("it was asked for");
    assert_eq!((&*header.name, header.rule), ("x-canary", CanaryHeaderRule::Word));
    let rule = |more: &[(&str, &str)]| {
        asked(&[&[("canary-by-header", "x")], more].concat()).header.expect("asked for").rule
    };
    let value = rule(&[("canary-by-header-value", "DE")]);
    assert_eq!(value, CanaryHeaderRule::Value("DE".into()));
    let CanaryHeaderRule::Pattern(pattern) = rule(&[("canary-by-header-pattern", "^DE|AT(?!x)")])
    else {
        panic!("no pattern")
    };
    assert_eq!(pattern.text(), "^DE|AT(?!x)");
    // As charts render what is not set.
    assert_eq!(rule(&[("canary-by-header-value", "")]), CanaryHeaderRule::Word);
}

#[test]
fn a_canary_that_cannot_be_understood_takes_no_traffic_and_nobody_else_s() {
    for (key, value) in [
        ("canary-weight", "ten"),
        ("canary-weight", "-1"),
        ("canary-weight-total", "1e3"),
        ("canary-by-header", "a b"),
        ("canary-by-cookie", "a;b"),
        ("load-balance", "nonsense"),
        ("upstream-hash-by", "$x;"),
        ("canary-by-header-pattern", "(a"),
    ] {
        let mut annotations = vec![("canary-by-cookie", "c"), ("canary-weight", "100")];
        annotations.retain(|(own, _)| *own != key);
        annotations.push((key, value));
        if key == "canary-by-header-pattern" {
            annotations.push(("canary-by-header", "x"));
        }
        let broken = main_of("a.com / Prefix web")
            + &created(&canary("old", &annotations, "a.com / Prefix api"), 1);
        let translation = translate(&broken);
        assert_eq!(of(&translation, "web"), None, "{key}: {value}");
        assert_eq!(get(&translation, "a.com/"), "web");
        let field = format!(
            "error Ingress default/old: metadata.annotations[nginx.ingress.kubernetes.io/{key}]: "
        );
        says(&translation, &field);
        says(&translation, "the canary takes no traffic");
        let other = created(&canary("young", &[], "a.com / Prefix fallback"), 2);
        let translation = translate(&(broken + &other));
        assert_eq!(to(&translation, "web").as_deref(), Some("fallback"), "{key}: {value}");
    }
    for value in ["yes", ""] {
        let text = main_of("a.com / Prefix web")
            + &ingress(
                "new",
                &[("canary", value), ("canary-weight", "9")],
                "",
                &["a.com / Prefix api"],
            );
        let translation = translate(&text);
        assert_eq!((get(&translation, "a.com/").as_str(), of(&translation, "web")), ("web", None));
        says(&translation, "is not `true` or `false`; the canary takes no traffic");
    }
}

#[test]
fn what_the_config_map_forbids_takes_no_traffic() {
    let map = |data: &str| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: map, namespace: default}}\n\
             data: {{{data}}}\n"
        )
    };
    let options = || crate::translate::Options {
        configmap: Some(("default".to_owned(), "map".to_owned())),
        ..Default::default()
    };
    let text = main_of("a.com / Prefix web")
        + &canary("new", &[("canary-by-header", "x")], "a.com / Prefix api");
    for data in ["annotations-risk-level: Low", "annotation-value-word-blocklist: x"] {
        let translation = super::translate_with(options(), &(text.clone() + &map(data)));
        assert_eq!(of(&translation, "web"), None, "{data}");
        says(&translation, "the canary takes no traffic");
    }
}

#[test]
fn a_canary_needs_a_main_path_that_is_equal() {
    for (main, rule, why) in [
        ("a.com / Prefix web", "a.com /x Prefix api", "no ordinary Ingress has Prefix `/x`"),
        ("a.com / Prefix web", "a.com / Exact api", "no ordinary Ingress has Exact `/`"),
        ("a.com / Prefix web", "b.com / Prefix api", "no ordinary Ingress has Prefix `/`"),
        ("a.com /x Prefix web", "a.com / Prefix api", "no ordinary Ingress has Prefix `/`"),
        ("a.com / Prefix web", "a.com / Prefix web", "the main Ingress leads to the same Service"),
    ] {
        let translation = translate(&(main_of(main) + &canary("new", &[], rule)));
        assert_eq!(of(&translation, "web"), None, "{rule}");
        says(
            &translation,
            &format!("error Ingress default/new: spec.rules[0].http.paths[0]: {why}"),
        );
        let hosts = &translation.model.hosts;
        assert!(!hosts.iter().any(|host| host.name == HostName::Exact("b.com".into())));
    }
    let moved = ingress("main", &[("permanent-redirect", "/x")], "", &["a.com / Prefix web"]);
    let translation = translate(&(moved + &canary("new", &[], "a.com / Prefix api")));
    says(&translation, "the path leads to no Service in Ingress default/main");
}

#[test]
fn kinds_and_empty_paths_are_compared_by_meaning() {
    let main = main_of("a.com /x Prefix web");
    let canary = canary("new", &[], "a.com /x ImplementationSpecific api");
    assert_eq!(to(&translate(&(main + &canary)), "web").as_deref(), Some("api"));
}

#[test]
fn a_default_backend_has_a_canary_too() {
    let backend =
        |name: &str| format!("defaultBackend: {{service: {{name: {name}, port: {{number: 80}}}}}}");
    let main = ingress("main", &[], &backend("web"), &[]);
    let canary = ingress("new", &[("canary", "true")], &backend("api"), &[]);
    assert_eq!(to(&translate(&(main + &canary)), "web").as_deref(), Some("api"));
    let main = ingress("main", &[], &backend("web"), &["a.com /x Prefix fallback"]);
    let canary = self::canary("new", &[], "a.com / Prefix api");
    assert_eq!(to(&translate(&(main + &canary)), "web").as_deref(), Some("api"));
}

#[test]
fn every_path_of_the_main_service_has_the_canary() {
    let main = ingress("main", &[], "", &["a.com /x Prefix web", "b.com / Prefix web"]);
    let translation = translate(&(main + &canary("new", &[], "a.com /x Prefix api")));
    // It is the backend's: there is one of it.
    let web = translation.model.backends.iter().filter(|it| &*it.key.service == "web").count();
    assert_eq!((web, to(&translation, "web").as_deref()), (1, Some("api")));
}

#[test]
fn a_canary_changes_nothing_where_its_service_is_an_ordinary_one() {
    let main = main_of("a.com / Prefix web");
    let other = ingress("other", &[("affinity", "cookie")], "", &["c.com / Prefix api"]);
    let own = [("load-balance", "ewma")];
    let new = created(&canary("new", &own, "a.com / Prefix api"), 1);
    let translation = translate(&(main.clone() + &other + &new));
    let api = translation.model.backends.iter().find(|it| &*it.key.service == "api").unwrap();
    assert_eq!(api.balancing.policy, Policy::RoundRobin);
    assert!(api.balancing.affinity.is_some());
    let translation = translate(&(main + &new));
    let api = translation.model.backends.iter().find(|it| &*it.key.service == "api").unwrap();
    assert_eq!(api.balancing.policy, Policy::Ewma);
}

#[test]
fn what_counts_for_nothing_is_told() {
    let main = ingress(
        "main",
        &[("canary-weight", "50"), ("affinity-canary-behavior", "legacy")],
        "",
        &["a.com / Prefix web"],
    );
    let own = [
        ("auth-url", "https://auth.example.com"),
        ("affinity", "cookie"),
        ("server-alias", "b.com"),
        ("canary-by-header-value", "x"),
        ("canary-weight-total", "10"),
        ("nonsense", "x"),
    ];
    let translation = translate(&(main + &canary("new", &own, "a.com / Prefix api")));
    assert_eq!(to(&translation, "web").as_deref(), Some("api"));
    assert_eq!(get(&translation, "b.com/"), "404");
    assert!(!said(&translation).contains("error"), "{}", said(&translation));
    for key in ["canary-weight", "affinity-canary-behavior"] {
        says(
            &translation,
            &format!(
                "default/main: metadata.annotations[nginx.ingress.kubernetes.io/{key}]: has no effect without `canary"
            ),
        );
    }
    for (key, why) in [
        ("auth-url", "has no effect on a canary"),
        ("affinity", "has no effect on a canary"),
        ("server-alias", "has no effect on a canary"),
        ("canary-by-header-value", "has no effect without canary-by-header"),
        ("canary-weight-total", "is below 100, and counts as 100"),
        ("nonsense", "is not known"),
    ] {
        says(
            &translation,
            &format!(
                "warning Ingress default/new: metadata.annotations[nginx.ingress.kubernetes.io/{key}]: {why}"
            ),
        );
    }
    assert_eq!(of(&translation, "web").unwrap().total, 100);
}

#[test]
fn a_canary_without_endpoints_is_told_and_leaves_the_main_service_alone() {
    let text = main_of("a.com / Prefix web") + &canary("new", &[], "a.com / Prefix missing");
    let translation = translate(&text);
    says(&translation, "the main Service gets the traffic");
    assert!(!said(&translation).contains("503"), "{}", said(&translation));
}

const HOSTS: [&str; 2] = ["a.com", "b.com"];
const PATHS: [&str; 2] = ["/", "/x"];
const SERVICES: [&str; 3] = ["web", "api", "fallback"];

/// An Ingress of one path: host, path, Service, whether it is a canary.
type One = (usize, usize, usize, bool);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Reference section 7 against any order of creation and of files.
    #[test]
    fn canaries_are_those_of_the_rules_whatever_came_first(
        ones in proptest::collection::vec((0..2_usize, 0..2_usize, 0..3_usize, any::<bool>()), 1..8),
        files in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        // The place in the list is the day of creation.
        let text = |(index, (host, path, service, is_canary)): (usize, &One)| {
            let rule = format!("{} {} Prefix {}", HOSTS[*host], PATHS[*path], SERVICES[*service]);
            let annotations: &[_] = if *is_canary { &[("canary", "true")] } else { &[] };
            created(&ingress(&format!("i{index}"), annotations, "", &[&rule]), index + 1)
        };
        let texts: Vec<_> = ones.iter().enumerate().map(text).collect();
        let shuffled: String = files.iter().filter_map(|at| texts.get(*at)).cloned().collect();
        let translation = translate(&shuffled);

        let main = |host: usize, path: usize| {
            let is_it = |one: &&One| (one.0, one.1, one.3) == (host, path, false);
            ones.iter().find(is_it).map(|one| one.2)
        };
        for (service, name) in SERVICES.iter().enumerate() {
            let takes = |(_, one): &(usize, &One)| {
                one.3 && main(one.0, one.1) == Some(service) && one.2 != service
            };
            let expected = ones.iter().enumerate().find(takes);
            let got = of(&translation, name).map(|canary| canary.ingress.name.to_string());
            prop_assert_eq!(got, expected.map(|(index, _)| format!("i{index}")), "{}", name);
            let expected = expected.map(|(_, one)| SERVICES[one.2].to_owned());
            prop_assert_eq!(to(&translation, name), expected);
        }
        // No host or path is a canary's own.
        for (host, path) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let url = format!("{}{}", HOSTS[host], PATHS[path]);
            let fallback = main(host, 0).map_or("404".to_owned(), |main| SERVICES[main].to_owned());
            let expected = main(host, path).map_or(fallback, |main| SERVICES[main].to_owned());
            prop_assert_eq!(get(&translation, &url), expected, "{}", url);
        }
    }
}
