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
    let mut found = Vec::new();
    for (key, node) in nodes.iter() {
        let mut report = Report::on(node_object(&key.name), diagnostics);
        let status = node.status.clone().unwrap_or_default();
        let addresses = status.addresses.unwrap_or_default();
        let mut internal =
            addresses.iter().filter(|address| address.type_ == "InternalIP").peekable();
        let Some(first) = internal.peek() else {
            report
                .error("status.addresses", "has no InternalIP; connections are not steered to it");
            continue;
        };
        let first = first.address.clone();
        let own: Vec<IpAddr> =
            internal.filter_map(|address| address.address.parse().ok()).collect();
        let Some(address) = own.first().copied() else {
            let message =
                format!("InternalIP `{first}` is no IP address; connections are not steered to it");
            report.error("status.addresses", message);
            continue;
        };
        let conditions = status.conditions.unwrap_or_default();
        let unready = conditions.iter().any(|one| one.type_ == "Ready" && one.status != "True");
        let ready = !unready && node.metadata.deletion_timestamp.is_none();
        let weight = weight(node, &mut report);
        let name = Arc::clone(&key.name);
        found.push((Member { name, address, ready, weight }, own));
    }
    // Each names the address of the cluster's first family first.
    let firsts = found.iter().map(|(member, _)| member.address);
    let family = Family::of_most(firsts);
    let of_family = |(member, own): (Member, Vec<IpAddr>)| match own
        .into_iter()
        .find(|address| Family::of(*address) == family)
    {
        Some(address) => Member { address, ..member },
        None => {
            let mut report = Report::on(node_object(&member.name), diagnostics);
            report.warning("status.addresses", family.missing("no InternalIP"));
            member
        }
    };
    found.into_iter().map(of_family).collect()
}

fn node_object(name: &str) -> ObjectRef {
    ObjectRef::new("Node", "", name)
}

/// The endpoints of the agents' own Service. One that is not
/// ready, or is told to end, takes no new connections; one that is not there any more has none.
fn of_service(
    stores: &Stores,
    namespace: &str,
    name: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Member> {
    let mut found = Found::new();
    let slices = stores.endpoint_slices.iter().filter(|(key, slice)| {
        let labels = slice.metadata.labels.as_ref();
        *key.namespace == *namespace
            && labels.and_then(|labels| labels.get(SERVICE)).is_some_and(|of| of == name)
    });
    for (key, slice) in slices {
        let object = ObjectRef::new("EndpointSlice", key.namespace.clone(), key.name.clone());
        of_slice(stores, slice, &mut Report::on(object, diagnostics), &mut found);
    }
    let object = ObjectRef::new("Service", namespace, name);
    let mut report = Report::on(object, diagnostics);
    if found.is_empty() {
        let message = "has no endpoints; the nodes that were known last stay, and an agent that knows \
                       of none steers to itself alone";
        report.error("--members-service", message);
        return Vec::new();
    }
    let service = stores.services.get(namespace, name);
    let family = service
        .and_then(|service| service.spec.as_ref()?.ip_families.as_ref()?.first())
        .and_then(|name| Family::named(name))
        // Those of the Service's first family may be late.
        .filter(|family| found.keys().any(|(_, own)| own == family))
        .unwrap_or_else(|| Family::of_most(found.values().map(|member| member.address)));
    let (mut members, others): (Vec<_>, Vec<_>) =
        found.into_values().partition(|member| Family::of(member.address) == family);
    for other in others {
        let place = members.binary_search_by(|member| member.name.cmp(&other.name));
        if let Err(place) = place {
            let message = format!("node {}: {}", other.name, family.missing("no endpoint"));
            report.warning("--members-service", message);
            members.insert(place, other);
        }
    }
    members
}

/// Members by the name of their node and the family of their address.
type Found = BTreeMap<(Arc<str>, Family), Member>;

fn of_slice(stores: &Stores, slice: &EndpointSlice, report: &mut Report<'_>, found: &mut Found) {
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
        let member = Member { name: node.into(), address, ready, weight };
        let place = (Arc::clone(&member.name), Family::of(address));
        // A pod that ends beside the one that replaces it on the same node.
        match found.get(&place) {
            Some(known) if known.ready || !member.ready => {}
            _ => drop(found.insert(place, member)),
        }
    }
}

