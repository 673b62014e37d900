//! `enable-modsecurity` and what goes with it: own rules, and the OWASP Core Rule Set where the
//! machine has it (`cargo xtask setup --interop`).

use std::{
    env, fs,
    io::{BufReader, Write as _},
    net::SocketAddr,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{
    Backend, DEADLINE, Ingress, Reply, Site, config_map, documents, exchange, read_request,
    service, skip, until,
};

const HOST: &str = "shop.example.com";
const BROWSER: &str = "user-agent: Mozilla/5.0 (X11; Linux x86_64)\r\naccept: */*\r\n";
const FORM: &str = "application/x-www-form-urlencoded";

/// The release that `cargo xtask setup --interop` keeps.
const CORE_RULES: &str = "crs-4.25.0";

type Pairs<'a> = &'a [(&'a str, &'a str)];

const ON: (&str, &str) = ("enable-modsecurity", "true");
const CORE: (&str, &str) = ("enable-owasp-core-rules", "true");
const BLOCK: (&str, &str) = ("modsecurity-snippet", "SecRuleEngine On");
const ALLOWED: [(&str, &str); 2] =
    [("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];

/// The Core Rule Set, for one test at a time: to read it and to try it out takes a processor a
/// second, and many seconds where the build is not optimised.
struct CoreRules {
    directory: String,
    _turn: MutexGuard<'static, ()>,
}

/// Where it is, or that the test is skipped.
fn core_rules(test: &str) -> Option<CoreRules> {
    static TURN: Mutex<()> = Mutex::new(());
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let directory = cache.or(home)?.join("penstock").join(CORE_RULES);
    let there = directory.join("crs-setup.conf").is_file();
    if !there {
        skip(test, "interop", "needs the Core Rule Set (cargo xtask setup --interop)");
    }
    there.then(|| CoreRules {
        directory: directory.display().to_string(),
        _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner),
    })
}

/// A site with it whose rules are compiled: until then, requests wait for them, and those that wait
/// for too long are turned away.
fn guarded(
    annotations: Pairs<'_>,
    map: Pairs<'_>,
    rules: &CoreRules,
    endpoint: SocketAddr,
) -> Site {
    let site = site(annotations, map, &rules.directory, endpoint);
    until("the rules are compiled", || get(&site, "/").status == 200);
    site
}

fn site(annotations: Pairs<'_>, map: Pairs<'_>, rules: &str, endpoint: SocketAddr) -> Site {
    let guarded = Ingress {
        name: "guarded",
        annotations,
        host: HOST,
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let open = Ingress {
        name: "open",
        annotations: &[("enable-modsecurity", "false")],
        host: "open.example.com",
        paths: &[("Prefix", "/", "shop")],
        tls: None,
    };
    let map = [&ALLOWED, map].concat();
    let parts = [guarded.yaml(), open.yaml(), service("shop", &[endpoint]), config_map(&map)];
    let parts: Vec<&str> = parts.iter().map(|part| &**part).collect();
    let rules = format!("--modsecurity-rules={rules}");
    let arguments = ["--configmap=web/controller", &rules];
    Site::start_with(&[("all.yaml", &documents(&parts))], &arguments, |_| {})
}

/// With rules of its own alone.
fn own(snippet: &str, endpoint: SocketAddr) -> Site {
    site(&[ON, ("modsecurity-snippet", snippet)], &[], "/nowhere", endpoint)
}

/// Answers with the body of each request.
fn mirror() -> Backend {
    Backend::scripted(|mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while let Some((_, body)) = read_request(&mut reader) {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
                return;
            }
        }
    })
}

fn get(site: &Site, target: &str) -> Reply {
    let head =
        format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\n{BROWSER}connection: close\r\n\r\n");
    exchange(site.http, &head)
}

fn post(site: &Site, target: &str, kind: &str, body: &str) -> Reply {
    let length = body.len();
    let request = format!(
        "POST {target} HTTP/1.1\r\nhost: {HOST}\r\n{BROWSER}content-type: {kind}\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    exchange(site.http, &request)
}

fn judged(site: &Site, verdict: &str) -> u64 {
    let line = format!("penstock_firewall_requests_total{{verdict=\"{verdict}\"}}");
    site.metric(&line).expect("the metric is there")
}

fn said(site: &Site) -> String {
    site.state()["diagnostics"].to_string()
}

/// What the Core Rule Set blocks, as a target and a body of this type.
const ATTACKS: &[(&str, &str, &str)] = &[
    ("/?id=1%27%20OR%20%271%27=%271", "", ""),
    ("/?id=1+UNION+SELECT+name,password+FROM+users--", "", ""),
    ("/?q=%3Cscript%3Ealert(1)%3C/script%3E", "", ""),
    ("/?q=%3Cimg+src=x+onerror=alert(1)%3E", "", ""),
    ("/?file=../../../../etc/passwd", "", ""),
    ("/?c=;cat%20/etc/passwd", "", ""),
    ("/?x=$%7Bjndi:ldap://evil.example/a%7D", "", ""),
    ("/?u=http://169.254.169.254/latest/meta-data/", "", ""),
    ("/login", FORM, "user=a&password=%27+OR+1=1--+"),
    ("/api", "application/json", "{\"name\":\"x\",\"id\":\"1' OR '1'='1\"}"),
    ("/soap", "text/xml", "<a><b>1' UNION SELECT password FROM users--</b></a>"),
    (
        "/upload",
        "multipart/form-data; boundary=bound",
        "--bound\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\
         <script>alert(1)</script>\r\n--bound--\r\n",
    ),
];

/// What it lets pass.
const ORDINARY: &[(&str, &str, &str)] = &[
    ("/", "", ""),
    ("/search?q=hello+world&page=2&sort=price", "", ""),
    ("/blog/2026/11/why-we-select-our-tea-from-small-farms", "", ""),
    ("/a/b.css?v=1.2.3", "", ""),
    ("/login", FORM, "user=alice&password=correct+horse+battery&next=%2Fhome"),
    ("/comment", FORM, "text=I+really+like+it%2C+and+my+friend+O%27Brien+does+too%21"),
    ("/api", "application/json", "{\"items\":[1,2,{\"name\":\"Tea\"}],\"note\":\"at 5 o'clock\"}"),
    ("/soap", "text/xml", "<order><item id=\"7\">Tea</item></order>"),
    (
        "/upload",
        "multipart/form-data; boundary=bound",
        "--bound\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nhello\r\n\
         --bound\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\
         Content-Type: text/plain\r\n\r\n<b>a file</b>\r\n--bound--\r\n",
    ),
];

fn ask(site: &Site, (target, kind, body): (&str, &str, &str)) -> Reply {
    match kind {
        "" => get(site, target),
        kind => post(site, target, kind, body),
    }
}

#[test]
fn attacks_are_blocked_and_ordinary_requests_pass() {
    let Some(rules) = core_rules("attacks_are_blocked_and_ordinary_requests_pass") else { return };
    let shop = mirror();
    let site = guarded(&[ON, CORE, BLOCK], &[], &rules, shop.address);
    let before = shop.connections();
    for attack in ATTACKS {
        let reply = ask(&site, *attack);
        assert_eq!(reply.status, 403, "{attack:?}");
        assert!(reply.text().contains("<h1>403 Forbidden</h1>"), "{}", reply.text());
    }
    let scanner = format!(
        "GET / HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: sqlmap/1.8\r\naccept: */*\r\n\
         connection: close\r\n\r\n"
    );
    assert_eq!(exchange(site.http, &scanner).status, 403);
    assert_eq!(shop.connections(), before, "nothing of it reached an endpoint");
    assert_eq!(judged(&site, "blocked"), ATTACKS.len() as u64 + 1);
    let turned_away = judged(&site, "turned_away");
    for request in ORDINARY {
        let reply = ask(&site, *request);
        assert_eq!(reply.status, 200, "{request:?}");
        assert_eq!(reply.body, request.2.as_bytes(), "its body arrives as it was sent");
    }
    assert_eq!(judged(&site, "turned_away"), turned_away);
}

#[test]
fn without_a_word_to_the_contrary_attacks_are_told_and_pass() {
    let test = "without_a_word_to_the_contrary_attacks_are_told_and_pass";
    let Some(rules) = core_rules(test) else { return };
    let shop = mirror();
    let site = guarded(&[ON, CORE], &[], &rules, shop.address);
    for attack in ATTACKS {
        assert_eq!(ask(&site, *attack).status, 200, "{attack:?}");
    }
    assert_eq!(judged(&site, "detected"), ATTACKS.len() as u64);
    assert_eq!(judged(&site, "blocked"), 0);
}

#[test]
fn the_config_map_protects_all_but_those_that_say_no() {
    let Some(rules) = core_rules("the_config_map_protects_all_but_those_that_say_no") else {
        return;
    };
    let shop = mirror();
    let global = [
        ("enable-modsecurity", "true"),
        ("enable-owasp-modsecurity-crs", "true"),
        ("modsecurity-snippet", "SecRuleEngine On"),
    ];
    let site = guarded(&[], &global, &rules, shop.address);
    let attack = "/?id=1%27%20OR%20%271%27=%271";
    assert_eq!(get(&site, attack).status, 403);
    assert_eq!(site.get("open.example.com", attack).status, 200);
    // The Ingress' own word comes first.
    let snippet = ("modsecurity-snippet", "SecRuleEngine DetectionOnly");
    let lenient = guarded(&[snippet], &global, &rules, shop.address);
    assert_eq!(get(&lenient, attack).status, 200);
    assert_eq!(judged(&lenient, "detected"), 1);
}

#[test]
fn exceptions_are_made_by_rule_argument_and_path() {
    let Some(rules) = core_rules("exceptions_are_made_by_rule_argument_and_path") else { return };
    let shop = mirror();
    let snippet = "SecRuleEngine On\n\
        SecRule REQUEST_URI \"@beginsWith /free\" \"id:1,phase:1,pass,nolog,ctl:ruleEngine=Off\"\n\
        SecRule REQUEST_URI \"@beginsWith /sql\" \\\n  \
        \"id:2,phase:1,pass,nolog,ctl:ruleRemoveById=942000-942999\"\n\
        SecRuleRemoveById 941000-941999\n";
    let annotations = [ON, CORE, ("modsecurity-snippet", snippet)];
    let site = guarded(&annotations, &[], &rules, shop.address);
    let (sql, traversal) = ("?id=1%27%20OR%20%271%27=%271", "?file=../../../../etc/passwd");
    assert_eq!(get(&site, &format!("/{sql}")).status, 403);
    assert_eq!(get(&site, &format!("/sql{sql}")).status, 200);
    assert_eq!(get(&site, &format!("/sql{traversal}")).status, 403);
    assert_eq!(get(&site, &format!("/free{traversal}")).status, 200);
    assert_eq!(get(&site, "/?q=%3Cscript%3Ealert(1)%3C/script%3E").status, 200);
}

#[test]
fn http2_is_judged_like_http1() {
    let Some(rules) = core_rules("http2_is_judged_like_http1") else { return };
    let shop = mirror();
    let site = guarded(&[ON, CORE, BLOCK], &[], &rules, shop.address);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("the agent");
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("it speaks HTTP/2");
        tokio::spawn(connection);
        for (requests, expected) in [(ATTACKS, 403), (ORDINARY, 200)] {
            for (target, kind, body) in requests {
                let method = if kind.is_empty() { "GET" } else { "POST" };
                let mut request = http::Request::builder()
                    .method(method)
                    .uri(format!("http://{HOST}{target}"))
                    .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64)")
                    .header("accept", "*/*");
                if !kind.is_empty() {
                    request = request.header("content-type", *kind);
                }
                let body = Full::new(Bytes::from_static(body.as_bytes()));
                let request = request.body(body).expect("a request");
                let reply = sender.clone().send_request(request).await.expect("an answer");
                assert_eq!(reply.status(), expected, "{target} {kind}");
            }
        }
    });
}

