//! Rules, hosts, paths and whose they are.

use proptest::prelude::*;

use super::{get, host, ingress, said, says, says_nothing, translate, translate_with};
use crate::translate::Options;

fn created(text: &str, when: &str) -> String {
    text.replace("metadata:\n", &format!("metadata:\n  creationTimestamp: '{when}'\n"))
}

#[test]
fn without_ingresses_everything_is_404() {
    let translation = translate("");
    assert_eq!(get(&translation, "any.com/x"), "404");
    says_nothing(&translation);
}

#[test]
fn the_demo_of_four_services_is_routed() {
    let rules = [
        "a.com /web Prefix web",
        "a.com /api Exact api",
        "*.b.com / Prefix fallback",
        "- /any Prefix web",
    ];
    let translation = translate(&ingress("x", &[], "", &rules));
    for (url, expected) in [
        ("a.com/web/x", "web"),
        ("a.com/api", "api"),
        ("a.com/api/x", "404"),
        ("x.b.com/", "fallback"),
        ("x.y.b.com/", "404"),
        ("c.com/any", "web"),
        ("a.com/any", "404"),
    ] {
        assert_eq!(get(&translation, url), expected, "{url}");
    }
    says_nothing(&translation);
}

#[test]
fn the_oldest_ingress_wins() {
    let one = ingress("one", &[], "", &["a.com /x Prefix web"]);
    let two = ingress("two", &[], "", &["a.com /x Prefix api", "a.com /y Prefix api"]);
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    for (text, winner, loser) in [
        (created(&one, early) + &created(&two, late), "web", "two"),
        (created(&one, late) + &created(&two, early), "api", "one"),
        // At the same time, or at none, the greater name.
        (created(&one, early) + &created(&two, early), "api", "one"),
        (one.clone() + &two, "api", "one"),
        (two.clone() + &one, "api", "one"),
        // A known age is greater than an unknown one.
        (created(&one, late) + &two, "web", "two"),
    ] {
        let translation = translate(&text);
        assert_eq!(get(&translation, "a.com/x"), winner);
        assert_eq!(get(&translation, "a.com/y"), "api");
        let winner = if loser == "one" { "two" } else { "one" };
        says(
            &translation,
            &format!(
                "error Ingress default/{loser}: spec.rules[0].http.paths[0]: Prefix `/x` of this host is \
             already served by Ingress default/{winner}, spec.rules[0].http.paths[0]; the older one stays"
            ),
        );
    }
}

#[test]
fn exact_and_prefix_of_one_path_coexist() {
    let translation =
        translate(&ingress("x", &[], "", &["a.com /x Exact web", "a.com /x Prefix api"]));
    assert_eq!(get(&translation, "a.com/x"), "web");
    assert_eq!(get(&translation, "a.com/x/y"), "api");
    says_nothing(&translation);
}

#[test]
fn one_broken_ingress_leaves_the_others_alone() {
    let good = ingress("good", &[], "", &["a.com /good Prefix web"]);
    let broken = ingress(
        "broken",
        &[],
        "",
        &[
            "a.com nonsense Prefix web",
            "a.com /type Nonsense web",
            "a.com /a//b Exact web",
            "a.com /a/../b Prefix web",
            "a.com /a%2Fb Prefix web",
            "a_b.com / Prefix web",
            "10.0.0.1 / Prefix web",
            "*.*.com / Prefix web",
            "x.*.com / Prefix web",
            "-a.com / Prefix web",
            "a..com / Prefix web",
            "a.com /still Prefix api",
            "a.com /a//b ImplementationSpecific web",
        ],
    );
    let translation = translate(&(good + &broken));
    assert_eq!(get(&translation, "a.com/good"), "web");
    assert_eq!(get(&translation, "a.com/still"), "api");
    assert_eq!(get(&translation, "a.com/type"), "404");
    for text in [
        "spec.rules[0].http.paths[0].path: `nonsense` does not begin with `/`; this path is not served",
        "spec.rules[1].http.paths[0].pathType: `Nonsense` is not `Exact`, `Prefix` or `ImplementationSpecific`",
        "spec.rules[2].http.paths[0].path: `/a//b` contains",
        "spec.rules[3].http.paths[0].path: `/a/../b` contains",
        "spec.rules[4].http.paths[0].path: `/a%2Fb` contains",
        "spec.rules[5].host: `a_b.com` is no DNS name",
        "spec.rules[6].host: `10.0.0.1` is an IP address; a DNS name is needed; the rule is ignored",
        "spec.rules[7].host: `*.*.com` is no DNS name",
        "spec.rules[8].host: `x.*.com` is no DNS name",
        "spec.rules[9].host: `-a.com` is no DNS name",
        "spec.rules[10].host: `a..com` is no DNS name",
    ] {
        says(&translation, &format!("error Ingress default/broken: {text}"));
    }
    assert_eq!(translation.diagnostics.len(), 11, "{}", said(&translation));
}

