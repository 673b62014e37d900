//! Snippets: when they are obeyed, what refuses them, and that nothing is served without one.

use super::{Translation, get, host, ingress, said, says, says_nothing, translate_with};
use crate::{model::Piece, translate::Options};

const PREFIX: &str = "nginx.ingress.kubernetes.io";
const ALLOWED: &[(&str, &str)] =
    &[("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];

fn with(data: &[(&str, &str)], annotations: &[(&str, &str)]) -> Translation {
    let mut text =
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller}\ndata:\n".to_owned();
    for (key, value) in data {
        text.push_str(&format!("  {key}: {value:?}\n"));
    }
    text.push_str("  server-tokens: \"false\"\n");
    text += &ingress("own", annotations, "", &["a.com / Prefix web", "b.com /x Prefix web"]);
    text += &ingress("other", &[], "", &["a.com /other Prefix api", "c.com / Prefix api"]);
    let options = Options {
        configmap: Some(("default".to_owned(), "controller".to_owned())),
        ..Options::default()
    };
    translate_with(options, &text)
}

fn allowed(key: &str, text: &str) -> Translation {
    with(ALLOWED, &[(key, text)])
}

#[test]
fn snippets_are_off_unless_allowed_and_their_risk_is() {
    for key in ["configuration-snippet", "server-snippet"] {
        for data in [&[][..], &ALLOWED[..1], &ALLOWED[1..]] {
            let translation = with(data, &[(key, "add_header X-A 1;")]);
            assert_eq!(get(&translation, "a.com/"), format!("503 {PREFIX}/{key}"), "{data:?}");
            assert_eq!(get(&translation, "a.com/other"), "api");
            assert_eq!(get(&translation, "c.com/"), "api");
            says(&translation, &format!("metadata.annotations[{PREFIX}/{key}]: is "));
            says(&translation, "do without a snippet what most are for");
        }
        let translation = allowed(key, "add_header X-A 1;");
        assert_eq!(get(&translation, "a.com/"), "web");
        says_nothing(&translation);
    }
}

#[test]
fn a_snippet_that_is_not_understood_closes_what_it_would_be_for() {
    let text = "add_header X-A 1;\nproxy_cache zone;\n";
    let translation = allowed("configuration-snippet", text);
    assert_eq!(get(&translation, "a.com/"), format!("503 {PREFIX}/configuration-snippet"));
    assert_eq!(get(&translation, "a.com/other"), "api");
    says(&translation, "line 2: `proxy_cache` is not supported; the paths of this Ingress");
    let translation = allowed("server-snippet", text);
    for url in ["a.com/", "a.com/other", "b.com/x"] {
        assert_eq!(get(&translation, url), format!("503 {PREFIX}/server-snippet"), "{url}");
    }
    assert_eq!(get(&translation, "c.com/"), "api");
    says(&translation, "line 2: `proxy_cache` is not supported; all paths of the hosts");
}

#[test]
fn faults_name_their_line_and_what_to_write_instead() {
    for (text, why) in [
        ("add_header X-A", "line 1: `add_header` is not ended by `;`"),
        ("\n\nauth_basic on;", "line 3: `auth_basic` is not supported; instead: the annotations"),
        ("if ($nonsense) { return 404; }", "the variable `$nonsense` is not known"),
        ("if (-f /etc/passwd) { return 404; }", "`if`: is not `($variable"),
        ("if ($host) { if ($uri) { return 404; } }", "is not known to nginx either"),
        ("if ($host) { proxy_set_header A b; }", "`proxy_set_header` is not supported in `if`"),
        ("rewrite ^/( /x;", "is no regular expression"),
        ("rewrite ^/(.*) /$a;", "the variable `$a` is not known"),
        ("if ($uri ~ (?<host>a)) { return 404; }", "`$host` is one of nginx's own variables"),
        ("if ($uri ~ a(b)(c)(d)(e)(f)(g)(h)(i)(j)(?<x>k)) { break; }", "`x` is its group 10"),
        ("location /x { return 404; }", "`location` in a location is not supported"),
        ("add_header Content-Length 7;", "it frames the message"),
        ("more_set_headers 'X-A 1';", "has no colon"),
        ("set $host x;", "is one of nginx's own variables"),
        ("return 99;", "is neither a status nor a URL"),
        ("error_page 404 x;", "`x` is no URL, no path and no `@name`"),
        ("error_page 404 =200 https://x/;", "`=200` is no status of a redirect"),
        ("error_page 404 =99 /x;", "`=99` is no status"),
        ("error_page 200 /x;", "has something that is no status of an error"),
        ("error_page 499 /x;", "has something that is no status of an error"),
        ("error_page =200 /x;", "names no status"),
        ("error_page 404 /$upstream_http_x;", "refers to the answer"),
        ("proxy_intercept_errors maybe;", "`proxy_intercept_errors` is not supported"),
        ("internal;", "`internal` is not supported"),
        ("sub_filter $host b;", "`sub_filter`: looks for a text with variables"),
        ("sub_filter '' b;", "`sub_filter`: looks for an empty text"),
        ("sub_filter a $nonsense;", "the variable `$nonsense` is not known"),
        ("sub_filter a;", "`sub_filter`: has too few or too many values"),
        ("sub_filter_types nonsense;", "`nonsense` is no list of media types"),
        ("if ($host) { sub_filter a b; }", "`sub_filter` is not supported in `if`"),
        ("gzip_comp_level 10;", "`10` is no level from 1 to 9"),
        ("gzip maybe;", "`maybe` is neither `on` nor `off`"),
        ("proxy_ssl_verify on;", "has no authorities to verify endpoints by"),
        ("proxy_ssl_name $host;", "variables are not supported in it"),
        ("access_by_lua_block { ngx.exit(403) }", "`access_by_lua_block` is not supported"),
        (
            "if ($host) { break; }\nelse if ($uri) { break; }",
            "line 2: `else` is not known to nginx",
        ),
        ("proxy_cache on;", "`proxy_cache` is not supported"),
        ("grpc_set_header X-A $status;", "refers to the answer"),
        ("include /etc/passwd;", "`include` is not supported"),
        ("proxy_pass http://x;", "instead: a path of an Ingress with its own Service"),
        ("root /etc;", "`root` is not supported"),
        ("client_max_body_size x;", "is not a size like"),
        ("limit_except GET { deny all; } return 404;", "nginx does none of these"),
        ("allow 10.0.0.0/99;", "is no address or range"),
        ("add_header X-A $1$;", "the variable `$` is not known"),
        ("proxy_set_header X-A $status;", "refers to the answer"),
    ] {
        let translation = allowed("configuration-snippet", text);
        says(&translation, why);
        assert_eq!(get(&translation, "a.com/"), format!("503 {PREFIX}/configuration-snippet"));
    }
}

#[test]
fn what_is_never_supported_is_refused_with_an_alternative() {
    let translation = allowed("stream-snippet", "x;");
    assert_eq!(get(&translation, "a.com/"), format!("503 {PREFIX}/stream-snippet"));
    says(&translation, "--tcp-services-configmap");
}

#[test]
fn an_operator_can_have_ingresses_served_without_their_snippets() {
    let without = [ALLOWED, &[("serve-without-snippets", "true")]].concat();
    for data in [&without[..], &without[2..]] {
        for key in ["configuration-snippet", "server-snippet", "stream-snippet"] {
            let translation = with(data, &[(key, "nonsense here;")]);
            assert_eq!(get(&translation, "a.com/"), "web", "{key}");
            assert_eq!(get(&translation, "a.com/other"), "api", "{key}");
            says(&translation, "it is left out, as the ConfigMap's serve-without-snippets says");
            assert!(host(&translation.model, "a.com").routes[0].policies.is_none());
        }
    }
}

#[test]
fn what_annotations_say_too_is_taken_from_the_snippet() {
    let text = "client_max_body_size 20m;\nproxy_read_timeout 5m;\nproxy_buffering on;\n\
                proxy_request_buffering off;\nproxy_redirect http://x/ /y/;";
    let translation = allowed("configuration-snippet", text);
    says_nothing(&translation);
    let proxying = &host(&translation.model, "a.com").routes[0].proxying;
    assert_eq!(proxying.max_body, Some(20 << 20));
    assert_eq!(proxying.read_timeout, std::time::Duration::from_secs(300));
    assert!(proxying.buffer_response && !proxying.buffer_request);
    let translation = allowed("server-snippet", "client_max_body_size 20m;");
    says(&translation, "line 1: `client_max_body_size` has no effect here");
    let proxying = &host(&translation.model, "a.com").routes[0].proxying;
    assert_eq!(proxying.max_body, Some(1 << 20));
}

#[test]
fn the_oldest_server_snippet_counts_and_reaches_all_paths_of_its_host() {
    let text = ALLOWED.iter().map(|(key, value)| format!("  {key}: {value:?}\n"));
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller}\ndata:\n"
        .to_owned()
        + &text.collect::<String>();
    let of = |name, value| {
        let text = format!("add_header X-A {value};");
        let path = format!("a.com /{name} Prefix web");
        ingress(name, &[("server-snippet", &text)], "", &[&path])
    };
    let options = Options {
        configmap: Some(("default".to_owned(), "controller".to_owned())),
        ..Options::default()
    };
    let translation = translate_with(options, &(map + &of("x", "1") + &of("y", "2")));
    // Of one age, the greater name is the older.
    says(&translation, "default/y has one for this host, which counts");
    for route in &host(&translation.model, "a.com").routes {
        let program = route.policies.as_ref().and_then(|own| own.snippet.as_ref());
        let added = program.and_then(|own| own.contexts[0].added.as_ref()).expect("inherited");
        assert!(format!("{added:?}").contains("\"2\""), "{added:?}");
    }
}