#[test]
fn hostile_input_takes_little_time_and_nobody_elses() {
    let Some(rules) = core_rules("hostile_input_takes_little_time_and_nobody_elses") else {
        return;
    };
    let shop = mirror();
    let site = guarded(&[ON, CORE, BLOCK], &[], &rules, shop.address);
    let of = |unit: &str| format!("a={}", unit.repeat(130_000 / unit.len()));
    for (kind, body) in [
        (FORM, of("a")),
        (FORM, of("'\"`")),
        (FORM, of("<a ")),
        (FORM, of("%26%2360%3B")),
        (FORM, of("on select = ( ")),
        (FORM, of("a=1&")),
        ("application/json", format!("[{}1]", "1,".repeat(60_000))),
        ("application/json", "[".repeat(130_000)),
        ("text/xml", format!("<a>{}</a>", "<b>x</b>".repeat(16_000))),
        ("text/xml", "<a>".repeat(40_000)),
        ("multipart/form-data; boundary=b", "--b\r\n\r\n\r\n".repeat(13_000)),
    ] {
        let begun = Instant::now();
        let reply = post(&site, "/", kind, &body);
        let took = begun.elapsed();
        assert!([200, 400, 403].contains(&reply.status), "{kind}: {}", reply.status);
        // As long as a request waits for its verdict; a fraction of a second where the build is
        // optimised.
        assert!(took < DEADLINE / 2, "{kind} {:.20}: {took:?}", body);
    }
    let many = format!("/?{}", "a&".repeat(3000));
    assert_eq!(get(&site, &many).status, 400, "each argument costs time");
    assert_eq!(get(&site, "/").status, 200);
}