#[test]
fn an_ingress_that_serves_nothing_says_so() {
    says(
        &translate(&ingress("x", &[], "", &[])),
        "error Ingress default/x: spec: has neither rules nor a default backend",
    );
}

#[test]
fn hosts_are_lower_case() {
    let translation = translate(&ingress("x", &[], "", &["A.Com / Prefix web"]));
    assert_eq!(get(&translation, "a.com/"), "web");
}

const FALLBACK: &str = "defaultBackend: {service: {name: fallback, port: {number: 80}}}";

#[test]
fn the_default_backend_of_the_ingress_that_makes_a_host_gets_its_rest() {
    let text = ingress("b", &[], FALLBACK, &["a.com /x Prefix web"])
        + &ingress("a", &[], "", &["a.com /y Prefix api", "b.com /y Prefix api"]);
    let translation = translate(&text);
    assert_eq!(get(&translation, "a.com/z"), "fallback");
    assert_eq!(get(&translation, "b.com/z"), "404");
    assert_eq!(get(&translation, "c.com/z"), "404");
    // Unless some Ingress defines `/`.
    let text = text + &ingress("a-rest", &[], "", &["a.com / Prefix web"]);
    assert_eq!(get(&translate(&text), "a.com/z"), "web");
    // An exact `/` is not the rest.
    let text = ingress("b", &[], FALLBACK, &["a.com / Exact web"]);
    assert_eq!(get(&translate(&text), "a.com/"), "web");
    assert_eq!(get(&translate(&text), "a.com/x"), "fallback");
}

#[test]
fn an_ingress_without_rules_takes_the_rest_of_all_hosts_that_are_none() {
    let redirects =
        [("permanent-redirect", "https://x.com"), ("rewrite-target", "/x"), ("use-regex", "true")];
    let text = ingress("only", &redirects, FALLBACK, &[])
        + &ingress("a", &[], "", &["a.com /x Prefix web"]);
    let translation = translate(&text);
    assert_eq!(get(&translation, "unknown.com/x"), "fallback");
    assert_eq!(get(&translation, "a.com/y"), "404");
    assert!(!host(&translation.model, "-").regex);
    let options = Options { disable_catch_all: true, ..Options::default() };
    let translation = translate_with(options, &text);
    assert_eq!(get(&translation, "unknown.com/x"), "404");
    says(&translation, "error Ingress default/only: spec.defaultBackend");
}

#[test]
fn the_global_default_backend_gets_what_no_one_else_does() {
    let with = |name: &str| Options {
        default_backend_service: Some(("default".to_owned(), name.to_owned())),
        ..Options::default()
    };
    let text = ingress("a", &[], "", &["a.com /x Prefix web"]);
    let translation = translate_with(with("fallback"), &text);
    assert_eq!(get(&translation, "a.com/y"), "fallback");
    assert_eq!(get(&translation, "b.com/"), "fallback");
    says_nothing(&translation);
    let translation = translate_with(with("missing"), &text);
    assert_eq!(get(&translation, "b.com/"), "404");
    says(
        &translation,
        "error Service default/missing: --default-backend-service: does not exist; the built-in 404 answers",
    );
    let empty = "---\napiVersion: v1\nkind: Service\nmetadata: {name: empty}\nspec: {ports: [{port: 80}]}\n";
    assert_eq!(get(&translate_with(with("empty"), &(text + empty)), "b.com/"), "404");
}