#[test]
fn a_location_that_an_ingress_makes_too_closes_the_host() {
    for path in ["/", "/other/", "= /other"] {
        let text = format!("location {path} {{ return 404; }}");
        let translation = allowed("server-snippet", &text);
        says(&translation, "is a path of an Ingress too");
        says(&translation, &format!("metadata.annotations[{PREFIX}/server-snippet]: location"));
        assert_eq!(get(&translation, "a.com/"), format!("503 {PREFIX}/server-snippet"), "{path}");
        assert_eq!(get(&translation, "c.com/"), "api");
    }
    let translation = allowed("server-snippet", "location = /free { return 404; }");
    says_nothing(&translation);
    let program = host(&translation.model, "a.com").snippet.as_ref().expect("there");
    assert_eq!(program.locations.len(), 1);
}

#[test]
fn the_operators_snippets_hold_for_all() {
    let data = |more: &'static str, text: &'static str| [ALLOWED, &[(more, text)]].concat();
    for key in ["http-snippet", "server-snippet", "location-snippet"] {
        let translation = with(&data(key, "add_header X-A 1;"), &[]);
        says_nothing(&translation);
        for name in ["a.com", "b.com", "c.com"] {
            for route in &host(&translation.model, name).routes {
                let own = route.policies.as_ref().and_then(|own| own.snippet.as_ref());
                assert!(own.is_some_and(|own| own.contexts[0].added.is_some()), "{key} {name}");
            }
        }
        let translation = with(&data(key, "proxy_cache zone;"), &[]);
        assert_eq!(get(&translation, "c.com/"), format!("503 {key}"), "{}", said(&translation));
        says(&translation, &format!("data.{key}: line 1: `proxy_cache` is not supported"));
    }
}

