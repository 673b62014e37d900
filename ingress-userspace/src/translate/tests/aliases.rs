//! The other names of hosts.

use proptest::prelude::*;

use super::{get, host, ingress, says, says_nothing, translate};
use crate::route::RouteTable;

fn created(text: &str, day: usize) -> String {
    let when = format!("metadata:\n  creationTimestamp: '2026-01-{day:02}T00:00:00Z'\n");
    text.replace("metadata:\n", &when)
}

/// A TLS Secret for these names.
fn secret(names: &[&str]) -> String {
    let key = rcgen::KeyPair::generate().expect("randomness");
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let signed = rcgen::CertificateParams::new(names)
        .and_then(|parameters| parameters.self_signed(&key))
        .expect("plain names");
    let indent =
        |text: String| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: cert}}\nstringData:\n  tls.crt: |\n{}  \
         tls.key: |\n{}",
        indent(signed.pem()),
        indent(key.serialize_pem())
    )
}

#[test]
fn an_alias_leads_where_its_host_does() {
    let aliases = "b.com, *.c.com,.d.com, e.*, ~^f[0-9]+\\.COM$";
    let translation = translate(
        &(ingress("x", &[("server-alias", aliases)], "", &["a.com / Prefix web"])
            + &ingress("y", &[], "", &["*.c.com / Prefix api", "*.f.com / Prefix api"])),
    );
    for (url, expected) in [
        ("a.com/", "web"),
        ("b.com/", "web"),
        ("B.com.:80/", "web"),
        ("x.b.com/", "404"),
        ("c.com/", "404"),
        ("d.com/", "web"),
        ("x.d.com/", "web"),
        ("x.y.d.com/", "web"),
        ("e.org/", "web"),
        ("e.co.uk/", "web"),
        ("x.e.org/", "404"),
        ("e/", "404"),
        ("f12.com/", "web"),
        ("f.com/", "404"),
        ("x.f12.com/", "404"),
        ("f12.f.com/", "api"),
    ] {
        assert_eq!(get(&translation, url), expected, "{url}");
    }
    // `*.c.com` is a host.
    assert_eq!(get(&translation, "x.c.com/"), "api");
    says(&translation, "`*.c.com` is a host of its own, and no alias");
}

#[test]
fn wildcard_aliases_precede_wildcard_hosts_and_expressions_follow_them() {
    let translation = translate(
        &(ingress("x", &[("server-alias", "*.b.com, www.*")], "", &["a.com / Prefix web"])
            + &ingress("y", &[("server-alias", "~.")], "", &["x.b.com / Prefix api"])
            + &ingress(
                "z",
                &[],
                "",
                &["*.c.com / Prefix fallback", "*.x.b.com / Prefix fallback"],
            )),
    );
    for (url, expected) in [
        ("x.b.com/", "api"),
        ("y.b.com/", "web"),
        ("y.x.b.com/", "web"),
        ("www.c.com/", "web"),
        ("y.c.com/", "fallback"),
        ("www.y.c.com/", "web"),
        ("any.org/", "api"),
    ] {
        assert_eq!(get(&translation, url), expected, "{url}");
    }
    says_nothing(&translation);
}

#[test]
fn the_oldest_ingress_with_aliases_wins() {
    let old = created(&ingress("old", &[], "", &["a.com /o Prefix web"]), 1);
    let two =
        created(&ingress("two", &[("server-alias", "two.com")], "", &["a.com / Prefix web"]), 2);
    let three = created(
        &ingress(
            "three",
            &[("server-alias", "three.com, two.com")],
            "",
            &["a.com /3 Prefix api", "b.com / Prefix api"],
        ),
        3,
    );
    let translation = translate(&(three + &two + &old));
    assert_eq!(get(&translation, "two.com/"), "web");
    assert_eq!(get(&translation, "three.com/"), "api", "of the host that had none");
    says(&translation, "the aliases of this host are those of Ingress default/two");
    says(&translation, "`two.com` is the alias of another host already");
}

#[test]
fn names_that_are_none_are_left_out() {
    let list = "good.com, -bad.com, *.*.com, a b, ~(, 10.0.0.1";
    let translation =
        translate(&ingress("x", &[("server-alias", list)], "", &["a.com / Prefix web"]));
    assert_eq!(get(&translation, "a.com/"), "web");
    assert_eq!(get(&translation, "good.com/"), "web");
    for bad in ["-bad.com", "*.com", "a b", "10.0.0.1"] {
        says(&translation, &format!("`{bad}` is "));
    }
    says(&translation, "`~(` is no regular expression");
}

#[test]
fn an_alias_has_tls_where_the_certificate_covers_it() {
    let tls = "tls: [{hosts: [a.com], secretName: cert}]";
    let aliases = "b.com, c.com, *.d.com, *.e.com, f.*, g.h.com";
    let translation = translate(
        &(ingress("x", &[("server-alias", aliases)], tls, &["a.com / Prefix web"])
            + &ingress("y", &[], "tls: [{hosts: ['*.h.com']}]", &["*.h.com / Prefix api"])
            + &secret(&["a.com", "b.com", "*.d.com"])),
    );
    let (table, _) = RouteTable::new(&translation.model);
    for (name, expected) in [
        ("a.com", true),
        ("b.com", true),
        ("c.com", false),
        ("x.d.com", true),
        ("x.y.d.com", false),
        ("x.e.com", false),
        ("f.com", false),
        ("g.h.com", true),
    ] {
        let found = table.host(name);
        assert_eq!(found.tls(), expected, "{name}");
        let is_a = *found.name() == crate::model::HostName::Exact("a.com".into());
        assert!(is_a, "{name}");
    }
    let certificates = crate::certificates::Certificates::default().next(&translation.model);
    for (name, expected) in
        [("b.com", true), ("x.d.com", true), ("c.com", false), ("x.y.d.com", false)]
    {
        assert_eq!(certificates.find(Some(name)).is_some(), expected, "{name}");
    }
}

