//! `deploy/helm/penstock/files/annotations.yaml`: what of the rules for annotations can be said in
//! CEL, for the ValidatingAdmissionPolicy of the chart, made from the tables that translation goes
//! by. A rule may let pass what translation refuses, for there is much that CEL cannot know; it
//! never refuses what translation takes, which a test tries.

use std::fmt::Write as _;

use super::{
    described::{DESCRIBED, Described},
    known::{KNOWN, Support},
};

const PATH: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/penstock/files/annotations.yaml");

/// What values must be.
enum Test {
    /// A regular expression that all of the value matches, blanks around it left out.
    Pattern(String),
    /// A comma list of addresses and ranges; whether it may be empty.
    Ranges { empty: bool },
}

/// A rule for values of some keys.
struct Rule {
    /// Of the variable in CEL.
    name: String,
    keys: Vec<&'static str>,
    test: Test,
    /// What the value is not, or what is wrong with it, as diagnostics say it.
    message: String,
}

/// Keys whose kind says less than is known of them: keys, what the value matches, what it is not.
/// What is said is what the diagnostics of translation say.
const PATTERNS: &[(&str, &[&str], &str, &str)] = &[
    (
        "seconds",
        &["proxy-connect-timeout", "proxy-send-timeout", "proxy-read-timeout"],
        "0*[1-9][0-9]*",
        "a number of seconds from 1, without unit",
    ),
    (
        "optional_seconds",
        &["proxy-next-upstream-timeout"],
        "[0-9]+",
        "a number of seconds without unit, or 0",
    ),
    (
        "cookie_seconds",
        &["session-cookie-expires", "session-cookie-max-age"],
        "[+-]?[0-9]+",
        "a whole number of seconds",
    ),
    (
        "size",
        &["proxy-body-size", "client-body-buffer-size"],
        "[0-9]+[kKmMgG]?",
        "a size like `1024`, `8k`, `1m` or `1g`",
    ),
    (
        "limit",
        &["limit-rps", "limit-rpm", "limit-connections"],
        "[+-]?[0-9]+",
        "a whole number; 0 is no limit",
    ),
    ("multiplier", &["limit-burst-multiplier"], "[+]?0*[1-9][0-9]*", "a whole number from 1"),
    (
        "kibibytes",
        &["limit-rate", "limit-rate-after"],
        "-?[0-9]+",
        "a whole number of KiB, without unit",
    ),
    (
        "tries",
        &["proxy-next-upstream-tries"],
        "[0-9]+",
        "a whole number of attempts, or 0 for as many as there may be",
    ),
    ("subset", &["upstream-hash-by-subset-size"], "[+]?0*[1-9][0-9]*", "a number from 1 to 65535"),
    (
        "weight",
        &["canary-weight", "canary-weight-total"],
        "[+]?[0-9]+",
        "a whole number, 0 or more",
    ),
    (
        "number",
        &["permanent-redirect-code", "temporal-redirect-code", "cors-max-age"],
        "[+-]?[0-9]+",
        "a whole number",
    ),
    (
        "statuses",
        &["custom-http-errors"],
        r"\s*0*[45][0-9][0-9]\s*(,\s*0*[45][0-9][0-9]\s*)*",
        "a comma list of statuses from 400 to 599",
    ),
    (
        "rewrite_target",
        &["rewrite-target"],
        "[-A-Za-z0-9._~/:$]+",
        "letters, digits, `-._~/:` and `$1` to `$9`",
    ),
    (
        "forwarded_prefix",
        &["x-forwarded-prefix"],
        "[-A-Za-z0-9._~/:]+",
        "letters, digits and `-._~/:`",
    ),
    (
        "permanent_redirect",
        &["permanent-redirect"],
        r"[-A-Za-z0-9._~/:,?&=]+",
        "a URL or path of letters, digits and `-._~/:,?&=`",
    ),
    (
        "temporal_redirect",
        &["temporal-redirect"],
        "[-A-Za-z0-9._~/:,?&=]+",
        "a URL of letters, digits and `-._~/:,?&=`",
    ),
    (
        "app_root",
        &["app-root"],
        "/([-A-Za-z0-9._~:,?&=][-A-Za-z0-9._~/:,?&=]*)?",
        "a path that begins with one `/`",
    ),
    (
        "hash_by",
        &["upstream-hash-by"],
        "[-A-Za-z0-9_${}]*",
        "letters, digits, `_`, `-` and variables like `$request_uri`",
    ),
    (
        "cookie_name",
        &["session-cookie-name"],
        r"[-A-Za-z0-9!#$%&\x27*+.^_\x60|~]+",
        "a cookie's name: letters, digits, `-`, `_`, `.`",
    ),
    ("cookie_path", &["session-cookie-path"], "[!-+.-:<-~-]+", "a path"),
    ("cookie_domain", &["session-cookie-domain"], "[!-+.-:<-~-]+", "a domain"),
    ("header", &["canary-by-header"], r"[-A-Za-z0-9!#$%&\x27*+.^_\x60|~]*", "a header's name"),
    ("cookie", &["canary-by-cookie"], r"[-A-Za-z0-9!#$%&\x27*+.^_\x60|~]*", "a cookie's name"),
    (
        "realm",
        &["auth-realm"],
        "[-A-Za-z0-9._~/: ]+",
        "a text of letters, digits, spaces and `-._~/:`",
    ),
    ("service", &["default-backend"], "[-A-Za-z0-9]{1,63}", "the name of a Service"),
    (
        "config_map",
        &["custom-headers"],
        "([-A-Za-z0-9.]+/)?[-A-Za-z0-9.]+",
        "`namespace/name` of a ConfigMap",
    ),
    ("client_secret", &["auth-tls-secret"], "[-A-Za-z0-9.]+/[-A-Za-z0-9.]+", "`namespace/name`"),
    (
        "endpoint_secret",
        &["proxy-ssl-secret"],
        "[-a-z0-9.]+/[-a-z0-9.]+",
        "`namespace/name` of a Secret",
    ),
];

