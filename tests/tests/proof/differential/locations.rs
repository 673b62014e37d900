//! Paths: ordinary and in regex mode, normalised and not, with rewrites (reference sections 3.2 to
//! 3.4).

use super::{Ask, Group, compare, ingress, pass};

const HOST: &str = "paths.test";

/// Targets that are as odd as clients send them.
fn targets(bases: &[&str]) -> Vec<String> {
    const TAILS: [&str; 15] = [
        "",
        "/",
        "//",
        "/x",
        "x",
        "/x/y",
        "/x/../y",
        "/./x",
        "/..",
        "/../..",
        "%2Fx",
        "/%2e%2e/x",
        "?",
        "?q=1",
        "/?q=/../",
    ];
    const WHOLE: [&str; 16] = [
        "/", "//", "/.", "/..", "/../x", "/%2e", "/a%00b", "/a%zz", "/%41", "/a b", "/\u{e4}",
        "/%c3%a4", "/a+b", "/a;b=c", "/~x", "/a%3Fb",
    ];
    let mut all: Vec<String> = WHOLE.iter().map(|target| (*target).to_owned()).collect();
    for base in bases {
        for tail in TAILS {
            all.push(format!("{base}{tail}"));
        }
        all.push(base.to_uppercase());
        all.push(format!("/x/..{base}"));
        all.push(format!("/{base}"));
        all.push(base.replace('o', "%6f"));
        all.push(base.replace('o', "%6F"));
    }
    all.sort();
    all.dedup();
    all
}

fn asks(bases: &[&str]) -> Vec<Ask> {
    targets(bases).iter().map(|target| Ask::get(HOST, target)).collect()
}

fn server(locations: &[(&str, &str)]) -> String {
    let mut text = format!("server {{ listen HTTP; server_name {HOST};\n");
    for (location, body) in locations {
        text += &format!("location {location} {{ {body} }}\n");
    }
    text + "}\n"
}

#[test]
fn ordinary_paths() {
    let [a, b, c] = ["a", "b", "c"].map(pass);
    compare(&Group {
        name: "ordinary_paths",
        manifests: ingress(
            "paths",
            HOST,
            &[],
            &[
                "Prefix /foo a",
                "Exact /foo b",
                "Prefix /foo/bar b",
                "Prefix /slash/ c",
                "Exact /only c",
                "ImplementationSpecific /soon b",
            ],
        ),
        settings: &[],
        nginx: server(&[
            ("/foo/", &a),
            ("= /foo", &b),
            ("/foo/bar/", &b),
            ("= /foo/bar", &b),
            ("/slash/", &c),
            ("= /only", &c),
            ("/soon/", &b),
            ("= /soon", &b),
            ("/", "return 404;"),
        ]),
        asks: asks(&["/foo", "/foo/bar", "/slash", "/only", "/soon", "/foobar"]),
        files: &[],
        fields: &[],
        differences: &[],
    });
}

#[test]
fn paths_in_regex_mode() {
    let [a, b, c] = ["a", "b", "c"].map(pass);
    compare(&Group {
        name: "paths_in_regex_mode",
        manifests: ingress(
            "regex",
            HOST,
            &[("use-regex", "true")],
            &[
                "ImplementationSpecific /foo/bar/[A-Z0-9]{3} a",
                "ImplementationSpecific /foo/bar/bar b",
                "ImplementationSpecific /(?!api)only c",
                "Exact /exact a",
            ],
        ) + &ingress("plain", HOST, &[], &["Prefix /foo b"]),
        settings: &[],
        nginx: server(&[
            ("~* \"^/foo/bar/[A-Z0-9]{3}\"", &a),
            ("~* \"^/(?!api)only\"", &c),
            ("~* \"^/foo/bar/bar\"", &b),
            ("~* \"^/exact\"", &a),
            ("~* \"^/foo/\"", &b),
            ("~* \"^/foo\"", &b),
            ("~* \"^/\"", "return 404;"),
        ]),
        asks: asks(&["/foo", "/foo/bar/BAZ", "/foo/bar/ba", "/foo/bar/bar", "/only", "/exact"]),
        files: &[],
        fields: &[],
        differences: &[],
    });
}

#[test]
fn rewrites() {
    let [a, b, c] = ["a", "b", "c"].map(pass);
    compare(&Group {
        name: "rewrites",
        manifests: ingress(
            "capture",
            HOST,
            &[("rewrite-target", "/$2")],
            &["ImplementationSpecific /something(/|$)(.*) a"],
        ) + &ingress("constant", HOST, &[("rewrite-target", "/")], &["Prefix /lobby b"])
            + &ingress(
                "two",
                HOST,
                &[("rewrite-target", "/$1/v2/$2")],
                &["ImplementationSpecific /(api)/v1/(.*) c"],
            ),
        settings: &[],
        nginx: server(&[
            (
                "~* \"^/something(/|$)(.*)\"",
                &format!("rewrite \"(?i)/something(/|$)(.*)\" /$2 break; {a}"),
            ),
            (
                "~* \"^/(api)/v1/(.*)\"",
                &format!("rewrite \"(?i)/(api)/v1/(.*)\" /$1/v2/$2 break; {c}"),
            ),
            ("~* \"^/lobby/\"", &format!("rewrite \"(?i)/lobby\" / break; {b}")),
            ("~* \"^/lobby\"", &format!("rewrite \"(?i)/lobby\" / break; {b}")),
            ("~* \"^/\"", "return 404;"),
        ]),
        asks: asks(&["/something", "/lobby", "/api/v1", "/api/v1/foo", "/something/new"]),
        files: &[],
        fields: &[],
        differences: &[],
    });
}