#[test]
fn what_is_not_there_or_proves_blind_protects_nobody_and_says_so() {
    let shop = mirror();
    let blind = tempfile::tempdir().expect("a directory");
    fs::create_dir(blind.path().join("rules")).expect("a directory");
    fs::write(blind.path().join("crs-setup.conf"), "# nothing\n").expect("a file");
    let harmless = "SecRule ARGS \"@streq x\" \"id:942100,phase:2,deny,msg:'x'\"\n";
    fs::write(blind.path().join("rules/REQUEST-942.conf"), harmless).expect("a file");
    for (rules, why) in [
        ("/nowhere", "cannot be read"),
        (&*blind.path().display().to_string(), "do not detect a well-known attack"),
    ] {
        let site = site(&[ON, CORE, BLOCK], &[], rules, shop.address);
        assert_eq!(get(&site, "/").status, 503);
        assert_eq!(site.get("open.example.com", "/").status, 200, "it harms nobody else");
        let said = said(&site);
        assert!(said.contains("--modsecurity-rules") && said.contains(why), "{said}");
        assert!(said.contains("enable-owasp-core-rules"), "{said}");
        let everything = [ON, ("enable-owasp-modsecurity-crs", "true")];
        let global = self::site(&[], &everything, rules, shop.address);
        assert_eq!(global.get("open.example.com", "/").status, 503);
    }
}

