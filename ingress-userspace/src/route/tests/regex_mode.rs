use std::sync::Arc;

use super::{EXACT, PREFIX, found, host, paths, regex, rewriting, route};
use crate::{
    model::{HostName, Model, Route},
    route::{Found, RouteTable, normalize},
};

fn patterns(texts: &[&str]) -> crate::route::HostTable {
    paths(texts.iter().map(|text| regex(text)).collect())
}

#[test]
fn patterns_are_anchored_at_the_start_alone_and_ignore_case() {
    for (path, request, matches) in [
        ("/foo", "/foo", true),
        ("/foo", "/FOOBAR", true),
        ("/foo", "/foo/bar", true),
        ("/foo", "/x/foo", false),
        ("/foo$", "/foobar", false),
        ("/f.o", "/fxo", true),
        ("/foo/[0-9]+", "/foo/12", true),
        ("/foo/[0-9]+", "/foo/x", false),
        ("/foo|/bar", "/bar", true),
        ("/foo|/bar", "/x/bar", true),
        ("/(?!api)(.*)", "/shop", true),
        ("/(?!api)(.*)", "/api/x", false),
        ("/(?!api)(.*)", "/API", false),
        (r"/(\w+)/\1", "/a/a", true),
        (r"/(\w+)/\1", "/a/b", false),
        ("/(?<=/)x", "/x", true),
        (r"/foo\/bar\-1\.x", "/foo/bar-1.x", true),
        ("/(?<name>a|b)/(?:c|d)", "/b/c", true),
        ("/a++b", "/aab", true),
        ("/(?>a+)b", "/aab", true),
        (r"/v\d+(?=/)", "/v12/x", true),
        (r"/v\d+(?=/)", "/v12", false),
        ("/caf\u{e9}", "/caf\u{e9}", true),
        ("/kiss", "/KISS", true),
    ] {
        let expected = if matches { format!("Prefix {path}") } else { "nothing".to_owned() };
        assert_eq!(found(&patterns(&[path]), request), expected, "{path} {request}");
    }
}

#[test]
fn longer_expressions_are_tried_first() {
    // ingress-nginx, ingress-path-matching.md, "Warning".
    let host = patterns(&["/foo/bar/bar", "/foo/bar/[A-Z0-9]{3}"]);
    assert_eq!(found(&host, "/foo/bar/bar"), "Prefix /foo/bar/[A-Z0-9]{3}");

    // The same page, "Example".
    let host = patterns(&["/foo/bar", "/foo/bar/", "/foo/bar/(.+)"]);
    assert_eq!(found(&host, "/foo/bar/x"), "Prefix /foo/bar/(.+)");
    assert_eq!(found(&host, "/foo/bar/"), "Prefix /foo/bar/");
    assert_eq!(found(&host, "/foo/bar"), "Prefix /foo/bar");
    assert_eq!(found(&host, "/foo/barn"), "Prefix /foo/bar");
}

#[test]
fn of_expressions_of_one_length_the_greater_text_is_tried_first() {
    let host = patterns(&["/[ab]", "/[bc]"]);
    assert_eq!(found(&host, "/b"), "Prefix /[bc]");
    assert_eq!(found(&host, "/a"), "Prefix /[ab]");
}

#[test]
fn paths_of_other_ingresses_become_expressions_too() {
    let host = paths(vec![regex("/re"), route(EXACT, "/exact"), route(PREFIX, "/a.c")]);
    assert_eq!(found(&host, "/EXACTLY"), "Exact /exact");
    assert_eq!(found(&host, "/abc"), "Prefix /a.c");
    assert_eq!(found(&host, "/abcd"), "Prefix /a.c");
}

#[test]
fn a_plain_prefix_is_tried_with_a_slash_too() {
    // `/foo/` is longer than `/foo`, and as long as `/fooo`, but less.
    let host = paths(vec![route(PREFIX, "/foo"), regex("/fo.")]);
    assert_eq!(found(&host, "/foo/x"), "Prefix /foo");
    assert_eq!(found(&host, "/foox"), "Prefix /foo");
    assert_eq!(found(&host, "/fob"), "Prefix /fo.");

    // An Exact path of the same text takes the place of the part without the slash.
    let host = paths(vec![route(PREFIX, "/foo"), route(EXACT, "/foo"), regex("/x")]);
    assert_eq!(found(&host, "/foo"), "Exact /foo");
    assert_eq!(found(&host, "/foo/x"), "Prefix /foo");
}