#[test]
fn resources_are_404() {
    let text = ingress("x", &[], "", &["a.com / Prefix web"])
        .replace("service: {name: web, port: {number: 80}}", "resource: {kind: Bucket, name: b}");
    let translation = translate(&text);
    assert_eq!(get(&translation, "a.com/"), "404");
    says(&translation, "warning Ingress default/x: spec.rules[0].http.paths[0].backend.resource");
}

#[test]
fn one_ingress_puts_the_whole_host_into_regex_mode() {
    let other = ingress("other", &[], "", &["a.com /plain Prefix api", "b.com /plain Prefix api"]);
    for annotations in [&[("use-regex", "true")], &[("rewrite-target", "/$2")]] {
        let text =
            ingress("x", annotations, "", &["a.com /re(/|$)(.*) ImplementationSpecific web"]);
        let translation = translate(&(text + &other));
        assert!(host(&translation.model, "a.com").regex);
        assert!(!host(&translation.model, "b.com").regex);
        assert_eq!(get(&translation, "a.com/RE/x"), "web");
        assert_eq!(get(&translation, "a.com/PLAINLY"), "api");
        assert_eq!(get(&translation, "b.com/PLAINLY"), "404");
    }
    // A target that is the path itself is no rewrite.
    let text = ingress("x", &[("rewrite-target", "/")], "", &["a.com / Prefix web"]);
    assert!(!host(&translate(&text).model, "a.com").regex);
    assert!(host(&translate(&text).model, "a.com").routes[0].rewrite.is_none());
    let text = ingress("x", &[("use-regex", "nonsense")], "", &["a.com / Prefix web"]);
    assert!(!host(&translate(&text).model, "a.com").regex);
}

#[test]
fn rewrites_that_mean_something_else_deny() {
    for (target, expected) in [
        ("/$2", "web"),
        ("bad value", "web"),
        ("", "web"),
        ("https://x.com/$1", "503 nginx.ingress.kubernetes.io/rewrite-target"),
        ("/$host", "503 nginx.ingress.kubernetes.io/rewrite-target"),
        ("/$0", "503 nginx.ingress.kubernetes.io/rewrite-target"),
        ("/x$", "503 nginx.ingress.kubernetes.io/rewrite-target"),
    ] {
        let text = ingress("x", &[("rewrite-target", target)], "", &["a.com /a Prefix web"]);
        assert_eq!(get(&translate(&text), "a.com/a"), expected, "{target}");
    }
}

#[test]
fn redirect_annotations_answer_instead_of_the_backend() {
    let key = |key: &str| format!("503 nginx.ingress.kubernetes.io/{key}");
    for (annotations, expected) in [
        (
            &[("permanent-redirect", "https://x.com/a?b=c")][..],
            "301 https://x.com/a?b=c".to_owned(),
        ),
        (&[("permanent-redirect", "/there")], "301 /there".to_owned()),
        (
            &[("permanent-redirect", "/there"), ("permanent-redirect-code", "308")],
            "308 /there".to_owned(),
        ),
        (
            &[("permanent-redirect", "/there"), ("permanent-redirect-code", "200")],
            "301 /there".to_owned(),
        ),
        (&[("temporal-redirect", "http://x.com")], "302 http://x.com".to_owned()),
        (
            &[("temporal-redirect", "http://x.com"), ("temporal-redirect-code", "307")],
            "307 http://x.com".to_owned(),
        ),
        (
            &[("temporal-redirect", "http://x.com"), ("temporal-redirect-code", "308")],
            "302 http://x.com".to_owned(),
        ),
        (
            &[("temporal-redirect", "http://x.com"), ("permanent-redirect", "/p")],
            "302 http://x.com".to_owned(),
        ),
        (&[("permanent-redirect-code", "308")], "web".to_owned()),
        (&[("permanent-redirect", "there")], key("permanent-redirect")),
        (&[("permanent-redirect", "https://x.com/\r\nSet-Cookie: a")], key("permanent-redirect")),
        (&[("permanent-redirect", "")], key("permanent-redirect")),
        (&[("temporal-redirect", "ftp://x.com")], key("temporal-redirect")),
        (
            &[("temporal-redirect", "http://x.com"), ("temporal-redirect-code", "x")],
            key("temporal-redirect-code"),
        ),
    ] {
        let translation = translate(&ingress("x", annotations, "", &["a.com /a Prefix web"]));
        assert_eq!(get(&translation, "a.com/a"), expected, "{annotations:?}");
    }
}

