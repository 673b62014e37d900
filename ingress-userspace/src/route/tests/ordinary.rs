use super::{EXACT, PREFIX, found, paths, route};

/// The examples of the Ingress specification (kubernetes.io, Ingress, "Path types", "Examples"), in
/// their order, row by row. A row that says `slash` differs from it as ingress-nginx does: the
/// specification would match at once, ingress-nginx redirects to the path with the slash first
/// (reference section 3.2).
#[test]
fn examples_of_the_ingress_specification() {
    const MIXED: &[(crate::model::PathKind, &str)] = &[(PREFIX, "/foo"), (EXACT, "/foo")];
    for (paths_of_rule, request, expected) in [
        (&[(PREFIX, "/")][..], "/", "Prefix /"),
        (&[(PREFIX, "/")], "/any/path", "Prefix /"),
        (&[(EXACT, "/foo")], "/foo", "Exact /foo"),
        (&[(EXACT, "/foo")], "/bar", "nothing"),
        (&[(EXACT, "/foo")], "/foo/", "nothing"),
        (&[(EXACT, "/foo/")], "/foo", "nothing"),
        (&[(PREFIX, "/foo")], "/foo", "Prefix /foo"),
        (&[(PREFIX, "/foo")], "/foo/", "Prefix /foo"),
        (&[(PREFIX, "/foo/")], "/foo", "slash Prefix /foo/"),
        (&[(PREFIX, "/foo/")], "/foo/", "Prefix /foo/"),
        (&[(PREFIX, "/aaa/bb")], "/aaa/bbb", "nothing"),
        (&[(PREFIX, "/aaa/bbb")], "/aaa/bbb", "Prefix /aaa/bbb"),
        (&[(PREFIX, "/aaa/bbb/")], "/aaa/bbb", "slash Prefix /aaa/bbb/"),
        (&[(PREFIX, "/aaa/bbb")], "/aaa/bbb/", "Prefix /aaa/bbb"),
        (&[(PREFIX, "/aaa/bbb")], "/aaa/bbb/ccc", "Prefix /aaa/bbb"),
        (&[(PREFIX, "/aaa/bbb")], "/aaa/bbbxyz", "nothing"),
        (&[(PREFIX, "/"), (PREFIX, "/aaa")], "/aaa/ccc", "Prefix /aaa"),
        (&[(PREFIX, "/"), (PREFIX, "/aaa"), (PREFIX, "/aaa/bbb")], "/aaa/bbb", "Prefix /aaa/bbb"),
        (&[(PREFIX, "/"), (PREFIX, "/aaa"), (PREFIX, "/aaa/bbb")], "/ccc", "Prefix /"),
        (&[(PREFIX, "/aaa")], "/ccc", "nothing"),
        (MIXED, "/foo", "Exact /foo"),
    ] {
        let routes = paths_of_rule.iter().map(|(kind, path)| route(*kind, path)).collect();
        assert_eq!(found(&paths(routes), request), expected, "{paths_of_rule:?} {request}");
    }
}

#[test]
fn a_slash_is_added_even_though_a_shorter_prefix_matches() {
    let host = paths(vec![route(PREFIX, "/"), route(PREFIX, "/foo/")]);
    assert_eq!(found(&host, "/foo"), "slash Prefix /foo/");
    assert_eq!(found(&host, "/foo/x"), "Prefix /foo/");
    assert_eq!(found(&host, "/foobar"), "Prefix /");
}

#[test]
fn no_slash_is_added_where_the_path_without_it_is_served() {
    for without in [route(EXACT, "/foo"), route(PREFIX, "/foo")] {
        let name = without.ingress.name.to_string();
        let host = paths(vec![without, route(PREFIX, "/foo/")]);
        assert_eq!(found(&host, "/foo"), name);
        assert_eq!(found(&host, "/foo/"), "Prefix /foo/");
    }
}

#[test]
fn case_matters() {
    let host = paths(vec![route(PREFIX, "/foo"), route(EXACT, "/Bar")]);
    assert_eq!(found(&host, "/Foo"), "nothing");
    assert_eq!(found(&host, "/bar"), "nothing");
    assert_eq!(found(&host, "/Bar"), "Exact /Bar");
}

#[test]
fn of_two_equal_paths_the_first_is_served() {
    let mut older = route(PREFIX, "/foo");
    older.ingress.name = "older".into();
    assert_eq!(found(&paths(vec![older, route(PREFIX, "/foo")]), "/foo"), "older");
}

#[test]
fn characters_of_regular_expressions_are_plain_ones() {
    let host = paths(vec![route(PREFIX, "/a.c"), route(EXACT, "/x(.*)")]);
    assert_eq!(found(&host, "/abc"), "nothing");
    assert_eq!(found(&host, "/a.c"), "Prefix /a.c");
    assert_eq!(found(&host, "/x(.*)"), "Exact /x(.*)");
}

#[test]
fn app_root_takes_the_root_alone() {
    use std::sync::Arc;

    use super::{host, table};
    use crate::model::HostName;

    let mut root = host(HostName::CatchAll, vec![route(PREFIX, "/")]);
    let mut redirect = route(EXACT, "/");
    redirect.ingress.name = "app-root".into();
    root.app_root = Some(Arc::new(redirect));
    let table = table(vec![root]);
    assert_eq!(found(table.host("a"), "/"), "app-root");
    assert_eq!(found(table.host("a"), "/x"), "Prefix /");
}