#[test]
fn no_slash_is_added() {
    let host = paths(vec![route(PREFIX, "/foo/"), regex("/")]);
    assert_eq!(found(&host, "/foo"), "Prefix /");
}

#[test]
fn one_bad_expression_costs_its_own_path_alone() {
    let bad = regex("/bad(");
    let routes = vec![bad, regex("/good"), rewriting("/worse[", "/$1")];
    let hosts = vec![Arc::new(host(HostName::CatchAll, routes))];
    let (table, diagnostics) = RouteTable::new(&Model { hosts: hosts.into(), ..Model::default() });
    assert_eq!(found(table.host("a"), "/good"), "Prefix /good");
    assert_eq!(found(table.host("a"), "/bad("), "nothing");
    let [one, two] = &diagnostics[..] else { panic!("{diagnostics:?}") };
    assert_eq!(&*two.object.name, "Prefix /bad(");
    assert_eq!(two.field, "spec.rules[0].http.paths[0].path");
    assert!(two.message.starts_with("`/bad(` is no regular expression"), "{}", two.message);
    assert!(one.message.starts_with("`/worse[` is no regular expression"), "{}", one.message);
}

#[test]
fn an_expression_that_cannot_be_decided_denies_instead_of_passing_by() {
    let host = patterns(&["/((?=a)a|a(?!c))+$", "/"]);
    assert_eq!(found(&host, "/x"), "Prefix /");
    assert_eq!(found(&host, "/aaa"), "Prefix /((?=a)a|a(?!c))+$");
    let path = format!("/{}b", "a".repeat(8000));
    assert_eq!(found(&host, &path), "denied Prefix /((?=a)a|a(?!c))+$");
}

fn rewritten(routes: Vec<Route>, request: &str) -> Option<String> {
    let path = normalize(request).unwrap();
    match paths(routes).find(&path) {
        Found::Route(found) => found.rewrite(&path),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rewrites_replace_the_whole_path() {
    for (path, target, request, expected) in [
        // ingress-nginx, examples/rewrite.
        ("/something(/|$)(.*)", "/$2", "/something", "/"),
        ("/something(/|$)(.*)", "/$2", "/something/", "/"),
        ("/something(/|$)(.*)", "/$2", "/something/new", "/new"),
        ("/api(/|$)(.*)", "/$2", "/API/v1/x", "/v1/x"),
        // Without groups all sub-paths become the constant.
        ("/lobby", "/", "/lobby/chair", "/"),
        ("/lobby", "/room", "/lobby", "/room"),
        // Groups that are unset are empty; those that do not exist too.
        ("/a(b)?(c)?", "/x$1-$2-$9", "/ac", "/x-c-"),
        ("/(a)(b)(c)", "/$3$2$1", "/abc", "/cba"),
        ("/(a)", "/$12", "/a", "/a2"),
        // NGINX would send a target without a slash, or answer 500.
        ("/a/(.*)", "$1", "/a/b", "/b"),
        ("/a/(.*)", "$1", "/a/", "/"),
        // The result is escaped again, escapes of the target are text.
        ("/a/(.*)", "/$1", "/a/b%20c", "/b%20c"),
        ("/a/(.*)", "/$1", "/a/%3Fx%23y%25", "/%3Fx%23y%25"),
        ("/a/(.*)", "/$1", "/a/%C3%A9%FF", "/%C3%A9%FF"),
        ("/a/(.*)", "/$1", "/a/b%2Fc//d/../e", "/b/c/e"),
        ("/(?!api)(.*)", "/web/$1", "/x", "/web/x"),
    ] {
        let found = rewritten(vec![rewriting(path, target)], request);
        assert_eq!(found.as_deref(), Some(expected), "{path} {target} {request}");
    }
}

#[test]
fn the_pattern_of_a_rewrite_is_found_anywhere() {
    // The alternative is not anchored, neither for routing nor for rewriting.
    let routes = vec![rewriting("/x|/foo/(.*)", "/$1")];
    assert_eq!(rewritten(routes, "/y/foo/bar").as_deref(), Some("/bar"));
}

#[test]
fn a_route_without_rewrite_keeps_the_target_of_the_request() {
    assert_eq!(rewritten(vec![regex("/a"), rewriting("/b", "/")], "/a/x"), None);
}
