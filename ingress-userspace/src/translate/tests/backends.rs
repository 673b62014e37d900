use std::sync::Arc;

use super::{BASE, Options, Translation, Translator, get, ingress, says, says_nothing, translate};
use crate::{
    names::{Known, Names},
    source::parse::tests::stores,
};

/// The endpoints of the one backend, with their pods.
fn endpoints(translation: &Translation) -> String {
    let endpoints = translation.model.backends.iter().flat_map(|backend| &backend.endpoints);
    let text = endpoints.map(|endpoint| match &endpoint.pod {
        Some(pod) => format!("{} ({pod})", endpoint.address),
        None => endpoint.address.to_string(),
    });
    text.collect::<Vec<_>>().join(", ")
}

/// An Ingress to this port of the Service `web`.
fn to_port(port: &str) -> String {
    ingress("x", &[], "", &["a.com / Prefix web"]).replace("{number: 80}", port)
}

#[test]
fn a_port_is_meant_by_number_name_or_target() {
    for (port, expected) in [
        ("{number: 80}", "10.0.0.1:8080 (web-pod)"),
        ("{name: http}", "10.0.0.1:8080 (web-pod)"),
        ("{number: 8080}", "10.0.0.1:8080 (web-pod)"),
        ("{number: 81}", "10.0.0.1:9000 (web-pod)"),
        ("{name: admin}", "10.0.0.1:9000 (web-pod)"),
        ("{name: adm}", "10.0.0.1:9000 (web-pod)"),
    ] {
        let translation = translate(&to_port(port));
        assert_eq!(endpoints(&translation), expected, "{port}");
        says_nothing(&translation);
    }
}

#[test]
fn a_port_that_the_service_has_not_is_503() {
    let translation = translate(&to_port("{number: 82}"));
    assert_eq!(get(&translation, "a.com/"), "no endpoints of web");
    says(
        &translation,
        "error Ingress default/x: spec.rules[0].http.paths[0].backend.service: \
        Service default/web has no port 82 (it has 80, 81); the answer is 503",
    );
}

#[test]
fn a_missing_service_is_503_and_leaves_others_alone() {
    let translation =
        translate(&ingress("x", &[], "", &["a.com / Prefix nowhere", "a.com /web Prefix web"]));
    assert_eq!(get(&translation, "a.com/"), "no endpoints of nowhere");
    assert_eq!(get(&translation, "a.com/web"), "web");
    says(&translation, "Service default/nowhere does not exist; the answer is 503");
}

#[test]
fn what_is_wrong_with_a_service_is_told_to_every_ingress_once() {
    let both = ingress("x", &[], "", &["a.com / Prefix nowhere", "a.com /2 Prefix nowhere"])
        + &ingress("y", &[], "", &["b.com / Prefix nowhere"]);
    let translation = translate(&both);
    says(&translation, "Ingress default/x: spec.rules[0].http");
    says(&translation, "Ingress default/y: spec.rules[0].http");
    assert_eq!(translation.diagnostics.len(), 2);
}

#[test]
fn endpoints_of_all_slices_and_families_count() {
    let slices = "---
apiVersion: v1
kind: Service
metadata: {name: many}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: many-1, labels: {kubernetes.io/service-name: many}}
addressType: IPv4
ports: [{name: metrics, port: 9}, {name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.9]}, {addresses: [10.0.0.2]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
# Not named like the Service, which ingress-nginx would mind.
metadata: {name: zz, labels: {kubernetes.io/service-name: many}}
addressType: IPv6
ports: [{name: http, port: 8081}]
endpoints: [{addresses: ['2001:db8::1', '2001:db8::2']}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: many-3, labels: {kubernetes.io/service-name: many}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.2]}, {addresses: [not-an-address]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: many-other-port, labels: {kubernetes.io/service-name: many}}
addressType: IPv4
ports: [{name: metrics, port: 9}]
endpoints: [{addresses: [10.0.0.77]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: many-udp, labels: {kubernetes.io/service-name: many}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: UDP}]
endpoints: [{addresses: [10.0.0.78]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: many-elsewhere, namespace: elsewhere, labels: {kubernetes.io/service-name: many}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.79]}]
";
    let translation = translate(&(ingress("x", &[], "", &["a.com / Prefix many"]) + slices));
    assert_eq!(endpoints(&translation), "10.0.0.2:8080, 10.0.0.9:8080, [2001:db8::1]:8081");
}