#[test]
fn all_that_is_wrong_is_told() {
    let text = "include x;\nlocation /a {\n  root /;\n  if ($host) { lua on; }\n}\nreturn 1;";
    let translation = allowed("server-snippet", text);
    let field = format!("{PREFIX}/server-snippet]: ");
    for why in ["line 1: `include`", "line 3: `root`", "line 4: `lua`", "line 6: `return`: `1`"] {
        says(&translation, &format!("{field}{why}"));
    }
    let translation = allowed("configuration-snippet", &"include x;\n".repeat(100));
    let told = said(&translation).matches("`include` is not supported").count();
    assert_eq!(told, 20, "of much the first");
    let both = "location /other/ { return 404; }\nlocation / { return 404; }";
    let translation = allowed("server-snippet", both);
    says(&translation, "location `/other/`");
    says(&translation, "location `/` ");
}

#[test]
fn an_operators_location_that_an_ingress_makes_too_is_told_of_the_config_map() {
    let data = [ALLOWED, &[("server-snippet", "location / { return 404; }")]].concat();
    let translation = with(&data, &[]);
    says(&translation, "ConfigMap default/controller: data.server-snippet: location `/` ");
    assert_eq!(get(&translation, "c.com/"), "503 data.server-snippet");
}

#[test]
fn an_auth_snippet_tells_the_server_of_auth_url() {
    let url = ("auth-url", "https://auth.example.com/");
    let text = "proxy_set_header X-A \"$scheme $proxy_add_x_forwarded_for\";\n\
                proxy_set_header Content-Length \"\";";
    let translation = with(ALLOWED, &[url, ("auth-snippet", text)]);
    says_nothing(&translation);
    let route = &host(&translation.model, "a.com").routes[0];
    let external = route.policies.as_ref().and_then(|own| own.external.as_ref()).expect("asked");
    assert_eq!(external.request_headers.len(), 1);
    for (text, why) in [
        ("if ($request_uri = /x) { return 200; }", "line 1: `if`: is not supported here"),
        ("proxy_set_header Host x;", "`Host` is that of `auth-url`"),
        ("proxy_set_header Content-Length 7;", "it frames the message"),
        ("proxy_set_header X-A $nonsense;", "`$nonsense` is not known"),
        ("\nauth_request_set $a;", "line 2: `auth_request_set`: is not `auth_request_set $name"),
    ] {
        let translation = with(ALLOWED, &[url, ("auth-snippet", text)]);
        says(&translation, why);
        assert_eq!(get(&translation, "a.com/"), format!("503 {PREFIX}/auth-snippet"), "{text}");
    }
    let off = with(&[], &[url, ("auth-snippet", text)]);
    assert_eq!(get(&off, "a.com/"), format!("503 {PREFIX}/auth-snippet"));
    let alone = allowed("auth-snippet", text);
    says(&alone, "has no effect without auth-url");
    assert_eq!(get(&alone, "a.com/"), "web");
}