#[test]
fn rules_of_an_ingress_answer_as_they_say() {
    let shop = mirror();
    // As it is written for ingress-nginx: within the single quotes of nginx.conf.
    let snippet = r#"SecRuleEngine On
        SecAuditEngine RelevantOnly
        SecRule REQUEST_HEADERS:User-Agent "bad-bot" "log,deny,id:107,phase:1,status:429,msg:\'Bad bot\'"
        SecRule REQUEST_URI "@beginsWith /old" "id:108,phase:1,redirect:https://new.example.com/"
        SecRule REQUEST_URI "@beginsWith /drop" "id:109,phase:1,drop"
        SecRule REQUEST_METHOD "@streq POST" "id:110,phase:2,deny,chain"
        SecRule ARGS_POST:role "@streq admin"
        SecRule REMOTE_ADDR "@ipMatch 192.0.2.0/24" "id:111,phase:1,deny,status:451"
        SecAction "id:112,phase:1,pass,nolog,setvar:tx.seen=1"
    "#;
    let site = own(snippet, shop.address);
    assert_eq!(said(&site).matches("has no effect").count(), 1, "{}", said(&site));
    let bot = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: a bad-bot\r\n\r\n");
    assert_eq!(
        exchange(site.http, &bot.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")).status,
        429
    );
    let moved = get(&site, "/old");
    assert_eq!((moved.status, moved.header("location")), (302, Some("https://new.example.com/")));
    let mut dropped = crate::support::Connection::open(site.http);
    dropped.send(format!("GET /drop HTTP/1.1\r\nhost: {HOST}\r\n\r\n"));
    assert!(dropped.head().is_err(), "the connection is closed without a word");
    assert_eq!(post(&site, "/", FORM, "role=admin").status, 403);
    assert_eq!(post(&site, "/", FORM, "role=guest").status, 200);
    assert_eq!(get(&site, "/?role=admin").status, 200);
    assert_eq!(get(&site, "/").status, 200);
}

#[test]
fn a_switch_in_the_snippet_decides() {
    let shop = mirror();
    let rule = "SecRule ARGS:a \"@streq b\" \"id:1,phase:2,deny\"";
    for (engine, status, verdict, count) in [
        ("SecRuleEngine On\n", 403, "blocked", 1),
        ("SecRuleEngine DetectionOnly\n", 200, "detected", 1),
        ("", 200, "detected", 1),
        ("SecRuleEngine Off\n", 200, "passed", 0),
    ] {
        let site = own(&format!("{engine}{rule}"), shop.address);
        assert_eq!(get(&site, "/?a=b").status, status, "{engine}");
        assert_eq!(judged(&site, verdict), count, "{engine}");
    }
}

#[test]
fn what_is_not_understood_refuses_with_its_line() {
    let shop = mirror();
    for (snippet, why) in [
        ("SecRuleEngine On\nSecFoo x", "line 2: `SecFoo` is not supported"),
        ("SecRuleEngine Perhaps", "line 1: `SecRuleEngine` is On, Off or DetectionOnly"),
        ("Include /etc/passwd", "line 1: includes /etc/passwd"),
        ("SecRule ARGS \"@inspectFile /bin/x\" \"id:1,deny\"", "line 1: has the operator"),
        ("SecRule ARGS \"@pmFromFile /etc/passwd\" \"id:1,deny\"", "line 1: has the operator"),
        ("SecRule ARGS \"@rx (\" \"id:1,deny\"", "line 1: has a bad expression"),
        ("SecRule ARGS \"@rx (?<!a)b\" \"id:1,deny\"", "line 1: has a bad expression"),
        ("SecRule ARGS \"x\" \"id:1,deny,exec:/bin/x\"", "line 1: has the action `exec`"),
        ("SecRule ARGS \"x\" \"deny\"", "line 1: has no id"),
        ("SecRule ARGS \"x\" \"id:1,deny", "line 1: has a quote without an end"),
        ("SecRule RESPONSE_BODY \"x\" \"id:1,phase:4,deny\"", "line 1: looks at ResponseBody"),
        ("SecRule ARGS \"x\" \"id:1,phase:3,deny\"", "line 1: is of phase 3"),
        ("SecRule ARGS \"x\" \"id:1,deny,chain\"", "line 1: begins a chain"),
        ("SecRule ARGS \"x\" \"id:1,skipAfter:END\"", "line 1: skips to `END`"),
        ("SecRule ARGS \"x\" \"id:1,allow:phase\"", "line 1: has the action `allow`"),
        ("SecResponseBodyAccess On", "line 1: `SecResponseBodyAccess On`"),
    ] {
        let site = own(snippet, shop.address);
        assert_eq!(get(&site, "/").status, 503, "{snippet}");
        let said = said(&site);
        assert!(said.contains(why) && said.contains("modsecurity-snippet"), "{why}: {said}");
        assert_eq!(site.get("open.example.com", "/").status, 200);
    }
    let forbidden = [ON, ("modsecurity-snippet", "SecRuleEngine On")];
    let off = [("allow-snippet-annotations", "false")];
    let site = site(&forbidden, &off, "/nowhere", shop.address);
    assert_eq!(get(&site, "/").status, 503, "an Ingress may not bring rules unless told");
}

#[test]
fn bodies_are_held_back_as_far_as_the_limits_say() {
    let shop = mirror();
    let rule = "SecRuleEngine On\nSecRequestBodyLimit 50000\nSecRequestBodyNoFilesLimit 20000\n\
                SecRule ARGS_POST:a \"@contains evil\" \"id:1,phase:2,deny\"\n";
    let site = own(rule, shop.address);
    let form = |length: usize| format!("b={}", "x".repeat(length - 2));
    let reply = post(&site, "/", FORM, &form(20_000));
    assert_eq!((reply.status, reply.text()), (200, &*form(20_000)));
    assert_eq!(post(&site, "/", FORM, &form(20_001)).status, 400, "more than is inspected");
    assert_eq!(post(&site, "/", FORM, &form(50_001)).status, 413);
    // What is in a file is not inspected, what is beside it is.
    let upload = |field: &str, length: usize| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n{}\r\n\
             --b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{field}\r\n--b--\r\n",
            "evil".repeat(length / 4)
        )
    };
    let multipart = "multipart/form-data; boundary=b";
    let reply = post(&site, "/", multipart, &upload("good", 40_000));
    assert_eq!((reply.status, reply.text()), (200, &*upload("good", 40_000)));
    assert_eq!(post(&site, "/", multipart, &upload("evil", 40_000)).status, 403);
    assert_eq!(post(&site, "/", multipart, &upload("good", 60_000)).status, 413);
    assert_eq!(post(&site, "/", multipart, "--c\r\nno form").status, 400, "it cannot be read");
    assert_eq!(post(&site, "/", "application/json", "{\"a\":").status, 400);
    assert_eq!(post(&site, "/", "application/json", "{\"a\":1}").status, 200);
    // The length of a body in chunks is known at its end.
    let chunked = |size: usize| {
        format!(
            "POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: {FORM}\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n{size:x}\r\nb={}\r\n0\r\n\r\n",
            "x".repeat(size - 2)
        )
    };
    assert_eq!(exchange(site.http, &chunked(20_000)).status, 200);
    assert_eq!(exchange(site.http, &chunked(60_000)).status, 413);

    let partial = rule.replace("50000\n", "50000\nSecRequestBodyLimitAction ProcessPartial\n");
    let site = own(&partial.replace("20000", "60000000"), shop.address);
    let reply = post(&site, "/", FORM, &form(200_000));
    assert_eq!((reply.status, reply.text()), (200, &*form(200_000)), "all of it goes on");
    assert_eq!(post(&site, "/", FORM, &format!("a=evil&{}", form(200_000))).status, 403);
}