/// As [`super::value::boolean`] has them.
const BOOLEANS: &str = "1|t|T|TRUE|true|True|0|f|F|FALSE|false|False";

fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    let obeyed = |row: &&Described| {
        KNOWN.iter().any(|(key, _, support)| *key == row.key && *support == Support::Obeyed)
    };
    let mut kinds: Vec<&str> = Vec::new();
    for row in DESCRIBED.iter().filter(obeyed) {
        if !kinds.contains(&row.kind) {
            kinds.push(row.kind);
        }
    }
    for kind in kinds {
        let keys: Vec<_> = DESCRIBED.iter().filter(obeyed).filter(|row| row.kind == kind).collect();
        let keys: Vec<_> = keys.into_iter().map(|row| row.key).collect();
        let first = keys.first().map_or_else(String::new, |key| key.replace('-', "_"));
        let (name, pattern, expected) = match (kind, words(kind)) {
            ("boolean", _) => ("boolean".to_owned(), BOOLEANS.to_owned(), "`true` or `false`"),
            // The only one that is compared without regard to case.
            (_, Some(words)) if keys.contains(&"backend-protocol") => {
                (first, format!("(?i:{words})"), kind)
            }
            (_, Some(words)) => (first, words, kind),
            _ => continue,
        };
        let message = format!("is not {expected}");
        rules.push(Rule { name, keys, test: Test::Pattern(pattern), message });
    }
    for (name, keys, pattern, expected) in PATTERNS {
        rules.push(Rule {
            name: (*name).to_owned(),
            keys: keys.to_vec(),
            test: Test::Pattern((*pattern).to_owned()),
            message: format!("is not {expected}"),
        });
    }
    for (name, keys, empty) in [
        (
            "sources",
            &["whitelist-source-range", "allowlist-source-range", "denylist-source-range"][..],
            false,
        ),
        ("exempt", &["limit-allowlist", "limit-whitelist"], true),
    ] {
        rules.push(Rule {
            name: name.to_owned(),
            keys: keys.to_vec(),
            test: Test::Ranges { empty },
            message: "is not a comma list of addresses and ranges like 10.0.0.0/8".to_owned(),
        });
    }
    rules
}