#[test]
fn the_operators_auth_snippet_goes_with_the_global_server() {
    let text = ("global-auth-snippet", "proxy_set_header X-A 1;");
    let url = ("global-auth-url", "https://auth.example.com/");
    let translation = with(&[ALLOWED, &[url, text]].concat(), &[]);
    says_nothing(&translation);
    for route in &host(&translation.model, "c.com").routes {
        let external = route.policies.as_ref().and_then(|own| own.external.as_ref());
        assert!(external.is_none_or(|own| own.request_headers.len() == 1));
    }
    says(&with(&[ALLOWED, &[text]].concat(), &[]), "has no effect without global-auth-url");
    let bad = with(&[ALLOWED, &[url, ("global-auth-snippet", "return 200;")]].concat(), &[]);
    assert_eq!(get(&bad, "c.com/"), "503 global-auth-snippet");
}

#[test]
fn what_public_manifests_say_is_understood() {
    let linkerd = "proxy_set_header l5d-dst-override $service_name.$namespace.svc.cluster.local:\
                   $service_port;\ngrpc_set_header l5d-dst-override $service_name.$namespace.svc.\
                   cluster.local:$service_port;\nproxy_hide_header l5d-remote-ip;";
    let webdav = "set $dest $http_destination;\nif ($http_destination ~ \"^https?://[^/]+(?<path>\
                  /.*)$\") {\n set $dest $path;\n}\nproxy_set_header Destination $dest;";
    for text in [linkerd, webdav, "if ($uri ~ ^/(?P<a>x)(?<b>y)) { return 302 /$b/$a; }"] {
        let translation = allowed("configuration-snippet", text);
        assert_eq!(get(&translation, "a.com/"), "web", "{text}");
        says_nothing(&translation);
    }
    // A group of the server's is known in the location.
    let both = [
        ("server-snippet", "if ($host ~* ^(?<tenant>[^.]+)[.]) { set $id $tenant; }"),
        ("configuration-snippet", "rewrite ^/(.*)$ /$id/$tenant/$1 break;"),
    ];
    let translation = with(ALLOWED, &both);
    assert_eq!(get(&translation, "a.com/"), "web");
    says_nothing(&translation);
    for (text, why) in [
        ("chunked_transfer_encoding off;", "`chunked_transfer_encoding` has no effect: "),
        ("proxy_cache off;", "`proxy_cache` has no effect: answers are never kept"),
        ("proxy_cache_bypass $http_upgrade;", "`proxy_cache_bypass` has no effect: "),
        ("grpc_buffer_size 8k;", "`grpc_buffer_size` has no effect: "),
        (
            "if ($request_method = OPTIONS) { add_header Content-Length 0; return 204; }",
            "`add_header` has no effect here: an answer's length is that of its body",
        ),
        ("more_set_headers 'Content-Length: 0';", "`more_set_headers` has no effect here"),
        (
            "grpc_set_header X-A 1;",
            "`grpc_set_header` has no effect with this `backend-protocol`, as in nginx; \
             `proxy_set_header` has one",
        ),
    ] {
        let translation = allowed("configuration-snippet", text);
        assert_eq!(get(&translation, "a.com/"), "web", "{text}");
        says(&translation, why);
    }
    let grpc = [("backend-protocol", "grpc"), ("configuration-snippet", "proxy_set_header X-A 1;")];
    says(&with(ALLOWED, &grpc), "`proxy_set_header` has no effect with this `backend-protocol`");
}

