//! Route finding against the plainest reading of the rules.

use std::sync::Arc;

use proptest::prelude::*;

use super::{found, host, paths, regex, route, table};
use crate::model::{HostName, PathKind, Route};

/// Reference section 3.2, one sentence after the other.
fn ordinary(routes: &[Route], path: &str) -> String {
    let name = |route: &Route| route.ingress.name.to_string();
    if let Some(exact) = routes.iter().find(|r| r.kind == PathKind::Exact && *r.path == *path) {
        return name(exact);
    }
    let prefixes = || routes.iter().filter(|route| route.kind == PathKind::Prefix);
    if let Some(bare) = prefixes().find(|route| *route.path == *path) {
        return name(bare);
    }
    if let Some(route) = prefixes().find(|route| *route.path == *format!("{path}/")) {
        return format!("slash {}", name(route));
    }
    let matching = prefixes().filter(|route| {
        let prefix = route.path.strip_suffix('/').unwrap_or(&route.path);
        path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
    });
    // `max_by_key` takes the last of equals, the first is asked for.
    let longest = matching.collect::<Vec<_>>().into_iter().rev().max_by_key(|r| r.path.len());
    longest.map_or("nothing".to_owned(), name)
}

/// Reference section 3.3 for paths of which each is a pattern: the order that they are tried in.
fn in_regex_order(routes: &[Route]) -> Vec<(::regex::Regex, String)> {
    let mut routes: Vec<_> = routes.iter().collect();
    routes.sort_by_key(|route| std::cmp::Reverse((route.path.len(), route.path.clone())));
    let pattern = |route: &Route| ::regex::Regex::new(&format!("(?i)^{}", route.path)).unwrap();
    routes.into_iter().map(|route| (pattern(route), route.ingress.name.to_string())).collect()
}

fn any_route() -> impl Strategy<Value = Route> {
    let kind = prop_oneof![Just(PathKind::Exact), Just(PathKind::Prefix)];
    (kind, "(/[ab]{1,2}){0,4}/?").prop_map(|(kind, path)| match &*path {
        "" => route(kind, "/"),
        path => route(kind, path),
    })
}

fn numbered(routes: Vec<Route>) -> Vec<Route> {
    let number = |(number, mut route): (usize, Route)| {
        route.ingress.name = format!("{number} {}", route.ingress.name).into();
        route
    };
    routes.into_iter().enumerate().map(number).collect()
}

proptest! {
    #[test]
    fn ordinary_routes_are_those_of_the_rules(
        routes in proptest::collection::vec(any_route(), 0..12),
        requests in proptest::collection::vec("(/[ab]{1,2}){0,5}/?", 1..20),
    ) {
        let routes = numbered(routes);
        let host = paths(routes.clone());
        for request in requests {
            let request = if request.is_empty() { "/" } else { &request };
            prop_assert_eq!(found(&host, request), ordinary(&routes, request), "{}", request);
        }
    }

    #[test]
    fn routes_in_regex_mode_are_those_of_the_rules(
        texts in proptest::collection::vec("/[ab]{0,2}([.]|a[?*+]|[(]a[|]B[)]|[|]b)?[aB/]{0,3}", 1..12),
        requests in proptest::collection::vec("/[abAB/]{0,6}", 1..20),
    ) {
        let routes = numbered(texts.iter().map(|text| regex(text)).collect());
        let patterns = in_regex_order(&routes);
        let host = paths(routes.clone());
        for request in requests {
            let first = patterns.iter().find(|(pattern, _)| pattern.is_match(&request));
            let expected = first.map_or("nothing", |(_, name)| name);
            prop_assert_eq!(found(&host, &request), expected, "{}", request);
        }
    }

    #[test]
    fn the_order_of_different_routes_does_not_matter(
        routes in proptest::collection::vec(any_route(), 0..12).prop_shuffle(),
        request in "(/[ab]{1,2}){0,5}/?",
    ) {
        let mut sorted = routes.clone();
        sorted.sort_by(|one, two| (&one.path, one.kind).cmp(&(&two.path, two.kind)));
        let request = if request.is_empty() { "/" } else { &request };
        prop_assert_eq!(found(&paths(routes), request), found(&paths(sorted), request));
    }

    #[test]
    fn no_header_and_no_path_is_too_odd_to_be_answered(header in any::<String>(), path in any::<String>()) {
        let host_of = |name| host(name, vec![route(PathKind::Prefix, "/a")]);
        let table = table(vec![host_of(HostName::Wildcard(Arc::from("com"))), host_of(HostName::CatchAll)]);
        drop(found(table.host(&header), &path));
        drop(crate::route::normalize(&path));
    }
}
