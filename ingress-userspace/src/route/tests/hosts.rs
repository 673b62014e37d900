use std::sync::Arc;

use super::{PREFIX, host, regex, route, table};
use crate::{
    model::{Host, HostName, Model},
    route::RouteTable,
};

fn hosts() -> RouteTable {
    let exact = |name: &str| host(HostName::Exact(name.into()), vec![route(PREFIX, "/")]);
    let wildcard = |name: &str| host(HostName::Wildcard(name.into()), vec![route(PREFIX, "/")]);
    table(vec![
        exact("foo.bar.com"),
        exact("bar.foo.com.example"),
        wildcard("foo.com"),
        wildcard("bar.foo.com"),
        exact("own.foo.com"),
        host(HostName::CatchAll, vec![route(PREFIX, "/")]),
    ])
}

/// The examples of the Ingress specification ("Hostname wildcards") first.
#[test]
fn hosts_are_exact_then_one_label_then_any() {
    let table = hosts();
    for (header, expected) in [
        ("bar.foo.com", "*.foo.com"),
        ("baz.bar.foo.com", "*.bar.foo.com"),
        ("foo.com", "any"),
        ("a.b.bar.foo.com", "any"),
        ("own.foo.com", "own.foo.com"),
        ("foo.bar.com", "foo.bar.com"),
        ("FOO.Bar.COM", "foo.bar.com"),
        ("foo.bar.com:8080", "foo.bar.com"),
        ("foo.bar.com.", "foo.bar.com"),
        ("Foo.bar.com.:443", "foo.bar.com"),
        ("X_y-1.FOO.com:1", "*.foo.com"),
        ("b!d.foo.com", "any"),
        (".foo.com", "any"),
        ("é.foo.com", "any"),
        ("192.0.2.1:80", "any"),
        ("[2001:db8::1]:80", "any"),
        ("[2001:DB8::1]", "any"),
        ("", "any"),
        (":", "any"),
        (".", "any"),
    ] {
        let name = match table.host(header).name() {
            HostName::Exact(name) => name.to_string(),
            HostName::Wildcard(name) => format!("*.{name}"),
            HostName::CatchAll => "any".to_owned(),
        };
        assert_eq!(name, expected, "{header}");
    }
    let long = format!("{}.FOO.com", "a".repeat(300));
    assert_eq!(table.host(&long).name(), &HostName::CatchAll);
}

#[test]
fn an_unknown_path_of_a_known_host_is_not_looked_for_elsewhere() {
    let table = table(vec![
        host(HostName::Exact("a.foo.com".into()), vec![route(PREFIX, "/a")]),
        host(HostName::Wildcard("foo.com".into()), vec![route(PREFIX, "/")]),
        host(HostName::CatchAll, vec![route(PREFIX, "/")]),
    ]);
    assert_eq!(super::found(table.host("a.foo.com"), "/b"), "nothing");
    assert_eq!(super::found(table.host("b.foo.com"), "/b"), "Prefix /");
}

#[test]
fn hosts_that_did_not_change_are_not_compiled_again() {
    let same = Arc::new(host(HostName::Exact("same".into()), vec![regex("/same(.*)")]));
    let before = Arc::new(host(HostName::Exact("other".into()), vec![regex("/before")]));
    let after = Arc::new(host(HostName::Exact("other".into()), vec![regex("/after")]));
    let model = |hosts: [Arc<Host>; 2]| Model { hosts: Arc::new(hosts), ..Model::default() };
    let (first, _) = RouteTable::new(&model([Arc::clone(&same), before]));
    let (second, _) = first.next(&model([same, after]));
    assert!(std::ptr::eq(first.host("same"), second.host("same")));
    assert_eq!(super::found(second.host("other"), "/after"), "Prefix /after");
    assert_eq!(super::found(second.host("other"), "/before"), "nothing");
}

#[test]
fn a_host_that_is_gone_is_not_found_any_more() {
    let (empty, _) = hosts().next(&Model::default());
    assert_eq!(empty.host("foo.bar.com").name(), &HostName::CatchAll);
    assert_eq!(super::found(empty.host("foo.bar.com"), "/"), "nothing");
}