#[test]
fn only_ready_endpoints_take_requests() {
    for (conditions, ready) in [
        ("{}", true),
        ("{ready: true}", true),
        ("{ready: false}", false),
        ("{ready: false, serving: true, terminating: true}", false),
        ("{serving: false}", true),
        ("{terminating: true}", false),
        ("{terminating: false}", true),
        // The Service publishes addresses that are not ready.
        ("{ready: true, serving: false, terminating: true}", true),
    ] {
        let slice = format!(
            "---
apiVersion: v1
kind: Service
metadata: {{name: one}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: one-1, labels: {{kubernetes.io/service-name: one}}}}
addressType: IPv4
ports: [{{port: 8080}}]
endpoints: [{{addresses: [10.0.0.1], conditions: {conditions}}}]
"
        );
        let translation = translate(&(ingress("x", &[], "", &["a.com / Prefix one"]) + &slice));
        assert_eq!(endpoints(&translation) == "10.0.0.1:8080", ready, "{conditions}");
        assert_eq!(translation.diagnostics.is_empty(), ready, "{conditions}");
    }
}

/// A Service of type ExternalName and an Ingress to its port 80.
fn outside(name: &str, ports: &str) -> String {
    let service = format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: out}}\n\
         spec: {{type: ExternalName, externalName: {name:?}{ports}}}\n"
    );
    ingress("x", &[], "", &["a.com / Prefix out"]) + &service
}

fn names(known: Known) -> Arc<Names> {
    Arc::new([(Arc::from("example.org"), known)].into_iter().collect())
}

fn addresses(addresses: &[&str], late: Option<&str>) -> Known {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Known::Addresses { addresses, late: late.map(str::to_owned) }
}

#[test]
fn external_names_are_what_they_resolve_to() {
    let stores = stores(&format!("{BASE}{}", outside("Example.org", ""))).0;
    let mut translator = Translator::new(Options::default());
    let before = translator.translate(&stores, &Arc::default());
    says(&before, "`example.org` of Service default/out is not resolved yet; the answer is 503");
    assert_eq!(before.names.iter().map(|name| &**name).collect::<Vec<_>>(), ["example.org"]);
    let known = addresses(&["192.0.2.1", "192.0.2.2"], None);
    let after = translator.translate(&stores, &names(known.clone()));
    assert_eq!(endpoints(&after), "192.0.2.1:80, 192.0.2.2:80");
    says_nothing(&after);
    assert!(Arc::ptr_eq(&before.model.hosts, &after.model.hosts), "the routes are the same");
    let late = translator
        .translate(&stores, &names(addresses(&["192.0.2.1", "192.0.2.2"], Some("silence"))));
    says(&late, "warning Ingress default/x");
    says(&late, "silence; its last addresses stay");
    assert!(Arc::ptr_eq(&late.model.backends[0], &after.model.backends[0]));
    let gone = translator.translate(&stores, &names(Known::Nothing("no address".to_owned())));
    assert_eq!(get(&gone, "a.com/"), "no endpoints of out");
    says(&gone, "`example.org` of Service default/out: no address; the answer is 503");
}