#[test]
fn www_and_back() {
    let www = [("from-to-www-redirect", "true")];
    let translation = translate(
        &(ingress("x", &www, "", &["a.com / Prefix web", "www.b.com / Prefix web"])
            + &ingress(
                "y",
                &www,
                "",
                &["*.c.com / Prefix api", "d.com / Prefix api", "www.d.com / Prefix web"],
            )
            + &ingress("z", &[("server-alias", "www.e.com"), www[0]], "", &["e.com / Prefix api"])),
    );
    for (url, expected) in [
        ("a.com/", "web"),
        ("www.a.com/any", "host a.com"),
        ("b.com/", "host www.b.com"),
        ("www.d.com/", "web"),
        ("d.com/", "api"),
        ("www.e.com/", "api"),
        ("www.c.com/", "api"),
    ] {
        assert_eq!(get(&translation, url), expected, "{url}");
    }
    says(&translation, "`www.d.com` is a host already, and does not redirect to `d.com`");
    says(&translation, "`d.com` is a host already, and does not redirect to `www.d.com`");
    says(&translation, "`www.e.com` is an alias already");
    says(&translation, "has no effect on a host that is no single name");
    let broken = [("from-to-www-redirect", "perhaps")];
    says(&translate(&ingress("x", &broken, "", &["a.com / Prefix web"])), "answer 503");
}

#[test]
fn a_redirecting_host_has_tls_where_the_certificate_covers_it() {
    let tls = "tls: [{hosts: [a.com, b.com], secretName: cert}]";
    let www = [("from-to-www-redirect", "true")];
    let translation = translate(
        &(ingress("x", &www, tls, &["a.com / Prefix web", "b.com / Prefix web"])
            + &secret(&["a.com", "b.com", "www.a.com"])),
    );
    assert!(host(&translation.model, "www.a.com").certificate.is_some());
    let bare = host(&translation.model, "www.b.com");
    assert!(bare.certificate.is_none() && !bare.tls);
}

const NAMES: [&str; 6] = ["a.com", "b.com", "www.a.com", "*.com", "x.*", "*.b.com"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Section 3.5: hosts before aliases, then the oldest; whatever the order of the files.
    #[test]
    fn names_are_whose_the_rules_say_in_any_order(
        ones in proptest::collection::vec((0..3_usize, 0..6_usize, any::<bool>()), 1..6),
        files in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let text = |(index, (own, alias, has_alias)): (usize, &(usize, usize, bool))| {
            let rule = format!("{} /{index} Prefix web", NAMES[*own]);
            let annotations: &[_] = if *has_alias { &[("server-alias", NAMES[*alias])] } else { &[] };
            created(&ingress(&format!("i{index}"), annotations, "", &[&rule]), index + 1)
        };
        let texts: Vec<_> = ones.iter().enumerate().map(text).collect();
        let shuffled: String = files.iter().filter_map(|at| texts.get(*at)).cloned().collect();
        let (table, _) = RouteTable::new(&translate(&shuffled).model);

        let hosts: Vec<&str> = ones.iter().map(|one| NAMES[one.0]).collect();
        let mut done: Vec<&str> = Vec::new();
        let mut aliases: Vec<(&str, &str)> = Vec::new();
        for (own, alias, _) in ones.iter().filter(|one| one.2) {
            let (own, alias) = (NAMES[*own], NAMES[*alias]);
            if done.contains(&own) {
                continue;
            }
            done.push(own);
            if !hosts.contains(&alias) && !aliases.iter().any(|(taken, _)| *taken == alias) {
                aliases.push((alias, own));
            }
        }
        let alias = |name: &str| aliases.iter().find(|(it, _)| *it == name).map(|(_, own)| *own);
        for name in ["a.com", "b.com", "www.a.com", "x.b.com", "x.org", "y.b.com", "y.org"] {
            let exact = hosts.iter().copied().find(|host| *host == name).or_else(|| alias(name));
            let beneath = || match name.ends_with(".b.com") {
                true => alias("*.b.com").or_else(|| alias("*.com")),
                false => name.ends_with(".com").then(|| alias("*.com")).flatten(),
            };
            let before = || name.starts_with("x.").then(|| alias("x.*")).flatten();
            let expected = exact.or_else(beneath).or_else(before).unwrap_or("_");
            let found = match table.host(name).name() {
                crate::model::HostName::Exact(name) => name.to_string(),
                crate::model::HostName::Wildcard(suffix) => format!("*.{suffix}"),
                crate::model::HostName::CatchAll => "_".to_owned(),
            };
            prop_assert_eq!(found, expected, "{}", name);
        }
    }
}