#[test]
fn app_root_is_of_the_host() {
    let text = ingress("x", &[("app-root", "/app")], "", &["a.com /app Prefix web"])
        + &ingress("a", &[("app-root", "/other")], "", &["a.com / Prefix api"]);
    let translation = translate(&text);
    assert_eq!(get(&translation, "a.com/"), "302 /app");
    assert_eq!(get(&translation, "a.com/x"), "api");
    for bad in ["app", "//evil.com", "/a b", ""] {
        let text = ingress("x", &[("app-root", bad)], "", &["a.com / Prefix web"]);
        let translation = translate(&text);
        assert_eq!(get(&translation, "a.com/"), "web", "{bad}");
        says(
            &translation,
            "app-root]: is not a path that begins with one `/`; the default applies",
        );
    }
}

#[test]
fn preserving_the_slash_is_of_the_ingress() {
    let text = ingress("x", &[("preserve-trailing-slash", "true")], "", &["a.com /x Prefix web"])
        + &ingress("a", &[], "", &["a.com /y Prefix api"]);
    let translation = translate(&text);
    let kept = |path: &str| {
        let host = host(&translation.model, "a.com");
        host.routes.iter().find(|route| &*route.path == path).unwrap().preserve_trailing_slash
    };
    assert!(kept("/x") && !kept("/y"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever order Ingresses are read in, and whatever their age, each path is the oldest's.
    #[test]
    fn each_path_is_that_of_the_oldest_ingress(
        ingresses in proptest::collection::vec((0..5_u8, 0..4_usize, proptest::option::of(1..4_u8)), 1..8),
        order in any::<u64>(),
    ) {
        const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/c"];
        // Of equal names the first counts, as two objects of one name are one object.
        let mut named = std::collections::BTreeMap::new();
        for (name, path, day) in ingresses {
            named.entry(name).or_insert((path, day));
        }
        let text = |(name, (path, day)): (&u8, &(usize, Option<u8>))| {
            let service = ["web", "api", "fallback", "web", "api"][usize::from(*name)];
            let rule = format!("a.com {} Prefix {service}", PATHS[*path]);
            let text = ingress(&format!("i{name}"), &[], "", &[&*rule]);
            day.map_or(text.clone(), |day| created(&text, &format!("2026-01-0{day}T00:00:00Z")))
        };
        let mut texts: Vec<_> = named.iter().map(text).collect();
        let length = texts.len() as u64;
        texts.rotate_left((order % length) as usize);
        let translation = translate(&texts.concat());
        for (index, path) in PATHS.iter().enumerate() {
            let candidates = named.iter().filter(|(_, (path, _))| *path == index);
            let oldest = candidates.min_by_key(|(name, (_, day))| {
                (day.is_none(), *day, std::cmp::Reverse(**name))
            });
            if let Some((name, _)) = oldest {
                let route = host(&translation.model, "a.com").routes.iter()
                    .find(|route| &*route.path == *path).unwrap();
                prop_assert_eq!(&*route.ingress.name, &*format!("i{name}"));
            }
        }
    }
}
