use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::{core::v1::Node, discovery::v1::EndpointSlice};

use super::report::Report;
use crate::{
    model::{Diagnostic, Member, ObjectRef},
    stores::{Store, Stores},
};

/// A Node's share of new connections.
const WEIGHT: &str = "penstock.dev/weight";
/// What an EndpointSlice says its Service is.
const SERVICE: &str = "kubernetes.io/service-name";

/// The nodes that connections can be steered to, sorted by name: those whose agents are endpoints of
/// the Service, or without one all nodes.
pub(super) fn members(
    stores: &Stores,
    service: Option<&(String, String)>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Member> {
    match service {
        Some((namespace, name)) => of_service(stores, namespace, name, diagnostics),
        None => of_nodes(&stores.nodes, diagnostics),
    }
}

fn of_nodes(nodes: &Store<Node>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Member> {
    let member = |(key, node): (&crate::stores::Key, &Arc<Node>)| {
        let mut report = Report::on(ObjectRef::new("Node", "", key.name.clone()), diagnostics);
        let status = node.status.clone().unwrap_or_default();
        let addresses = status.addresses.unwrap_or_default();
        let Some(internal) = addresses.iter().find(|address| address.type_ == "InternalIP") else {
            report
                .error("status.addresses", "has no InternalIP; connections are not steered to it");
            return None;
        };
        let Ok(address) = internal.address.parse() else {
            let message = format!(
                "InternalIP `{}` is no IP address; connections are not steered to it",
                internal.address
            );
            report.error("status.addresses", message);
            return None;
        };
        let conditions = status.conditions.unwrap_or_default();
        let unready = conditions.iter().any(|one| one.type_ == "Ready" && one.status != "True");
        let ready = !unready && node.metadata.deletion_timestamp.is_none();
        let weight = weight(node, &mut report);
        Some(Member { name: key.name.clone(), address, ready, weight })
    };
    nodes.iter().filter_map(member).collect()
}

/// The endpoints of the agents' own Service. One that is not
/// ready, or is told to end, takes no new connections; one that is not there any more has none.
fn of_service(
    stores: &Stores,
    namespace: &str,
    name: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Member> {
    let mut members = BTreeMap::<Arc<str>, Member>::new();
    let slices = stores.endpoint_slices.iter().filter(|(key, slice)| {
        let labels = slice.metadata.labels.as_ref();
        *key.namespace == *namespace
            && labels.and_then(|labels| labels.get(SERVICE)).is_some_and(|of| of == name)
    });
    for (key, slice) in slices {
        let object = ObjectRef::new("EndpointSlice", key.namespace.clone(), key.name.clone());
        of_slice(stores, slice, &mut Report::on(object, diagnostics), &mut members);
    }
    if members.is_empty() {
        let object = ObjectRef::new("Service", namespace, name);
        let message = "has no endpoints; the nodes that were known last stay, and an agent that knows \
                       of none steers to itself alone";
        Report::on(object, diagnostics).error("--members-service", message);
    }
    members.into_values().collect()
}

fn of_slice(
    stores: &Stores,
    slice: &EndpointSlice,
    report: &mut Report<'_>,
    members: &mut BTreeMap<Arc<str>, Member>,
) {
    for (index, endpoint) in slice.endpoints.iter().flatten().enumerate() {
        let field = format!("endpoints[{index}]");
        let Some(node) = endpoint.node_name.as_deref().filter(|name| !name.is_empty()) else {
            report.error(
                format!("{field}.nodeName"),
                "is missing; connections are not steered to this endpoint",
            );
            continue;
        };
        let address = endpoint.addresses.first().and_then(|text| text.parse::<IpAddr>().ok());
        let Some(address) = address else {
            report.error(
                format!("{field}.addresses"),
                "has no IP address; connections are not steered to this endpoint",
            );
            continue;
        };
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        // Unknown is ready, as the API has it.
        let ready = conditions.ready.unwrap_or(true) && !conditions.terminating.unwrap_or(false);
        let weight = match stores.nodes.get("", node) {
            Some(node) => weight(node, report),
            None => Member::WEIGHT,
        };
        let found = Member { name: node.into(), address, ready, weight };
        // A pod that ends beside the one that replaces it on the same node.
        match members.get(node) {
            Some(known) if known.ready || !found.ready => {}
            _ => drop(members.insert(Arc::clone(&found.name), found)),
        }
    }
}

/// A weight that cannot be understood counts as none.
fn weight(node: &Node, report: &mut Report<'_>) -> u32 {
    let metadata = &node.metadata;
    let annotation = metadata.annotations.as_ref().and_then(|all| all.get(WEIGHT));
    let label = || metadata.labels.as_ref().and_then(|all| all.get(WEIGHT));
    let (field, text) = match (annotation, annotation.is_none().then(label).flatten()) {
        (Some(text), _) => ("metadata.annotations", text),
        (None, Some(text)) => ("metadata.labels", text),
        (None, None) => return Member::WEIGHT,
    };
    match text.parse() {
        Ok(weight) if weight <= Member::MOST => weight,
        _ => {
            let (most, usual) = (Member::MOST, Member::WEIGHT);
            let message = format!(
                "`{text}` of {WEIGHT} must be a number, 0 to {most}; {usual} stands in its place"
            );
            report.error(field, message);
            Member::WEIGHT
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::stores::Key;

    fn stores(slices: &[Value], nodes: &[Value]) -> Stores {
        let slices = slices.iter().enumerate().map(|(number, endpoints)| {
            let slice = json!({
                "metadata": {"labels": {SERVICE: "agents"}},
                "addressType": "IPv4",
                "endpoints": endpoints,
            });
            let slice = serde_json::from_value(slice).expect("an EndpointSlice");
            (Key::new("edge", format!("agents-{number}")), Arc::new(slice))
        });
        let nodes = nodes.iter().map(|metadata| {
            let node: Node = serde_json::from_value(json!({
                "metadata": metadata,
                "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.9"}]},
            }))
            .expect("a Node");
            let name = node.metadata.name.clone().unwrap_or_default();
            (Key::new("", name), Arc::new(node))
        });
        Stores { endpoint_slices: slices.collect(), nodes: nodes.collect(), ..Stores::default() }
    }

    fn told(stores: &Stores, service: bool) -> (Vec<String>, Vec<String>) {
        let service = service.then(|| ("edge".to_owned(), "agents".to_owned()));
        let mut diagnostics = Vec::new();
        let members = members(stores, service.as_ref(), &mut diagnostics);
        let members = members.iter().map(|one| {
            let ready = if one.ready { "ready" } else { "draining" };
            format!("{} {} {ready} {}", one.name, one.address, one.weight)
        });
        (members.collect(), diagnostics.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn endpoints_are_members_and_their_conditions_say_whether_they_drain() {
        let endpoint = |node: &str, last: u8, conditions: Value| {
            json!({"nodeName": node, "addresses": [format!("10.0.0.{last}")],
                   "conditions": conditions})
        };
        let slices = [
            json!([
                endpoint("b", 2, json!({"ready": false, "terminating": true})),
                endpoint("a", 1, json!({})),
            ]),
            json!([
                endpoint("c", 3, json!({"ready": false})),
                // The pod that ends and the one that replaces it.
                endpoint("d", 4, json!({"ready": false, "terminating": true})),
                endpoint("d", 4, json!({"ready": true})),
            ]),
        ];
        let nodes = [json!({"name": "a", "annotations": {WEIGHT: "20"}}), json!({"name": "e"})];
        let (members, diagnostics) = told(&stores(&slices, &nodes), true);
        assert_eq!(
            members,
            [
                "a 10.0.0.1 ready 20",
                "b 10.0.0.2 draining 100",
                "c 10.0.0.3 draining 100",
                "d 10.0.0.4 ready 100"
            ]
        );
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
    }

    #[test]
    fn an_endpoint_without_node_or_address_takes_nobody_else_down() {
        let slices = [json!([
            {"addresses": ["10.0.0.1"]},
            {"nodeName": "b", "addresses": ["example.com"]},
            {"nodeName": "c", "addresses": ["10.0.0.3"]},
        ])];
        let (members, diagnostics) = told(&stores(&slices, &[]), true);
        assert_eq!(members, ["c 10.0.0.3 ready 100"]);
        assert_eq!(diagnostics.len(), 2, "{diagnostics:?}");
        assert!(diagnostics[0].contains("endpoints[0].nodeName"), "{diagnostics:?}");
        let (members, diagnostics) = told(&stores(&[], &[]), true);
        assert_eq!((members.len(), diagnostics.len()), (0, 1));
        assert!(diagnostics[0].contains("has no endpoints"), "{diagnostics:?}");
    }

    #[test]
    fn a_weight_is_an_annotation_or_a_label_of_the_node() {
        let nodes = [
            json!({"name": "a", "annotations": {WEIGHT: "1000"}, "labels": {WEIGHT: "5"}}),
            json!({"name": "b", "labels": {WEIGHT: "0"}}),
            json!({"name": "c", "annotations": {WEIGHT: "1001"}}),
            json!({"name": "d", "labels": {WEIGHT: "-1"}}),
            json!({"name": "e"}),
        ];
        let (members, diagnostics) = told(&stores(&[], &nodes), false);
        let weights: Vec<_> =
            members.iter().map(|one| one.rsplit(' ').next().unwrap_or_default()).collect();
        assert_eq!(weights, ["1000", "0", "100", "100", "100"]);
        assert_eq!(diagnostics.len(), 2, "{diagnostics:?}");
        assert!(diagnostics[0].contains("0 to 1000"), "{diagnostics:?}");
    }
}