/// Nodes talk to each other by one family: what one sends from its address the other knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn named(name: &str) -> Option<Self> {
        match name {
            "IPv4" => Some(Self::V4),
            "IPv6" => Some(Self::V6),
            _ => None,
        }
    }

    /// The one that most of these are of; IPv4 where they are equally many.
    fn of_most(addresses: impl Iterator<Item = IpAddr>) -> Self {
        let balance: isize = addresses.map(|address| if address.is_ipv4() { 1 } else { -1 }).sum();
        if balance < 0 { Self::V6 } else { Self::V4 }
    }

    /// What is to be known of a node that does not have `what` of this family.
    fn missing(self, what: &str) -> String {
        let name = match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        };
        format!(
            "has {what} of {name}, by which the nodes know each other; its other address stands, and \
             probes tell whether it is reached"
        )
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
                // Nobody asks: addresses say it.
                "addressType": "IPv4",
                "endpoints": endpoints,
            });
            let slice = serde_json::from_value(slice).expect("an EndpointSlice");
            (Key::new("edge", format!("agents-{number}")), Arc::new(slice))
        });
        let nodes = nodes.iter().map(|metadata| {
            let own = metadata["addresses"].as_array().cloned();
            let own = own.unwrap_or_else(|| vec![json!("10.0.0.9")]);
            let own = own.iter().map(|own| json!({"type": "InternalIP", "address": own}));
            let node: Node = serde_json::from_value(json!({
                "metadata": metadata,
                "status": {"addresses": own.collect::<Vec<_>>()},
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

    #[test]
    fn nodes_of_two_families_are_known_by_the_one_that_most_name_first() {
        let nodes = [
            json!({"name": "a", "addresses": ["10.0.0.1", "fd00::1"]}),
            // One that names them the other way round.
            json!({"name": "b", "addresses": ["fd00::2", "10.0.0.2"]}),
            json!({"name": "c", "addresses": ["10.0.0.3"]}),
            json!({"name": "d", "addresses": ["fd00::4"]}),
            json!({"name": "e", "addresses": ["nonsense", "10.0.0.5"]}),
        ];
        let (members, diagnostics) = told(&stores(&[], &nodes), false);
        // What has no other is left what it is: peers ask it whether it is there.
        let expected = ["a 10.0.0.1", "b 10.0.0.2", "c 10.0.0.3", "d fd00::4", "e 10.0.0.5"];
        assert_eq!(members, expected.map(|one| format!("{one} ready 100")));
        assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
        assert!(diagnostics[0].contains("Node d") && diagnostics[0].contains("IPv4"));
        let six = ["fd00::1", "fd00::2"]
            .map(|own| json!({"name": own.replace(':', ""), "addresses": [own, "10.0.0.1"]}));
        let (members, _) = told(&stores(&[], &six), false);
        assert_eq!(members, ["fd001 fd00::1 ready 100", "fd002 fd00::2 ready 100"]);
    }

    #[test]
    fn of_a_service_of_two_families_the_first_counts_whichever_slice_comes_first() {
        let slice = |of: &str, nodes: &[&str]| {
            let endpoint = |(number, node): (usize, &&str)| json!({"nodeName": node, "addresses": [format!("{of}{}", number + 1)]});
            Value::from_iter(nodes.iter().enumerate().map(endpoint))
        };
        let (four, six) = (slice("10.0.0.", &["a", "b"]), slice("fd00::", &["a", "b", "c"]));
        let with = |slices: &[Value], families: &[&str]| {
            let mut stores = stores(slices, &[]);
            let service = serde_json::from_value(json!({"spec": {"ipFamilies": families}}));
            let service = Arc::new(service.expect("a Service"));
            stores.services = [(Key::new("edge", "agents"), service)].into_iter().collect();
            told(&stores, true)
        };
        for slices in [[four.clone(), six.clone()], [six.clone(), four.clone()]] {
            let (members, diagnostics) = with(&slices, &["IPv4", "IPv6"]);
            let expected = ["a 10.0.0.1", "b 10.0.0.2", "c fd00::3"];
            assert_eq!(members, expected.map(|one| format!("{one} ready 100")));
            assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
            assert!(diagnostics[0].contains("node c") && diagnostics[0].contains("IPv4"));
            let (members, diagnostics) = with(&slices, &["IPv6", "IPv4"]);
            assert_eq!((members.len(), diagnostics.len()), (3, 0), "{diagnostics:?}");
        }
        // Better by the other family than not at all.
        assert_eq!(with(&[six], &["IPv4"]).0.len(), 3);
    }
}