#[test]
fn the_port_of_an_external_name_is_its_target_port_or_the_number_itself() {
    for (ports, expected) in [
        ("", "192.0.2.1:80"),
        (", ports: [{port: 81, targetPort: 8081}]", "192.0.2.1:80"),
        (", ports: [{port: 80, targetPort: 8080}]", "192.0.2.1:8080"),
        (", ports: [{port: 80, targetPort: http}]", "192.0.2.1:80"),
    ] {
        assert_eq!(endpoints(&translate(&outside("192.0.2.1", ports))), expected, "{ports}");
    }
}

#[test]
fn external_names_of_this_node_are_refused() {
    for name in [
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.9",
        "0.0.0.0",
    ] {
        let translation = translate(&outside(name, ""));
        assert_eq!(endpoints(&translation), "", "{name}");
        says(&translation, "is this node itself, which is refused; the answer is 503");
    }
    says(&translate(&outside("not a name", "")), "is no DNS name; the answer is 503");
    let options = Options { disable_svc_external_name: true, ..Options::default() };
    let translation = super::translate_with(options, &outside("192.0.2.1", ""));
    says(&translation, "--disable-svc-external-name forbids; the answer is 503");
    assert_eq!(endpoints(&translation), "");
}

#[test]
fn service_upstream_is_the_services_own_address() {
    let service = |ip: &str| {
        ingress("x", &[("service-upstream", "true")], "", &["a.com / Prefix own"])
            + &format!(
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: own}}\nspec: {{clusterIP: {ip:?}, \
                 ports: [{{port: 80, targetPort: 8080}}]}}\n---\n\
                 apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
                 metadata: {{name: own-1, labels: {{kubernetes.io/service-name: own}}}}\n\
                 addressType: IPv4\nports: [{{port: 8080}}]\nendpoints: [{{addresses: [10.0.9.1]}}]\n"
            )
    };
    let translation = translate(&service("10.96.0.7"));
    assert_eq!(endpoints(&translation), "10.96.0.7:80");
    says_nothing(&translation);
    let headless = translate(&service("None"));
    assert_eq!(endpoints(&headless), "10.0.9.1:8080");
    says(&headless, "warning Ingress default/x");
    says(
        &headless,
        "Service default/own has no cluster IP for service-upstream; its endpoints serve",
    );
}

#[test]
fn members_are_the_nodes_with_an_internal_address() {
    let node = |name: &str, rest: &str| {
        format!("---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}{}\n", rest)
    };
    let nodes = node(
        "n3",
        "}\nstatus: {addresses: [{type: InternalIP, address: 10.0.0.3}], conditions: [{type: Ready, status: 'False'}]}",
    ) + &node(
        "n1",
        "}\nstatus: {addresses: [{type: Hostname, address: x}, {type: InternalIP, address: 10.0.0.1}], conditions: [{type: Ready, status: 'True'}]}",
    ) + &node(
        "n2",
        "}\nstatus: {addresses: [{type: InternalIP, address: '2001:db8::2'}], conditions: [{type: Ready, status: Unknown}]}",
    ) + &node(
        "n4",
        ", deletionTimestamp: '2026-01-01T00:00:00Z'}\nstatus: {addresses: [{type: InternalIP, address: 10.0.0.4}]}",
    ) + &node("n5", "}\nstatus: {addresses: [{type: InternalIP, address: 10.0.0.5}]}")
        + &node("n6", "}")
        + &node("n7", "}\nstatus: {addresses: [{type: InternalIP, address: nonsense}]}");
    let translation = translate(&nodes);
    let members = translation.model.members.iter();
    let members: Vec<_> =
        members.map(|one| format!("{} {} {}", one.name, one.address, one.ready)).collect();
    assert_eq!(
        members,
        [
            "n1 10.0.0.1 true",
            "n2 2001:db8::2 false",
            "n3 10.0.0.3 false",
            "n4 10.0.0.4 false",
            "n5 10.0.0.5 true"
        ]
    );
    says(&translation, "error Node n6: status.addresses: has no InternalIP");
    says(&translation, "error Node n7: status.addresses: InternalIP `nonsense` is no IP address");
}