#[test]
fn variables_of_an_auth_snippet_are_empty_in_the_sign_in() {
    let vouch = "auth_request_set $auth_resp_jwt $upstream_http_x_vouch_jwt;\n\
                 auth_request_set $auth_resp_err $upstream_http_x_vouch_err;";
    let signin = "https://login.example.com/login?url=$scheme://$http_host$request_uri&\
                  X-Vouch-Token=$auth_resp_jwt&error=$auth_resp_err";
    let annotations = [
        ("auth-url", "https://login.example.com/validate"),
        ("auth-signin", signin),
        ("auth-snippet", vouch),
    ];
    let translation = with(ALLOWED, &annotations);
    let route = host(&translation.model, "b.com").routes[0].clone();
    let auth = route.policies.as_ref().and_then(|own| own.external.as_ref()).expect("asked");
    let pieces = &auth.signin.as_ref().expect("a sign-in").url.pieces;
    let text: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.to_string(),
            Piece::Variable(_) => "*".to_owned(),
        })
        .collect();
    assert_eq!(text, "https://login.example.com/login?url=*://**&X-Vouch-Token=&error=");
    says(&translation, "line 1: `auth_request_set` has no effect here: its variable stays empty");
    // Without it they are unknown.
    let translation = with(ALLOWED, &annotations[..2]);
    says(&translation, "`$auth_resp_jwt` is not known");
    says(&translation, "the answer stays 401");
    for bad in ["auth_request_set $host $upstream_status;", "auth_request_set a b;"] {
        let annotations = [annotations[0], ("auth-snippet", bad)];
        let translation = with(ALLOWED, &annotations);
        assert_eq!(get(&translation, "a.com/"), format!("503 {PREFIX}/auth-snippet"), "{bad}");
    }
}
