//! The addresses that Ingresses are reached at, from what the cluster says (reference section 9.2,
//! "Status").

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::{
    core::v1::{Node, Pod, Service},
    networking::v1::IngressLoadBalancerIngress as Point,
};

/// An address if it is one, else a name.
#[must_use]
pub fn address_or_name(text: &str) -> Point {
    match text.parse::<IpAddr>() {
        Ok(_) => Point { ip: Some(text.to_owned()), ..Point::default() },
        Err(_name) => Point { hostname: Some(text.to_owned()), ..Point::default() },
    }
}

/// Where this Service is reached.
pub(super) fn of_service(service: &Service) -> Vec<Point> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let external = || spec.external_ips.iter().flatten().map(|text| address_or_name(text));
    // `None` is what a headless Service says, and no address.
    let cluster = spec.cluster_ip.iter().filter(|text| *text != "None" && !text.is_empty());
    let cluster = cluster.map(|text| address_or_name(text));
    match spec.type_.as_deref() {
        Some("ExternalName") => {
            spec.external_name.iter().map(|text| address_or_name(text)).collect()
        }
        Some("NodePort") => match spec.external_ips.as_ref().is_some_and(|own| !own.is_empty()) {
            true => external().collect(),
            false => cluster.collect(),
        },
        Some("LoadBalancer") => {
            let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            let points = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
            let points = points.map(|own| Point {
                ip: own.ip.clone().filter(|text| !text.is_empty()),
                hostname: own.hostname.clone().filter(|text| !text.is_empty()),
                ports: None,
            });
            points.chain(external()).collect()
        }
        _ => cluster.collect(),
    }
}

/// The nodes that ready pods run on.
pub(super) fn nodes_of(pods: &[Pod]) -> BTreeSet<&str> {
    let ready = pods.iter().filter(|pod| is_ready(pod));
    ready
        .filter_map(|pod| pod.spec.as_ref()?.node_name.as_deref())
        .filter(|name| !name.is_empty())
        .collect()
}

fn is_ready(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    status.phase.as_deref() == Some("Running")
        && status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Others of the controller's pods that will go on when this one has stopped.
pub(super) fn others<'p>(pods: &'p [Pod], own: &'p str) -> impl Iterator<Item = &'p Pod> {
    pods.iter().filter(move |pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        pod.metadata.name.as_deref() != Some(own)
            && pod.metadata.deletion_timestamp.is_none()
            && !matches!(phase, Some("Succeeded" | "Failed"))
    })
}

/// The node's first external address, else its first internal one; `internal` first if asked for.
pub(super) fn of_node(node: &Node, internal: bool) -> Option<Point> {
    let addresses = node.status.as_ref()?.addresses.as_deref().unwrap_or_default();
    let of = |kind: &str| addresses.iter().find(|one| one.type_ == kind && !one.address.is_empty());
    let found = match internal {
        true => of("InternalIP"),
        false => of("ExternalIP").or_else(|| of("InternalIP")),
    };
    found.map(|one| address_or_name(&one.address))
}

/// In the order in which they are written, each once.
pub(super) fn sorted(mut points: Vec<Point>) -> Vec<Point> {
    points.retain(|point| point.ip.is_some() || point.hostname.is_some());
    points.sort_by(|one, two| (&one.hostname, &one.ip).cmp(&(&two.hostname, &two.ip)));
    points.dedup_by(|later, first| (&later.hostname, &later.ip) == (&first.hostname, &first.ip));
    points
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(value: Value) -> Vec<String> {
        let service = serde_json::from_value(value).expect("a Service");
        shown(of_service(&service))
    }

    fn shown(points: Vec<Point>) -> Vec<String> {
        let text = |point: Point| point.ip.or(point.hostname);
        sorted(points).into_iter().filter_map(text).collect()
    }

    #[test]
    fn a_service_is_published_as_ingress_nginx_does() {
        let of = |spec: Value| service(json!({"metadata": {"name": "s"}, "spec": spec}));
        assert_eq!(of(json!({"clusterIP": "10.0.0.1"})), ["10.0.0.1"]);
        assert_eq!(of(json!({"clusterIP": "None"})), [""; 0]);
        assert_eq!(of(json!({"type": "ExternalName", "externalName": "lb.test"})), ["lb.test"]);
        let node_port = json!({"type": "NodePort", "clusterIP": "10.0.0.1"});
        assert_eq!(of(node_port), ["10.0.0.1"]);
        let external =
            json!({"type": "NodePort", "clusterIP": "10.0.0.1", "externalIPs": ["192.0.2.9"]});
        assert_eq!(of(external), ["192.0.2.9"]);
        let balanced = service(json!({
            "metadata": {"name": "s"},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1",
                     "externalIPs": ["192.0.2.9", "192.0.2.1"]},
            "status": {"loadBalancer": {"ingress": [
                {"ip": "192.0.2.1", "ipMode": "VIP"}, {"hostname": "lb.test"}, {"ip": "2001:db8::1"}]}}
        }));
        assert_eq!(balanced, ["192.0.2.1", "192.0.2.9", "2001:db8::1", "lb.test"]);
        assert_eq!(of(json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"})), [""; 0]);
    }

    #[test]
    fn only_nodes_with_ready_pods_count() {
        let pod = |name: &str, node: &str, phase: &str, ready: &str| {
            json!({"metadata": {"name": name}, "spec": {"nodeName": node, "containers": []},
                   "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}})
        };
        let pods: Vec<Pod> = serde_json::from_value(json!([
            pod("a", "n2", "Running", "True"),
            pod("b", "n1", "Running", "True"),
            pod("c", "n1", "Running", "True"),
            pod("d", "n3", "Running", "False"),
            pod("e", "n4", "Succeeded", "True"),
            pod("f", "", "Pending", "False"),
        ]))
        .expect("pods");
        assert_eq!(nodes_of(&pods).into_iter().collect::<Vec<_>>(), ["n1", "n2"]);
        let mut names: Vec<_> =
            others(&pods, "a").filter_map(|pod| pod.metadata.name.as_deref()).collect();
        assert_eq!(names, ["b", "c", "d", "f"]);
        names.clear();
        let mut stopping = pods;
        stopping[1].metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
            ));
        assert_eq!(others(&stopping, "a").count(), 3);
    }

    #[test]
    fn a_node_has_an_external_address_or_an_internal_one() {
        let node = |addresses: Value| -> Node {
            serde_json::from_value(json!({"metadata": {"name": "n"},
                "status": {"addresses": addresses}}))
            .expect("a Node")
        };
        let both = node(json!([{"type": "Hostname", "address": "n"},
            {"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "InternalIP", "address": "fd00::1"},
            {"type": "ExternalIP", "address": "192.0.2.1"}]));
        let ip = |node: &Node, internal| of_node(node, internal).and_then(|point| point.ip);
        assert_eq!(ip(&both, false).as_deref(), Some("192.0.2.1"));
        assert_eq!(ip(&both, true).as_deref(), Some("10.0.0.1"));
        let inside = node(json!([{"type": "InternalIP", "address": "10.0.0.1"}]));
        assert_eq!(ip(&inside, false).as_deref(), Some("10.0.0.1"));
        assert_eq!(of_node(&node(json!([])), false), None);
    }
}
