use super::{Translation, get, ingress, says, says_nothing, translate_with};
use crate::{
    model::{ProxyVersion, Settings},
    translate::Options,
};

fn with(data: &[(&str, &str)]) -> Translation {
    let mut map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: ports}\ndata:\n  \
        '9': default/web:admin\n"
        .to_owned();
    for (key, value) in data {
        map.push_str(&format!("  {key:?}: {value:?}\n"));
    }
    let ports = Some(("default".to_owned(), "ports".to_owned()));
    translate_with(Options { tcp_services: ports, ..Options::default() }, &map)
}

#[test]
fn entries_of_tcp_services_are_understood() {
    use ProxyVersion::{V1, V2};

    for (value, accept, send) in [
        ("default/web:80", false, None),
        ("default/web:http", false, None),
        ("default/web:80:PROXY", true, None),
        ("default/web:80:PROXY:PROXY", true, Some(V1)),
        ("default/web:80::PROXY", false, Some(V1)),
        ("default/web:80:PROXY:PROXY-V2", true, Some(V2)),
        (" default/web:80 ", false, None),
    ] {
        let translation = with(&[("5432", value)]);
        says_nothing(&translation);
        let streams = &translation.model.streams;
        let service = streams.tcp(5432).expect("it is served");
        assert_eq!((service.accept_proxy, service.send_proxy), (accept, send), "{value}");
        assert_eq!(service.endpoints, [([10, 0, 0, 1], 8080).into()], "{value}");
        assert!(streams.tcp(9).is_some() && streams.tcp(80).is_none());
    }
}

#[test]
fn bad_entries_are_told_and_take_no_other_down() {
    for (key, value, why) in [
        ("x", "default/web:80", "is no port"),
        ("0", "default/web:80", "is no port"),
        ("65536", "default/web:80", "is no port"),
        ("080", "default/web:80", "is no port"),
        ("80", "web:80", "is not `namespace/service:port`"),
        ("80", "default/web", "is not `namespace/service:port`"),
        ("80", "default/web:", "is not `namespace/service:port`"),
        ("80", "a/b/c:80", "is not `namespace/service:port`"),
        ("80", "default/web:0", "is not between 1 and 65535"),
        ("80", "default/web:80:proxy", "`proxy` is not `PROXY`"),
        ("80", "default/web:80:PROXY-V2", "`PROXY-V2` is not `PROXY`"),
        ("80", "default/web:80:PROXY:PROXY:PROXY", "has more than"),
        ("80", "default/none:80", "does not exist"),
        ("80", "default/web:7", "has no port 7"),
    ] {
        let translation = with(&[(key, value)]);
        says(&translation, &format!("error ConfigMap default/ports: data.{key}: "));
        says(&translation, why);
        assert_eq!(translation.model.streams.tcp.len(), 1, "{key}: {value}");
    }
}

#[test]
fn a_host_is_passed_through_to_the_service_of_its_root() {
    let on = [("ssl-passthrough", "true"), ("ssl-passthrough-proxy-protocol", "v2")];
    let all = ingress("a", &[], "", &["a.com / Prefix web", "*.a.com / Prefix web"])
        + &ingress(
            "b",
            &on,
            "",
            &["a.com /b Prefix api", "*.a.com /b Prefix api", "b.com /b Prefix api"],
        )
        + &ingress("c", &[("ssl-passthrough", "yes")], "", &["c.com / Prefix web"]);
    let options = Options { ssl_passthrough: true, ..Options::default() };
    let translation = translate_with(options, &all);
    let model = &translation.model;
    let (name, passed) = model.streams.passthrough.iter().next().expect("one is");
    assert_eq!((model.streams.passthrough.len(), &**name), (1, "a.com"));
    assert_eq!(&*model.backends[passed.backend.0 as usize].key.service, "web");
    assert_eq!(passed.send_proxy, Some(ProxyVersion::V2));
    says(&translation, "needs a host without wildcard");
    says(&translation, "needs a Service for the host's path `/`");
    says(&translation, "ssl-passthrough]: is not `true` or `false`");
    let translation = translate_with(Options::default(), &all);
    assert!(translation.model.streams.passthrough.is_empty());
    says(&translation, "needs --enable-ssl-passthrough; TLS of this host is ended here");
    assert_eq!(get(&translation, "a.com/b"), "api");
}

#[test]
fn the_defaults_are_those_of_ingress_nginx() {
    let settings = Settings::default();
    assert!(!settings.proxy_protocol && settings.stream.next_upstream);
    assert_eq!(settings.max_connections, 16_384);
    assert_eq!((settings.stream.timeout.as_secs(), settings.stream.responses), (600, 1));
}

#[test]
fn a_service_may_be_a_name_outside_the_cluster() {
    let text = "---\napiVersion: v1\nkind: Service\nmetadata: {name: out}\n\
        spec: {type: ExternalName, externalName: db.example.com}\n\
        ---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: ports}\n\
        data: {'5432': 'default/out:5433'}\n";
    let tcp_services = Some(("default".to_owned(), "ports".to_owned()));
    let translation = translate_with(Options { tcp_services, ..Options::default() }, text);
    assert!(translation.model.streams.tcp.is_empty());
    says(&translation, "is not resolved yet; the port is closed");
    assert!(translation.names.contains("db.example.com"), "it is to be resolved");
}