/// Snippets, for clusters where they are off.
fn snippets() -> Rule {
    let keys = KNOWN.iter().filter(|(.., support)| *support == Support::Snippet);
    Rule {
        name: "snippet".to_owned(),
        keys: keys.map(|(key, ..)| *key).collect(),
        test: Test::Pattern(String::new()),
        message: "is off: the ConfigMap's `allow-snippet-annotations` is not `true`".to_owned(),
    }
}

/// The words of a kind that is nothing but words, as a regular expression.
fn words(kind: &str) -> Option<String> {
    let mut words = Vec::new();
    for (index, part) in kind.split('`').enumerate() {
        match index % 2 {
            1 => words.push(part.replace('.', r"\.")),
            _ if matches!(part, "" | ", " | " or ") => {}
            _ => return None,
        }
    }
    // A mere list has more than one of its words.
    (words.len() == 1 || kind.contains(" or ")).then(|| words.join("|"))
}

/// The file as a whole.
fn document() -> String {
    let mut text = "\
        # Made from the code: PENSTOCK_WRITE_DOCS=1 cargo test -p ingress-userspace --lib -- admission\n\
        # A test fails if it is stale. Each rule is a variable with the keys whose values are wrong.\n"
        .to_owned();
    for (list, rules) in [("annotations", rules()), ("snippets", vec![snippets()])] {
        let _ = writeln!(text, "{list}:");
        for Rule { name, keys, test, message } in rules {
            let keys: Vec<_> = keys.iter().map(|key| format!("'{key}'")).collect();
            let value = "variables.annotations[variables.prefix + key]";
            let is_wrong = match test {
                Test::Pattern(pattern) => format!("!{value}.trim().matches(r'^({pattern})$')"),
                Test::Ranges { empty } => {
                    let item = "item.trim() != '' && !isIP(item.trim()) && !isCIDR(item.trim())";
                    // Kubernetes' library takes no IPv4 addresses in IPv6 clothes.
                    let wrong = format!(
                        "{value}.split(',').exists(item, {item} && \
                         !item.trim().lowerAscii().startsWith('::ffff:'))"
                    );
                    match empty {
                        true => wrong,
                        false => format!(
                            "(!{value}.split(',').exists(item, item.trim() != '') || {wrong})"
                        ),
                    }
                }
            };
            let _ = write!(
                text,
                "- name: {name}\n  expression: |-\n    [{}].filter(key,\n      \
                 (variables.prefix + key) in variables.annotations\n      && {is_wrong})\n  \
                 message: {message:?}\n",
                keys.join(", ")
            );
        }
    }
    text
}

#[test]
fn the_admission_rules_are_up_to_date() {
    let wanted = document();
    if std::env::var_os("PENSTOCK_WRITE_DOCS").is_some() {
        std::fs::write(PATH, &wanted).expect("deploy is writable");
    }
    let found = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(found == wanted, "{PATH} is stale: see its first line");
}

/// Values of all kinds, right for some keys and wrong for others.
const VALUES: &[&str] = &[
    "",
    " ",
    "true",
    "TRUE",
    "yes",
    "on",
    "off",
    "On",
    "0",
    "1",
    "-1",
    "+1",
    "00",
    "007",
    "1.5",
    "60",
    "60s",
    "1m",
    "8K",
    "10gb",
    "abc",
    "a b",
    "a;b",
    "a\"b",
    "a'b",
    "a\\b",
    "a,b",
    "a{b",
    "é",
    "line\nline",
    "on\n",
    "/",
    "/x",
    "//x",
    "/$1",
    "/$x",
    "x$1",
    "http://h/",
    "ftp://h",
    "https://",
    "10.0.0.0/8",
    "10.1.2.3/24",
    "10.0.0.0/33",
    "10.0.0.1, ::1",
    "::ffff:10.0.0.1",
    "x/8",
    ",",
    "basic",
    "Basic",
    "digest",
    "auth-map",
    "any",
    "all",
    "ewma",
    "round_robin",
    "cookie",
    "persistent",
    "sticky",
    "Lax",
    "lax",
    "None",
    "GRPCS",
    "grpcs",
    "HTTP/2",
    "close",
    "1.0",
    "1x0",
    "v1",
    "v2",
    "optional",
    "optional_no_ca",
    "404,503",
    "404, 503 ",
    "399",
    "600",
    "0404",
    "65536",
    "$request_uri",
    "${host}-x",
    "#",
    "`",
    "a/b",
    "A/b",
    "a/b/c",
    "a_b",
    "99999999999999999999",
];

