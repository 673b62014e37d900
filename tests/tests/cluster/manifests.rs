//! The rendered manifests, without helm and without the kernel tier.

use std::{fs, sync::Arc};

use serde_json::Value;
use testbed::kubernetes::cluster::{Cluster, Place};

use crate::{
    balancer::Balancer,
    site::{DAEMON_SET, HOST, NAMESPACE, NODES, Site, repository, until},
    traffic::{self, Door, Traffic},
};

/// The agent's pods.
pub(crate) const AGENTS: &str = "app.kubernetes.io/component=controller";

#[test]
fn the_manifests_serve_through_any_node_and_behind_a_balancer_without_an_error() {
    let test = "the_manifests_serve_through_any_node_and_behind_a_balancer_without_an_error";
    let Some(site) = Site::new(test, "m", NODES, &[]) else { return };
    site.apply(&repository("deploy/kubernetes/penstock.yaml"));
    site.deploy_application();
    site.rolled_out(NAMESPACE, DAEMON_SET);
    site.say("installed");
    for agent in site.objects(&["pods", "-n", NAMESPACE, "-l", AGENTS]) {
        let context = &agent["spec"]["containers"][0]["securityContext"];
        assert_eq!(context["runAsNonRoot"], true);
        assert_eq!(rights_of(context), ["NET_BIND_SERVICE"]);
    }
    for node in (1..=NODES).map(Place::Node) {
        reaches_every_service(&site.cluster, node.address().into());
    }

    let balancer = Arc::new(Balancer::by_readiness(&site.cluster));
    until("all nodes are ready for the balancer", || balancer.nodes().len() == usize::from(NODES));
    let traffic = Traffic::start(&site.cluster, &Door::Nodes(balancer));
    site.say(traffic.goes_on("the start"));

    let agents = site.pods(NAMESPACE, AGENTS);
    site.kubectl(&["delete", "pod", "-n", NAMESPACE, "--wait=false", &agents[0]]);
    until("the pod is gone", || !site.pods(NAMESPACE, AGENTS).contains(&agents[0]));
    site.rolled_out(NAMESPACE, DAEMON_SET);
    site.say(traffic.goes_on("the deletion of an agent's pod"));
    drop(traffic);

    let (layout, name) = (site.cluster.layout().clone(), site.cluster.layout().name().to_owned());
    drop(site);
    assert!(!layout.directory().exists());
    let namespaces = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let own = format!("penstock-{name}-");
    let left = namespaces.filter(|entry| entry.file_name().to_string_lossy().starts_with(&own));
    assert_eq!(left.count(), 0, "nothing is left");
}

/// What a container may do: it is not privileged, and has these capabilities.
pub(crate) fn rights_of(context: &Value) -> Vec<String> {
    assert_eq!(context["privileged"], false);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]));
    let added = context["capabilities"]["add"].as_array().cloned().unwrap_or_default();
    added.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// The client is answered by all four Services of the application through this address, and the pods
/// are told the client's own.
pub(crate) fn reaches_every_service(cluster: &Cluster, address: std::net::IpAddr) {
    for (path, service) in
        [("/", "front"), ("/api/items", "api"), ("/cart", "cart"), ("/static", "static")]
    {
        let mut seen = None;
        until(&format!("{path} is answered through {address}"), || {
            let answer = traffic::get(cluster, address, HOST, path);
            seen = answer.filter(|answer| answer.status == 200);
            seen.is_some()
        });
        let body = seen.expect("just seen").body;
        let echo: Value = serde_json::from_slice(&body).expect("the pods speak JSON");
        let pod = echo["pod"].as_str().expect("a name");
        assert!(pod.starts_with(&format!("{service}-")), "{path}: {pod}");
        let client = Place::Client.address().to_string();
        assert_eq!(echo["headers"]["x-real-ip"], client.as_str(), "{path} through {address}");
    }
}
