//! What is understood of rules, and what they come to.

use super::{
    Body, Library, Mode, OnLimit, Part, Request, RuleSet, RuleSetError, Verdict, body,
    tokens::{actions, pieces, unescaped, words},
};
use std::sync::Arc;

fn set(text: &str) -> Arc<RuleSet> {
    let parts = [Part::Snippet(text.into()), Part::Base];
    Library::default().rule_set(&parts).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn fault(text: &str) -> String {
    match Library::default().rule_set(&[Part::Snippet(text.into()), Part::Base]) {
        Err(RuleSetError::Snippet { part: 0, fault }) => fault.to_string(),
        other => panic!("{text}: {other:?}"),
    }
}

fn request(target: &str, fields: &[(&str, &str)], body: &[u8]) -> Request {
    let own = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Request {
        method: if body.is_empty() { "GET" } else { "POST" }.to_owned(),
        target: target.to_owned(),
        protocol: "HTTP/1.1",
        client: ([192, 0, 2, 1], 1234).into(),
        host: "a.example".to_owned(),
        fields: own.collect(),
        body: if body.is_empty() { Body::None } else { Body::Whole(body.to_vec()) },
    }
}

fn verdict(rules: &RuleSet, request: &Request) -> Verdict {
    rules.evaluate(request).expect("there is a verdict").verdict
}

#[test]
fn a_text_is_cut_where_modsecurity_cuts_it() {
    let text = "# one\n\nSecA x\n  SecB \\\n    \"y\" \\\n z\n#\\\nSecC";
    let cut: Vec<_> = pieces(text).iter().map(|piece| (piece.line, piece.text)).collect();
    assert_eq!(cut, [(3, "SecA x\n"), (4, "  SecB \\\n    \"y\" \\\n z\n"), (8, "SecC")]);
    assert_eq!(
        words("SecB \\\n \"y z\" 'w'  v\r\n"),
        Ok(["SecB", "y z", "w", "v"].map(str::to_owned).to_vec())
    );
    assert!(words("SecA \"x").is_err());
    assert!(words("SecA\u{a0}x").is_err() || words("SecA \u{a0}x").is_err());
    assert!(words("SecA \u{c} x").is_err(), "the engine would drop what follows");
    let names: Vec<_> = actions("id:1,\\\n  deny,msg:'a, b',t:none").into_iter().collect();
    let expected = [("id", "1"), ("deny", ""), ("msg", "'a, b'"), ("t", "none")];
    assert_eq!(names, expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(unescaped(r#"msg:\'a\' "\d\\x" \\\\"#), r#"msg:'a' "\d\x" \\"#);
}

#[test]
fn what_is_said_first_counts() {
    let library = Library::default();
    let parts = [
        Part::Snippet("SecRuleEngine On".into()),
        Part::Snippet(
            "SecRuleEngine Off\nSecRequestBodyLimit 7\nSecRequestBodyLimitAction ProcessPartial\n\
             SecRequestBodyAccess Off"
                .into(),
        ),
        Part::Base,
    ];
    let settings = *library.rule_set(&parts).expect("it is right").settings();
    assert_eq!((settings.mode, settings.most), (Mode::On, 7));
    assert_eq!((settings.on_limit, settings.inspect_bodies), (OnLimit::ProcessPartial, false));
    let base = *library.rule_set(&[Part::Base]).expect("it is right").settings();
    assert_eq!(
        (base.mode, base.most, base.on_limit),
        (Mode::DetectionOnly, 13_107_200, OnLimit::Reject)
    );
}

#[test]
fn the_rules_of_a_chain_set_what_they_say() {
    // The engine itself has regard for the first rule of a chain alone.
    let rules = set("SecRuleEngine On\n\
        SecRule ARGS:a \"@streq 1\" \"id:1,phase:2,pass,nolog,chain\"\n\
        SecRule ARGS:b \"@streq 2\" \"setvar:tx.score=+5\"\n\
        SecRule TX:score \"@ge 5\" \"id:2,phase:2,deny,status:418\"");
    assert_eq!(verdict(&rules, &request("/?a=1&b=2", &[], b"")), Verdict::Answer(418));
    assert_eq!(verdict(&rules, &request("/?a=1&b=3", &[], b"")), Verdict::Pass);
    assert_eq!(verdict(&rules, &request("/?a=3&b=2", &[], b"")), Verdict::Pass);
    // A chain that is not complete has matched nothing.
    let rules = set("SecRule ARGS:a \"@streq 1\" \"id:1,phase:2,deny,msg:'both',chain\"\n\
        SecRule ARGS:b \"@streq 2\"");
    for (target, told) in [("/?a=1&b=2", 1), ("/?a=1&b=3", 0), ("/?a=3&b=2", 0)] {
        let outcome = rules.evaluate(&request(target, &[], b"")).expect("there is a verdict");
        assert_eq!(outcome.matched.len(), told, "{target}");
    }
}

#[test]
fn block_does_what_the_defaults_say() {
    let rule = "SecRule ARGS:a \"@streq 1\" \"id:1,phase:2,block\"";
    let attack = request("/?a=1", &[], b"");
    assert_eq!(verdict(&set(&format!("SecRuleEngine On\n{rule}")), &attack), Verdict::Pass);
    let default = "SecDefaultAction \"phase:2,deny,log\"";
    let rules = set(&format!("SecRuleEngine On\n{default}\n{rule}"));
    assert_eq!(verdict(&rules, &attack), Verdict::Answer(403));
}

#[test]
fn what_the_engine_would_ignore_refuses() {
    for (text, why) in [
        ("SecRule ARGS \"@rx a\\\\\\\\b\" \"id:1,deny\"", "`\\x5c` is a backslash"),
        ("SecRule ARGS \"@rx %{tx.a}\" \"id:1,deny\"", "a variable in a regular expression"),
        ("SecRule ARGS \"@nonsense\" \"id:1,deny\"", "nonsense"),
        ("SecRule ARGS \"@geoLookup\" \"id:1,deny\"", "not supported"),
        ("SecRule UNIQUE_ID \"@rx a\" \"id:1,deny\"", "looks at UniqueId"),
        ("SecRule TX:1 \"@rx a\" \"id:1,deny\"", "looks at Tx"),
        ("SecRule XML:/a/b \"@rx a\" \"id:1,deny\"", "looks at Xml"),
        ("SecRule ARGS:/(/ \"@rx a\" \"id:1,deny\"", "bad expression"),
        ("SecRule ARGS \"@rx a\" \"id:1,t:nonsense,deny\"", "nonsense"),
        ("SecRule ARGS \"@rx a\" \"id:1,deny,multiMatch\"", "`multimatch`"),
        ("SecRule ARGS \"@rx a\" \"id:1,deny,initcol:ip=%{REMOTE_ADDR}\"", "`initcol`"),
        ("SecRule ARGS \"@rx a\" \"id:1,deny,setvar:ip.a=1\"", "variable of `ip`"),
        ("SecRule ARGS \"@rx a\" \"id:1,deny,ctl:ruleRemoveByTag=x\"", "ruleRemoveByTag"),
        ("SecRule ARGS \"@rx a\" \"id:1,deny,status:200\"", "answers 200"),
        ("SecAction \"id:1,pass\"\nSecAction \"id:1,pass\"", "line 2: has the id 1"),
        ("SecRule ARGS \"a\" \"id:1,chain\"\nSecAction \"id:2,pass\"", "line 2: stands between"),
        ("SecRule ARGS \"a\" \"id:1\" junk", "line 1"),
        ("SecRequestBodyLimit 99999999999", "is a number from 1"),
        ("SecRuleRemoveById \\\\\\\\ x", "a backslash where a word begins"),
        ("SecAction \"id:1,pass,setvar:tx.a=%{tx.a}%{tx.a}\"", "more than one other"),
        ("SecRule ARGS \"@rx (?:a{1000}){1000}\" \"id:1,deny\"", "bad expression"),
        ("SecRuleRemoveByTag x", "is not supported"),
        ("SecArgumentSeparator ;", "is not supported"),
    ] {
        let said = fault(text);
        assert!(said.contains(why), "{text}: {said}");
    }
}

#[test]
fn a_body_is_inspected_as_it_is_read_elsewhere_or_not_at_all() {
    let settings = *set("SecRequestBodyNoFilesLimit 100").settings();
    let of = |kind: &str, content: &str| {
        let request = request("/", &[("Content-Type", kind)], content.as_bytes());
        body::inspected(&request, &settings).map(|body| String::from_utf8_lossy(&body).into_owned())
    };
    assert_eq!(of("text/plain", "a=b").as_deref(), Ok("a=b"));
    assert!(of("text/plain", &"a".repeat(101)).is_err());
    let part = |head: &str, content: &str| format!("--b\r\n{head}\r\n\r\n{content}\r\n");
    let field = part("Content-Disposition: form-data; name=\"a\"", "value");
    let file = part("Content-Disposition: form-data; name=\"f\"; filename=\"x\"", &"z".repeat(500));
    let whole = |parts: &[&str]| format!("{}--b--\r\n", parts.concat());
    let kind = "multipart/form-data; boundary=b";
    assert_eq!(of(kind, &whole(&[&field])), Ok(whole(&[&field])));
    assert!(of(kind, &whole(&[&file])).is_ok_and(|body| !body.contains("zz")));
    assert!(of("multipart/form-data; boundary=\"b\"", &whole(&[&field])).is_ok());
    for (kind, content) in [
        ("multipart/form-data", whole(&[&field])),
        ("multipart/form-data; boundary=b; boundary=c", whole(&[&field])),
        ("multipart/form-data; boundary=\"b", whole(&[&field])),
        (kind, field.clone()),
        (kind, format!("preamble\r\n{}", whole(&[&field]))),
        (kind, format!("{}epilogue", whole(&[&field]))),
        (kind, whole(&[&field]).replace("\r\n", "\n")),
        (kind, whole(&[&part("Content-Type: text/plain", "x")])),
        (kind, whole(&[&part("Content-Disposition: form-data; name=a", "x")])),
        (kind, whole(&[&part("Content-Disposition: form-data;\r\n name=\"a\"", "x")])),
        (kind, whole(&[&part("Content-Disposition: form-data; name=\"a\"; filename*=x", "x")])),
        (kind, whole(&[&part("Content-Disposition: form-data; name=\"a; filename=x\"", "x")])),
        // What the engine and applications cut or read in another way than we.
        (kind, whole(&[&part("Content-Disposition: form-data; name=\"a\"", "x--b--"), &field])),
        (
            kind,
            whole(&[&part(
                "Content-Disposition: form-data; name=\"f\"; filename=\"x\"",
                "\n--b\nq",
            )]),
        ),
        (
            kind,
            whole(&[&part("Content-Disposition: form-data; x=\"; filename=\"; name=\"q\"", "x")]),
        ),
        (
            kind,
            whole(&[&part(
                "Content-Disposition: form-data; name=\"q\"; x=\"; filename=\"a\"",
                "x",
            )]),
        ),
        (kind, whole(&[&part("Content-Disposition: form-data; name=\"x\"; name=\"q\"", "x")])),
        (kind, whole(&[&part("Content-Disposition: form-data name=\"q\"", "x")])),
        (kind, whole(&[&part("Content-Disposition: form-data; name=\"q\\\"\"", "x")])),
        (kind, whole(&[&part("Content-Disposition: attachment; name=\"q\"", "x")])),
        (
            kind,
            whole(&[&part(
                &format!("Content-Disposition: form-data; name=\"{}\"", "n".repeat(2000)),
                "",
            )]),
        ),
        (
            kind,
            whole(&[&part(
                &format!(
                    "{}\r\nContent-Disposition: form-data; name=\"a\"",
                    "A: b\r\n".repeat(20).trim_end()
                ),
                "",
            )]),
        ),
        (
            kind,
            whole(&[&part(
                "Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64",
                "eA==",
            )]),
        ),
        ("multipart/form-data; boundary=b,c", whole(&[&field])),
        ("multipart/form-data; xboundary=a; boundary=b", whole(&[&field])),
        ("multipart/form-data; boundary=b; boundary*=utf-8''a", whole(&[&field])),
        ("application/x-www-form-urlencoded +xml", "q=1".to_owned()),
        ("application/x-www-form-urlencoded,x+xml", "q=1".to_owned()),
        ("application/xml", "q=1".to_owned()),
        ("application/json", "q=1".to_owned()),
    ] {
        assert!(of(kind, &content).is_err(), "{kind} {content:?}");
    }
    for twice in ["Content-Type", "Content-Encoding"] {
        let fields = [("Content-Type", "text/plain"), (twice, "gzip")];
        assert!(body::inspected(&request("/", &fields, b"a=b"), &settings).is_err(), "{twice}");
    }
    let many = "a&".repeat(1001);
    let roomy = *set("").settings();
    let form = request("/", &[("Content-Type", "text/plain")], many.as_bytes());
    assert!(body::inspected(&form, &roomy).is_err());
    let of = |kind: &str, content: &str| {
        let request = request("/", &[("Content-Type", kind)], content.as_bytes());
        body::inspected(&request, &roomy).map(|body| String::from_utf8_lossy(&body).into_owned())
    };
    assert_eq!(of("application/json", "{\"a\":[1]}").as_deref(), Ok("{\"a\":[1]}"));
    assert_eq!(of("text/xml; charset=utf-8", "<a><b/></a>").as_deref(), Ok("<a><b></b></a>"));
    let dear = format!("{{\"{}\":[{}1]}}", "k".repeat(1000), "1,".repeat(4000));
    assert!(of("application/problem+json", &dear).is_err(), "each number has a name of 1000 bytes");
}

#[test]
fn more_cookies_than_arguments_are_not_judged_and_not_let_through() {
    let rules = set("SecRuleEngine On");
    let with = |cookies: String| {
        let request = request("/", &[("Cookie", &cookies)], b"");
        rules.evaluate(&request).expect("it is judged").verdict
    };
    assert_eq!(with("a=b; c=d".to_owned()), Verdict::Pass);
    assert_eq!(with("a;".repeat(1001)), Verdict::Answer(400));
}

#[test]
fn arbitrary_text_is_understood_or_refused() {
    use proptest::prelude::*;

    let line = prop::sample::select(vec![
        "SecRule ",
        "ARGS ",
        "\"@rx (a|b)+\" ",
        "\"id:1,",
        "deny,",
        "phase:2\"",
        "\\\n",
        "\n",
        "'",
        "\"",
        "SecAction ",
        "chain",
        "Include x",
        "%{tx.a}",
        "\u{85}",
        "t:lowercase,",
        "setvar:tx.a=1",
        "&",
        "!",
    ]);
    proptest!(|(parts in prop::collection::vec(line, 0..24))| {
        let text = parts.concat();
        if let Ok(rules) = Library::default().rule_set(&[Part::Snippet(text.into()), Part::Base]) {
            prop_assert!(rules.evaluate(&request("/?a=b", &[], b"c=d")).is_ok());
        }
    });
}

#[test]
fn arbitrary_requests_have_a_verdict() {
    use proptest::prelude::*;

    let rules = set("SecRuleEngine On\n\
        SecRule ARGS|ARGS_NAMES|REQUEST_HEADERS|REQUEST_COOKIES|FILES|XML:/*|REQUEST_BODY \"@detectSQLi\" \
        \"id:1,phase:2,t:none,t:urlDecodeUni,t:htmlEntityDecode,t:jsDecode,t:cssDecode,\
        t:normalizePathWin,t:cmdLine,t:removeNulls,t:compressWhitespace,t:base64Decode,deny\"\n\
        SecRule ARGS|REQUEST_URI \"@detectXSS\" \"id:2,phase:2,t:utf8toUnicode,t:escapeSeqDecode,deny\"\n\
        SecRule ARGS \"@validateUrlEncoding\" \"id:3,phase:2,pass\"");
    let kinds = prop::sample::select(vec![
        "application/json",
        "text/xml",
        "multipart/form-data; boundary=b",
        "text/plain",
        "",
    ]);
    proptest!(|(target in "/[ -~\u{a1}-\u{2fff}]{0,60}", kind in kinds,
                body in prop::collection::vec(any::<u8>(), 0..200))| {
        let request = request(&target, &[("Content-Type", kind), ("Cookie", &target)], &body);
        prop_assert!(rules.evaluate(&request).is_ok());
    });
}

/// The figures of docs/firewall.md: `cargo test --profile count -p ingress-userspace --lib
/// what_a_request_costs -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement: prints, asserts nothing about time; needs `cargo xtask setup --interop`"]
fn what_a_request_costs() {
    use nix::sys::resource::{UsageWho, getrusage};
    use std::{path::PathBuf, time::Duration};

    // What this thread had of a processor: others may be at work.
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("Linux tells");
        let time = usage.user_time() + usage.system_time();
        Duration::from_secs(time.tv_sec().unsigned_abs())
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };

    let home = std::env::var_os("HOME").map(PathBuf::from).expect("somebody's home");
    let begun = used();
    let library = Library::load(&home.join(".cache/penstock/crs-4.25.0")).expect("it is there");
    println!("reading and trying out: {:?}", (used() - begun));
    let begun = used();
    let rules = library.rule_set(&[Part::Base, Part::Core]).expect("it is right");
    rules.warm();
    println!("compiling a set: {:?}", (used() - begun));
    let form = "application/x-www-form-urlencoded";
    let fields =
        [("Host", "shop.example.com"), ("User-Agent", super::attacks::BROWSER), ("Accept", "*/*")];
    let of = |target: &str, kind: &str, body: &str| {
        let all =
            [&fields[..], &[("Content-Type", kind)][..usize::from(!body.is_empty())]].concat();
        request(target, &all, body.as_bytes())
    };
    let ten = (0..10).map(|n| format!("field{n}=value{n}&")).collect::<String>();
    let numbers = format!("[{}1]", "1,".repeat(4000));
    for (name, request, times) in [
        ("GET", of("/search?q=hello+world&page=2", "", ""), 100),
        ("GET with SQL injection", of("/?id=1%27%20OR%20%271%27=%271", "", ""), 100),
        (
            "1 KiB of JSON",
            of(
                "/api",
                "application/json",
                &format!("{{\"a\":\"{}\"}}", "hello world, ".repeat(78)),
            ),
            100,
        ),
        ("form of 10", of("/login", form, &ten), 100),
        ("100 KiB of a's", of("/", form, &format!("a={}", "a".repeat(100_000))), 3),
        ("100 KiB of quotes", of("/", form, &format!("a={}", "'\"`".repeat(33_000))), 3),
        ("1000 arguments", of("/", form, &"a=1&".repeat(999)), 3),
        ("4000 numbers", of("/", "application/json", &numbers), 3),
    ] {
        let begun = used();
        for _ in 0..times {
            rules.evaluate(&request).expect("there is a verdict");
        }
        println!("{name}: {:?}", (used() - begun) / times);
    }
}
