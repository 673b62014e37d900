//! The chart with the kernel tier on: clients of a virtual address notice nothing of what is done to
//! agents, nodes and applications, but for a power cut, of which only the dead node's do.

use std::{net::IpAddr, process::Command, time::Instant};

use serde_json::Value;
use testbed::kubernetes::cluster::Place;

use crate::{
    balancer::Balancer,
    chart::{Chart, VIRTUAL},
    manifests::{AGENTS, reaches_every_service, rights_of},
    rollout,
    site::{DAEMON_SET, HOST, NAMESPACE, NODES, Site, succeed, until},
    traffic::{Door, Failure, NEWCOMERS, Traffic},
};

#[test]
fn clients_of_a_virtual_address_notice_no_update_drain_restart_or_deletion() {
    let test = "clients_of_a_virtual_address_notice_no_update_drain_restart_or_deletion";
    let Some(chart) = Chart::new(test) else { return };
    let Some(site) = Site::new(test, "k", NODES, &[]) else { return };
    for number in 1..=NODES {
        assert_eq!(program_on(&site, number), None, "before it is installed");
    }
    chart.install(&site);
    site.deploy_application();
    // One on each node.
    site.kubectl(&["scale", "-n", "app", "deployment/front", "--replicas=3"]);
    site.rolled_out("app", "deployment/front");
    site.say("installed");
    the_agents_have_four_capabilities(&site);
    for number in 1..=NODES {
        let program = program_on(&site, number).expect("a program");
        assert_eq!(program, "xdp_steer", "on n{number}");
    }

    let router = Balancer::by_reachability(&site.cluster);
    until("all nodes are announced", || router.nodes().len() == usize::from(NODES));
    let address = IpAddr::from(VIRTUAL);
    reaches_every_service(&site.cluster, address);
    for node in (1..=NODES).map(Place::Node) {
        reaches_every_service(&site.cluster, node.address().into());
    }
    let traffic = Traffic::start(&site.cluster, &Door::Virtual(address));
    site.say(traffic.goes_on("the start"));
    let owners = (1..=NODES).filter(|number| traffic.owned_by(*number) > 0).count();
    assert!(owners > 1, "the connections are on several nodes");

    site.kubectl(&["scale", "-n", "app", "deployment/front", "--replicas=20"]);
    site.rolled_out("app", "deployment/front");
    until("every pod is asked", || traffic.pods().len() >= 20);
    site.kubectl(&["scale", "-n", "app", "deployment/front", "--replicas=1"]);
    until("one pod is left", || site.pods("app", "app=front").len() == 1);
    site.say(traffic.goes_on("from 3 pods to 20 and to one"));

    site.kubectl(&["scale", "-n", "app", "deployment/front", "--replicas=3"]);
    site.rolled_out("app", "deployment/front");
    rollout::of_the_application(&site, &traffic);
    site.say(traffic.goes_on("a rolling update of the application"));

    for program in ["kubelet", "containerd"] {
        site.cluster.restart(1, program).expect("it is started again");
    }
    site.cluster.await_nodes(NODES).expect("all are ready");
    site.say(traffic.goes_on("a restart of kubelet and containerd"));

    let agents = site.pods(NAMESPACE, AGENTS);
    site.kubectl(&["delete", "pod", "-n", NAMESPACE, "--wait=false", &agents[0]]);
    until("the pod is gone", || !site.pods(NAMESPACE, AGENTS).contains(&agents[0]));
    site.rolled_out(NAMESPACE, DAEMON_SET);
    site.say(traffic.goes_on("the deletion of an agent's pod"));

    chart.upgrade(&site, "controller.podAnnotations.round=two");
    assert!(site.pods(NAMESPACE, AGENTS).iter().all(|pod| !agents.contains(pod)), "all are new");
    site.say(traffic.goes_on("a rolling update of the agents"));

    let drain = ["drain", "n2", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=300s"];
    site.kubectl(&drain);
    let on_it = site.objects(&["pods", "-n", "app", "--field-selector", "spec.nodeName=n2"]);
    assert_eq!(on_it, Vec::<Value>::new(), "nothing is left on it but the agent");
    site.kubectl(&["uncordon", "n2"]);
    site.rolled_out("app", "deployment/front");
    site.say(traffic.goes_on("a drained node"));

    a_power_cut_costs_the_connections_of_the_node_alone(&site, &traffic, &router);
}

/// How long an application may be silent while a node is gone, in seconds: what was on the way to its pods is
/// then asked of another. Less, and one that is merely slow, on a machine with much else to do, is given up.
const PATIENCE: u8 = 5;

/// The node has connections, and perhaps pods. What was on the way to one of those is
/// asked of another after [`PATIENCE`], for the Ingress says so.
fn a_power_cut_costs_the_connections_of_the_node_alone(
    site: &Site,
    traffic: &Traffic,
    router: &Balancer,
) {
    let soon = ["proxy-connect-timeout", "proxy-read-timeout"]
        .map(|name| format!("nginx.ingress.kubernetes.io/{name}"));
    for name in &soon {
        site.kubectl(&["annotate", "-n", "app", "ingress/app", &format!("{name}={PATIENCE}")]);
    }
    site.say(traffic.goes_on("another annotation"));
    let _before = traffic.take_slowest();
    // One that has many: by now some nodes have had to send theirs away.
    let dead = (1..=NODES).max_by_key(|number| traffic.owned_by(*number)).expect("nodes");
    let owned = traffic.owned_by(dead);
    assert!(owned > 0);
    site.cluster.cut(dead).expect("it has power");
    let gone = Instant::now();
    until("the router has noticed", || !router.nodes().contains(&dead));
    until("its connections are with others", || traffic.owned_by(dead) == 0);
    traffic.many_more("the power cut");
    let lost = traffic.take_errors();
    let slowest = traffic.take_slowest();
    // Those that the node had, and those that it took in its last moment without having answered yet.
    let (kept, fresh): (Vec<Failure>, Vec<Failure>) =
        lost.iter().cloned().partition(|failure| failure.owner.is_some());
    assert!(kept.iter().all(|failure| failure.owner == Some(dead)), "of {owned}: {lost:?}");
    assert!(kept.len() <= owned, "once each of {owned}: {lost:?}");
    assert!(fresh.iter().all(|failure| failure.begun < gone), "{gone:?}: {lost:?}");
    assert!(fresh.len() <= NEWCOMERS, "{lost:?}");
    site.say(format!(
        "a power cut: {} of {owned} connections of the node are lost and {} that it had just taken, \
         of others none; the slowest new one took {:.1} s",
        kept.len(),
        fresh.len(),
        slowest.as_secs_f32()
    ));

    for name in &soon {
        site.kubectl(&["annotate", "-n", "app", "ingress/app", &format!("{name}-")]);
    }
    site.cluster.boot(dead).expect("it has power again");
    site.cluster.await_nodes(NODES).expect("all are ready");
    until("the router has noticed", || router.nodes().contains(&dead));
    site.rolled_out(NAMESPACE, DAEMON_SET);
    assert_eq!(program_on(site, dead).as_deref(), Some("xdp_steer"));
    site.say(traffic.goes_on("the node is back"));
    until("it is answered by again", || {
        let address = IpAddr::from(Place::Node(dead).address());
        crate::traffic::get(&site.cluster, address, HOST, "/").is_some_and(|a| a.status == 200)
    });
}

/// As the pods are written, and as the kernel has it.
fn the_agents_have_four_capabilities(site: &Site) {
    for agent in site.objects(&["pods", "-n", NAMESPACE, "-l", AGENTS]) {
        let context = &agent["spec"]["containers"][0]["securityContext"];
        assert_eq!(rights_of(context), ["BPF", "NET_ADMIN", "NET_BIND_SERVICE", "PERFMON"]);
    }
    for number in 1..=NODES {
        let processes = site.cluster.processes(number, "penstock");
        assert_eq!(processes.len(), 1, "one agent on n{number}");
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", processes[0])).expect("it runs");
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        // capabilities(7), by their numbers in linux/capability.h: NET_BIND_SERVICE, NET_ADMIN,
        // PERFMON, BPF.
        assert_eq!(effective, Some(1 << 10 | 1 << 12 | 1 << 38 | 1 << 39));
    }
}

/// The name of the XDP program on a node's interface.
fn program_on(site: &Site, number: u8) -> Option<String> {
    let mut command: Command =
        site.cluster.command(Place::Node(number), "ip").expect("the node runs");
    let links = succeed(command.args(["-details", "-json", "link", "show", "dev", "eth0"]));
    let links: Value = serde_json::from_str(&links).expect("JSON");
    links[0]["xdp"]["prog"]["name"].as_str().map(str::to_owned)
}
