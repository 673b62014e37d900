//! Snippets: the very same text in nginx.conf and in the annotations.

use std::fmt::Write as _;

use testbed::requirement;

use super::{Ask, Group, compare, ingress, pass};

/// A host of its own for each.
struct Case<'c> {
    server: &'c str,
    location: &'c str,
    /// The path of the Ingress; `/` is always there too.
    path: &'c str,
    /// Targets, each perhaps with fields behind a blank: `/x A: b`.
    asks: &'c [&'c str],
}

const fn server(server: &'static str, asks: &'static [&'static str]) -> Case<'static> {
    Case { server, location: "", path: "/app", asks }
}

const fn location(location: &'static str, asks: &'static [&'static str]) -> Case<'static> {
    Case { server: "", location, path: "/app", asks }
}

const SETTINGS: &[(&str, &str)] = &[
    ("allow-snippet-annotations", "true"),
    ("annotations-risk-level", "Critical"),
    ("ssl-redirect", "false"),
];

fn check(name: &str, cases: &[Case<'_>]) {
    check_but(name, cases, &[]);
}

/// The same with differences that are meant.
fn check_but(name: &str, cases: &[Case<'_>], differences: &[(&str, &str)]) {
    let module = "/usr/lib/nginx/modules/ngx_http_headers_more_filter_module.so";
    if !std::fs::exists(module).is_ok_and(|there| there) {
        return requirement::interop(&format!("differential::{name}"), "nginx's headers-more");
    }
    let (mut manifests, mut nginx, mut asks) = (String::new(), String::new(), Vec::new());
    for (number, case) in cases.iter().enumerate() {
        let host = format!("case{number}.test");
        let mut annotations = Vec::new();
        if !case.server.is_empty() {
            annotations.push(("server-snippet", case.server));
        }
        if !case.location.is_empty() {
            annotations.push(("configuration-snippet", case.location));
        }
        let path = format!("Prefix {} b", case.path);
        manifests += &ingress(&format!("i{number}"), &host, &annotations, &["Prefix / a", &path]);
        let (root, app) = (pass("a"), pass("b"));
        let (snippet, path) = (case.location, case.path);
        let _infallible = write!(
            nginx,
            "server {{ listen HTTP; server_name {host}; include /etc/nginx/mime.types;\n{}\n\
             location / {{ {snippet}\n{root} }}\n\
             location {path}/ {{ {snippet}\n{app} }}\nlocation = {path} {{ {snippet}\n{app} }}\n}}\n",
            case.server
        );
        for ask in case.asks {
            let (target, fields) = ask.split_once(' ').unwrap_or((ask, ""));
            let fields: String = fields
                .split('|')
                .filter(|one| !one.is_empty())
                .map(|field| format!("{field}\r\n"))
                .collect();
            asks.push(Ask::with(&host, target, &fields));
            if fields.is_empty() {
                let text = format!(
                    "POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
                );
                asks.push(Ask { name: format!("POST {host}{target}"), bytes: text.into_bytes() });
            }
        }
    }
    compare(&Group {
        name,
        manifests,
        settings: SETTINGS,
        nginx,
        asks,
        fields: &[
            "body",
            "content-type",
            "x-a",
            "x-b",
            "x-c",
            "x-seen",
            "cache-control",
            "expires-is-there",
            "> x-a",
            "> x-b",
            "> x-user",
            "> accept",
        ],
        differences,
        files: &[],
    });
}

#[test]
fn answers_of_snippets() {
    check(
        "answers_of_snippets",
        &[
            server(
                "location = /metrics { deny all; return 404; }",
                &["/metrics", "/metrics/", "/x"],
            ),
            server("location /metrics { return 403; }", &["/metrics", "/metricsx", "/metrics/a?b"]),
            server(
                "location = /robots.txt { add_header X-A 1; return 200 \"User-agent: *\\nDisallow: /\\n\"; }\n\
                 location = /plain { return 200 'a$is_args$args'; }\n\
                 location = /json { default_type application/json; return 200 '{\"a\": \"$arg_q\"}'; }\n\
                 location = /empty { return 200; }\nlocation = /none { return 204; }\n\
                 location = /odd { return 418; }\nlocation = /said { return 503 'later'; }\n\
                 location = /unavailable { return 503; }",
                &[
                    "/robots.txt",
                    "/plain",
                    "/plain?x=1",
                    "/json?q=7",
                    "/empty",
                    "/none",
                    "/odd",
                    "/said",
                    "/unavailable",
                ],
            ),
            server(
                "location ^~ /old/ { return 301 https://new.example.com$request_uri; }\n\
                 location ~* \\.(php|asp)$ { return 403; }\n\
                 location ~ ^/u/([a-z]+)/(.*)$ { return 302 /user/$2?name=$1; }\n\
                 location = /moved { return 308 /here; }\nlocation = /url { return https://$host/; }",
                &[
                    "/old/",
                    "/old/x?y=1",
                    "/x.PHP",
                    "/old/x.php",
                    "/u/joe/a",
                    "/u/joe/a%20b",
                    "/u/JOE/a",
                    "/moved",
                    "/url",
                    "/app/a.php",
                    "/app",
                ],
            ),
            server(
                "location = /away { rewrite ^ /app/new?a=b last; }\n\
                 location /loop { rewrite ^ /loop last; }\n\
                 location = /to { rewrite ^/(.*)$ https://x.example.com/$1 permanent; }\n\
                 location = /denied { deny all; }\nlocation = /open { allow all; }\n\
                 location = /if { if ($arg_a = 1) { return 201 yes; } return 202 no; }",
                &["/away", "/away?c=d", "/loop", "/to?q", "/denied", "/open", "/if", "/if?a=1"],
            ),
            server(
                "rewrite ^/one$ /app/two;\nrewrite ^/three/(.*)$ /app/$1 last;\nrewrite ^/four /app/five?x=1? break;\n\
                 if ($http_x_a ~* \"bad(.*)\") { return 403 \"no $1\"; }\nif ($request_method = DELETE) { return 405; }\n\
                 if ($host = case5.test) { set $mine yes; }\nif ($request_uri ~ \"^/secret\") { return 404; }\n\
                 rewrite ^/p/(.*) /q/$1 permanent;\nrewrite ^/r/(.*) /s/$1?t=$args? redirect;",
                &[
                    "/one",
                    "/one?q=1",
                    "/three/x%2fy",
                    "/three/a%20b",
                    "/four?y=2",
                    "/x X-A: very BADword",
                    "/x X-A: good",
                    "/secret/a",
                    "/p/a%20b?c=d",
                    "/p/a+b",
                    "/p/a%2Bb%3Fc%2Bd%5C",
                    "/p/%C3%A9%26;%22",
                    "/p/ab",
                    "/r/x?y=z",
                ],
            ),
        ],
    );
}

#[test]
fn steps_of_locations() {
    check(
        "steps_of_locations",
        &[
            location(
                "if ($http_x_a = \"1\") { return 301 https://a.example.com$request_uri; }\n\
                 if ($http_x_a != '') { return 302 $scheme://b.example.com/?$args; }\n\
                 if ($cookie_c ~ ^d) { return 200 \"cookie $cookie_c\"; }\n\
                 if ($remote_user = joe) { return 200 joe; }",
                &[
                    "/a?b=c",
                    "/a X-A: 1",
                    "/a?q=1 X-A: 2",
                    "/a Cookie: x=y; c=de",
                    "/a Cookie: c=e",
                    "/a Authorization: Basic am9lOng=",
                ],
            ),
            location(
                "rewrite ^/app/(.*)$ /$1 break;",
                &[
                    "/app/x",
                    "/app/x?y=z",
                    "/app/a%20b%2Fc",
                    "/app",
                    "/app/a%3Fb",
                    "/other",
                    "/app/%C3%A9",
                ],
            ),
            location(
                "rewrite ^/app/in/(.*)$ /out/$1 last;\nrewrite ^/out/(.*) /app/last/$1 break;",
                &["/app/in/x?y", "/out/x", "/app/in/"],
            ),
            location(
                "rewrite ^(/app)$ $1/ redirect;\nrewrite ^/app/a/(.*) /app/b/$1;\nrewrite ^/app/b/(.*) /c/$1?new=1;",
                &["/app", "/app?x", "/app/a/1?q", "/app/b/2", "/x"],
            ),
            location("rewrite ^/app/(.*) /app/x$1;", &["/app/", "/x"]),
            location(
                "set $a \"${uri}-$arg_b\";\nset $b 0;\nif ($arg_b) { set $b 1; }\nif ($b) { set $a \"$a+\"; }\nadd_header X-A $a;\n\
                 if ($uri ~ \"^/app/(\\d+)/(\\w+)\") { set $c $2$1; }\nadd_header X-B \"$c\";",
                &["/app/12/ab", "/app/12/ab?b=1", "/x?b=0", "/x?B=2"],
            ),
            location(
                "set $dest -;\nif ($http_x_a ~ \"^https?://[^/]+(?<rest>/.*)$\") { set $dest $rest; }\n\
                 add_header X-A \"$dest $rest\";\n\
                 if ($uri ~ ^/app/(?<first>\\w+)/(?P<second>\\w+)$) { return 302 /$second/$first; }\n\
                 rewrite ^/app/x(?<tail>.*)$ /y/$tail break;",
                &[
                    "/ X-A: https://a.example.com/b/c",
                    "/ X-A: nothing",
                    "/app/one/two",
                    "/app/x-end",
                    "/app/x%20y%2Fz",
                ],
            ),
            location("set $args $args&more=1;", &["/app/a%2Fb?x=1", "/x"]),
            location(
                "if ($request_method !~ ^(GET|HEAD)$) { return 405; }\nif ($uri ~* /ADMIN) { break; return 500; }\nrewrite /admin /login;",
                &["/app", "/app/admin", "/admin/x"],
            ),
            location(
                "if ($scheme = http) { return 307 https://$server_name$request_uri; }",
                &["/a"],
            ),
            location("return 204;", &["/a", "/app"]),
            location(
                "if ($arg_x = 1) { return 403; }\nerror_page 403 404 https://e.example.com/$arg_x;\nif ($arg_x = 2) { return 404 text; }",
                &["/a?x=1", "/a?x=2", "/a"],
            ),
            location(
                "deny 127.0.0.1;\nallow all;\nerror_page 403 =301 https://e.example.com/;",
                &["/a"],
            ),
            location("allow 127.0.0.0/8; deny all;", &["/a"]),
            location("limit_except GET { deny all; }", &["/a"]),
        ],
    );
}

#[test]
fn headers_of_snippets() {
    check(
        "headers_of_snippets",
        &[
            location(
                "more_set_headers \"X-A: 1\" 'X-B: $host';\nmore_set_headers -s '404 403' \"X-C: error\";\nif ($arg_e) { return 404; }",
                &["/a", "/a?e=1"],
            ),
            location(
                "add_header X-A always-not;\nadd_header X-B \"a $arg_b\" always;\nadd_header X-C \"\";\nif ($arg_e) { return 404; }",
                &["/a", "/a?e=1&b=2"],
            ),
            location(
                "more_clear_headers 'X-S*' X-B;\nadd_header X-A 1;\nadd_header X-A 2;\nmore_set_headers 'X-A: 0' 'X-B: 1' 'X-B: 2';",
                &["/a"],
            ),
            location(
                "add_header X-A outer;\nmore_set_headers 'X-B: outer';\nif ($arg_i) { add_header X-A inner; more_set_headers 'X-C: inner'; }\nif ($arg_j) { add_header X-C other; }\nif ($arg_k) { set $k 1; }",
                &["/a", "/a?i=1", "/a?j=1", "/a?i=1&j=1", "/a?i=1&k=1", "/a?k=1"],
            ),
            Case {
                server: "add_header X-A server;\nmore_set_headers 'X-B: server' 'X-C: server';\nlocation = /own { return 200 own; }\nlocation = /two { add_header X-C two; return 200 two; }\nproxy_hide_header X-Seen;",
                location: "add_header X-C location;\nmore_set_headers 'X-B: location';",
                path: "/app",
                asks: &["/a", "/own", "/two"],
            },
            Case {
                server: "add_header X-A server always;\nif ($arg_d) { return 403; }",
                location: "more_set_headers -t 'text/html' 'X-B: html' ;\nmore_set_headers -s 200 -t 'text/plain' 'X-C: plain';",
                path: "/app",
                asks: &["/a", "/a?d=1"],
            },
            location(
                "proxy_hide_header X-Seen;\nadd_header X-A \"$upstream_http_x_seen\";\nmore_set_headers \"X-B: $status\";",
                &["/a"],
            ),
            location(
                "proxy_set_header X-A \"$remote_addr $request_method\";\nproxy_set_header X-User \"\";\nproxy_set_header X-B $http_x_b-$arg_q;",
                &["/a X-User: evil|X-A: evil", "/a?q=1 X-B: b"],
            ),
            location(
                "more_set_input_headers 'X-A: set' 'X-B: $http_x_b$http_x_b';\nmore_set_input_headers -r 'X-User: replaced';\nmore_clear_input_headers Accept;",
                &["/a Accept: */*|X-B: b", "/a X-User: mine"],
            ),
            location("expires -1;", &["/a"]),
            location("expires 1h;\nadd_header Cache-Control public;", &["/a"]),
            location(
                "if ($request_uri ~* \\.(js|css)$) { expires 30d; add_header Cache-Control \"public\"; }",
                &["/a.js", "/app/x.css", "/a"],
            ),
            location("expires max;", &["/a"]),
            location("expires epoch;", &["/a"]),
            location("proxy_pass_request_headers off;", &["/a X-A: gone|Accept: x"]),
        ],
    );
}

#[test]
fn pages_of_errors() {
    const NAMED: &str = "location @sorry { return 200 \"sorry $request_uri $uri\"; }\n\
        location = /own.txt { internal; add_header X-A own always; return 200 'own $args'; }\n\
        location @away { return 302 https://example.com$request_uri; }\n\
        location @on { rewrite ^ /app/on?on=1 last; }\n\
        location = /denied { deny all; }\nerror_page 404 /own.txt;";
    let why = "the body of a POST is not sent along with the GET for its page";
    check_but(
        "pages_of_errors",
        &[
            location(
                "error_page 403 /app/403?a=b; if ($arg_x = 1) { return 403; }\nadd_header X-A 1 always;",
                &["/a?x=1", "/app/a?x=1&y=2"],
            ),
            location(
                "error_page 403 =200 /app/403; error_page 404 = /app/404$uri; error_page 405 /app/405;\n\
                 if ($arg_x = 1) { return 403; } if ($arg_x = 2) { return 404; } if ($arg_x = 3) { return 405; }",
                &["/a?x=1", "/a?x=2", "/a?x=3", "/a%20b?x=2", "/a?x=0"],
            ),
            Case {
                server: NAMED,
                location: "error_page 401 @sorry; error_page 402 = @sorry; error_page 403 /own.txt?q; error_page 405 = @away; error_page 406 @on; error_page 409 @nowhere; error_page 410 =201 /own.txt; error_page 411 /denied;\n\
                     if ($arg_x = 1) { return 401; } if ($arg_x = 2) { return 402; } if ($arg_x = 3) { return 403; } if ($arg_x = 4) { return 405; }\n\
                     if ($arg_x = 5) { return 406; } if ($arg_x = 6) { return 409; } if ($arg_x = 7) { return 410; } if ($arg_x = 8) { return 411; }",
                path: "/app",
                asks: &[
                    "/a?x=1",
                    "/a?x=2",
                    "/a?x=3",
                    "/a?x=4",
                    "/a?x=5",
                    "/a?x=6",
                    "/a?x=7",
                    "/a?x=8",
                    "/own.txt",
                    "/own.txt?x",
                ],
            },
            server(NAMED, &["/own.txt", "/denied", "/app"]),
            location("deny all; error_page 403 /app/x;", &["/a"]),
            server(
                "location = /gone { return 404; }\nlocation = /404.html { return 200 page; }\nerror_page 404 /404.html;",
                &["/gone", "/404.html", "/a"],
            ),
        ],
        &[("POST case0.test/", why), ("POST case1.test/", why)],
    );
}

/// Bodies, which the Service says as the request asks for them. Over HTTP/1.0, whose bodies have no
/// chunks: where those end is nobody's business.
#[test]
fn bodies_of_snippets() {
    let long = format!("{}needle{}", "x".repeat(3000), "Needle ".repeat(200));
    let html = |body: &str| format!("X-Type: text/html|X-Body: {body}");
    let cases: &[(&str, &str, &[String])] = &[
        (
            "",
            "sub_filter one 1; sub_filter_once off;",
            &[
                html("one One oNe on one"),
                html("oone ononee o"),
                html("nothing"),
                html(""),
                "X-Body: one".to_owned(),
                "X-Type: text/plain|X-Body: one".to_owned(),
                "X-Type: TEXT/HTML; charset=utf-8|X-Body: one".to_owned(),
                format!("{}|HEAD: 1", html("one")),
            ],
        ),
        ("", "sub_filter needle 'a longer replacement';", &[html(&long), html("need needle")]),
        (
            "",
            "sub_filter a 1;\nsub_filter ab 2;\nsub_filter abc 3;\nsub_filter_once off;",
            &[html("abc aabc xab"), html("b c ab")],
        ),
        (
            "",
            "sub_filter abc 3;\nsub_filter ab 2;\nsub_filter b '';\nsub_filter_once off;",
            &[html("abc aabc xab abab b"), html("bbb"), html("ab")],
        ),
        (
            "",
            "sub_filter abc 3;\nsub_filter ab 2;\nsub_filter b '';",
            &[html("abc aabc xab abab b"), html("bbb ab ab abc abc")],
        ),
        (
            "",
            "sub_filter '</head>' '<script src=\"$scheme://$host$uri?$arg_q\"></script></head>';\n\
             sub_filter_last_modified on; sub_filter_types text/css application/json;",
            &[
                html("<head></HEAD>"),
                "X-Type: text/css|X-Body: </head>".to_owned(),
                "X-Type: text/plain|X-Body: </head>".to_owned(),
            ],
        ),
        (
            "",
            "sub_filter a b; sub_filter_types *;",
            &["X-Type: image/png|X-Body: aa".to_owned(), "X-Body: aa".to_owned()],
        ),
        (
            "sub_filter a server; sub_filter_once off; sub_filter_types text/css;\n\
             location = /own { default_type text/html; return 200 'a b a'; }\n\
             location = /error { return 404; }\n\
             location = /two { sub_filter b two; default_type text/html; return 200 'a b b'; }",
            "sub_filter_types text/plain;",
            &[html("a b a"), "X-Type: text/css|X-Body: aa".to_owned()],
        ),
        ("sub_filter a server; sub_filter_once off;", "sub_filter b c;", &[html("a b a b")]),
        ("", "sub_filter a b; if ($arg_q) { add_header X-A if; }", &[html("aa")]),
        (
            "",
            "gzip on; gzip_min_length 10; gzip_types text/css; sub_filter a b;",
            &[
                format!("{}|Accept-Encoding: gzip", html("short")),
                "X-Type: text/css|X-Body: long enough for it|Accept-Encoding: gzip".to_owned(),
                "X-Type: text/plain|X-Body: long enough for it|Accept-Encoding: gzip".to_owned(),
            ],
        ),
    ];
    let (mut manifests, mut nginx, mut asks) = (String::new(), String::new(), Vec::new());
    for (number, (server, location, all)) in cases.iter().enumerate() {
        let host = format!("body{number}.test");
        let mut annotations = vec![("configuration-snippet", *location)];
        if !server.is_empty() {
            annotations.push(("server-snippet", server));
        }
        manifests += &ingress(&format!("i{number}"), &host, &annotations, &["Prefix / a"]);
        let root = pass("a");
        let _infallible = write!(
            nginx,
            "server {{ listen HTTP; server_name {host}; include /etc/nginx/mime.types;\n{server}\n\
             location / {{ {location}\n{root} }}\n}}\n",
        );
        for (place, fields) in all.iter().enumerate() {
            let method = if fields.contains("HEAD: 1") { "HEAD" } else { "GET" };
            for target in ["/p?q=1", "/own", "/two", "/error"] {
                if place > 0 && target != "/p?q=1" {
                    continue;
                }
                let name =
                    format!("{method} {host}{target} {}", fields.get(..60).unwrap_or(fields));
                let fields: String =
                    fields.split('|').map(|field| format!("{field}\r\n")).collect();
                let text = format!("{method} {target} HTTP/1.0\r\nHost: {host}\r\n{fields}\r\n");
                asks.push(Ask { name, bytes: text.into_bytes() });
            }
        }
    }
    compare(&Group {
        name: "bodies_of_snippets",
        manifests,
        settings: SETTINGS,
        nginx,
        asks,
        fields: &["body", "content-type", "etag", "last-modified", "content-encoding", "x-a"],
        differences: &[(
            "body3.test/p?q=1 X-Type: text/html|X-Body: ab",
            "where a body ends in the beginning of one text, nginx does not look whether that is \
             another whole one",
        )],
        files: &[],
    });
}
