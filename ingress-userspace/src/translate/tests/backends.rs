use super::{Translation, get, ingress, says, says_nothing, translate};

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

#[test]
fn external_names_are_not_supported_yet() {
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: out}\nspec: {type: ExternalName, externalName: example.org}\n";
    let translation = translate(&(ingress("x", &[], "", &["a.com / Prefix out"]) + service));
    assert_eq!(get(&translation, "a.com/"), "no endpoints of out");
    says(
        &translation,
        "Service default/out is of type ExternalName, which is not supported yet; the answer is 503",
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