/// What makes other annotations count.
fn companions(key: &str) -> Vec<(&'static str, &'static str)> {
    let mut all = Vec::new();
    for (prefix, name, value) in [
        ("session-cookie-", "affinity", "cookie"),
        ("canary-", "canary", "true"),
        ("affinity-canary", "canary", "true"),
        ("auth-realm", "auth-type", "basic"),
        ("auth-secret-type", "auth-type", "basic"),
        ("proxy-ssl-", "proxy-ssl-secret", "default/tls"),
        ("auth-tls-", "auth-tls-secret", "default/ca"),
        ("auth-always-", "auth-url", "http://auth.example.com/"),
        ("x-forwarded-prefix", "rewrite-target", "/"),
        ("limit-allowlist", "limit-rps", "1"),
        ("limit-whitelist", "limit-rps", "1"),
        ("limit-burst", "limit-rps", "1"),
    ] {
        if key.starts_with(prefix) && key != name {
            all.push((name, value));
        }
    }
    all
}

#[test]
fn admission_refuses_nothing_that_translation_takes() {
    use crate::{model::Severity, translate::tests};
    for rule in rules() {
        let Test::Pattern(pattern) = &rule.test else { continue };
        let pattern = regex::Regex::new(&format!("^({pattern})$")).expect(pattern);
        for key in &rule.keys {
            let refused: Vec<_> =
                VALUES.iter().filter(|value| !pattern.is_match(value.trim())).collect();
            assert!(!refused.is_empty(), "{key}: nothing is refused");
            let ingresses = refused.iter().enumerate().map(|(number, value)| {
                let mut annotations = companions(key);
                annotations.push((key, value));
                let rule = format!("h{number}.example.com / Prefix web");
                tests::ingress(&format!("i{number}"), &annotations, "", &[&rule])
            });
            let translation = tests::translate(&ingresses.collect::<String>());
            let field = format!("/{key}]");
            for (number, value) in refused.iter().enumerate() {
                let is_said = translation.diagnostics.iter().any(|diagnostic| {
                    diagnostic.severity == Severity::Error
                        && diagnostic.field.contains(&field)
                        && *diagnostic.object.name == format!("i{number}")
                });
                assert!(is_said, "{key}: {value:?} is taken:\n{}", tests::said(&translation));
            }
        }
    }
}

#[test]
fn admission_says_what_diagnostics_say() {
    use crate::translate::tests;
    for (_, keys, pattern, expected) in PATTERNS {
        let pattern = regex::Regex::new(&format!("^({pattern})$")).expect(pattern);
        let wrong = VALUES.iter().rev().find(|value| !pattern.is_match(value.trim()));
        let wrong = wrong.expect("something is wrong for every key");
        for key in *keys {
            let mut annotations = companions(key);
            annotations.push((key, wrong));
            let ingress = tests::ingress("web", &annotations, "", &["a.example.com / Prefix web"]);
            tests::says(&tests::translate(&ingress), &format!("is not {expected}"));
        }
    }
}

#[test]
fn kinds_of_mere_words_are_told_from_others() {
    assert_eq!(words("`any` or `all`").as_deref(), Some("any|all"));
    assert_eq!(words("`1.0` or `1.1`").as_deref(), Some(r"1\.0|1\.1"));
    assert_eq!(words("`cookie`").as_deref(), Some("cookie"));
    assert_eq!(words("`off`, or two texts"), None);
    assert_eq!(words("`TLSv1.2`, `TLSv1.3`"), None);
}