#[test]
fn a_change_of_rules_is_served_and_a_bad_one_denies() {
    let shop = mirror();
    let site =
        own("SecRuleEngine On\nSecRule ARGS:a \"@streq b\" \"id:1,phase:2,deny\"", shop.address);
    assert_eq!(get(&site, "/?a=b").status, 403);
    let text = fs::read_to_string(site.dir.path().join("all.yaml")).expect("the manifests");
    let before = site.generation();
    site.replace("all.yaml", &text.replace("@streq b", "@streq c"));
    until("the change is served", || site.generation() > before);
    assert_eq!([get(&site, "/?a=b").status, get(&site, "/?a=c").status], [200, 403]);
    let before = site.generation();
    site.replace("all.yaml", &text.replace("@streq b", "@nonsense b"));
    until("the change is served", || site.generation() > before);
    assert_eq!(get(&site, "/").status, 503, "never without the rules that it asks for");
}

#[test]
fn a_client_that_leaves_costs_nobody_their_turn() {
    let shop = mirror();
    let site =
        own("SecRuleEngine On\nSecRule ARGS:a \"@streq b\" \"id:1,phase:2,deny\"", shop.address);
    for _ in 0..50 {
        let mut connection = crate::support::Connection::open(site.http);
        connection.send(format!(
            "POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 1000\r\n\r\nhalf of it"
        ));
    }
    let begun = Instant::now();
    assert_eq!(get(&site, "/").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5));
}
