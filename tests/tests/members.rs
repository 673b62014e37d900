//! Who the nodes are, what is served, and what the agent sees to by itself, in a cluster in a box.
#![forbid(unsafe_code)]

use std::{
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use testbed::{Cluster, Named, Options, VIP_V4, get, requirement};

/// For what must happen.
const LIMIT: Duration = Duration::from_secs(60);
const REQUEST: Duration = Duration::from_secs(5);
const BLUE: &str = "blue.example.com";

fn cluster(test: &str, flags: &[&str], members: Option<Vec<Named>>) -> Option<Cluster> {
    let binaries = requirement::cluster(test)?;
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy").join("demo");
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    let options = Options { nodes: 3, binaries, manifests, flags, members, ..Options::default() };
    Some(Cluster::start(options).expect("the machine lets root make a box"))
}

fn node<'s>(steering: &'s Value, name: &str) -> &'s Value {
    let nodes = steering["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    nodes.iter().find(|node| node["name"] == name).unwrap_or(&Value::Null)
}

fn state(cluster: &mut Cluster, index: usize) -> Value {
    let (_, body) = cluster.agent(index).admin("/state").expect("the agent answers");
    serde_json::from_str(&body).expect("JSON")
}

#[test]
fn a_file_of_nodes_is_followed_and_a_bad_one_changes_nothing() {
    let name = "a_file_of_nodes_is_followed_and_a_bad_one_changes_nothing";
    let Some(mut cluster) = cluster(name, &[], Some(Named::all(0..3))) else { return };
    let mut members = Named::all(0..3);
    members[1].weight = 0;
    members[2].draining = true;
    cluster.name(0, &members).expect("written");
    let await_rows = |cluster: &mut Cluster| {
        cluster
            .agent(0)
            .await_steering("alone with new connections", LIMIT, |steering| {
                node(steering, "n1")["rows"] == 65_536
                    && node(steering, "n3")["state"] == "draining"
                    && node(steering, "n2")["weight"] == 0
            })
            .expect("the file is followed");
    };
    await_rows(&mut cluster);

    let path = cluster.members_file(0);
    std::fs::write(&path, "- {name: n1, address: nowhere}").expect("written");
    let deadline = Instant::now() + LIMIT;
    loop {
        let state = state(&mut cluster, 0);
        let text = state["diagnostics"].to_string();
        if text.contains("--members") && text.contains("the nodes that were read last stay") {
            break;
        }
        assert!(Instant::now() < deadline, "no diagnostic in {text}");
        std::thread::yield_now();
    }
    await_rows(&mut cluster);

    // What is right again takes the diagnostic away.
    cluster.name(0, &Named::all(0..3)).expect("written");
    cluster
        .agent(0)
        .await_steering("steering to all", LIMIT, |steering| {
            ["n1", "n2", "n3"]
                .iter()
                .all(|name| node(steering, name)["rows"].as_u64() > Some(20_000))
        })
        .expect("the file is followed");
    assert!(!state(&mut cluster, 0)["diagnostics"].to_string().contains("--members"));
}

#[test]
fn weights_set_the_shares_of_new_connections() {
    let mut members = Named::all(0..3);
    members[0].weight = 50;
    let name = "weights_set_the_shares_of_new_connections";
    let Some(mut cluster) = cluster(name, &[], Some(members)) else { return };
    for index in 0..3 {
        // A fifth, four standard deviations of a binomial share either way. On a busy machine a node may
        // miss its probes, and the others have its rows for a while.
        cluster
            .agent(index)
            .await_steering("giving n1 half a share", LIMIT, |steering| {
                let rows = node(steering, "n1")["rows"].as_u64();
                rows.is_some_and(|rows| (12_650..13_560).contains(&rows))
            })
            .expect("n1 has half a share");
    }
}

/// The addresses of the loopback interface of a node.
fn has_address(cluster: &Cluster, index: usize, address: Ipv4Addr) -> bool {
    let mut command = cluster.node(index).command("ip");
    let output = command.args(["-o", "addr", "show", "dev", "lo"]).output().expect("ip runs");
    String::from_utf8_lossy(&output.stdout).contains(&format!("{address}/32"))
}

#[test]
fn addresses_of_the_own_service_come_and_go() {
    let name = "addresses_of_the_own_service_come_and_go";
    let flags = ["--publish-service=edge/front"];
    let Some(mut cluster) = cluster(name, &flags, None) else { return };
    let address = Ipv4Addr::new(203, 0, 113, 99);
    cluster.route_also(address).expect("the router takes the route");
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{namespace: edge, name: front}}\n\
         spec: {{type: LoadBalancer, loadBalancerClass: penstock.dev/xdp, ports: [{{port: 80}}]}}\n\
         status: {{loadBalancer: {{ingress: [{{ip: {address}}}]}}}}\n"
    );
    cluster.manifests().write("front.yaml", &service).expect("written");
    let deadline = Instant::now() + LIMIT;
    while !(0..3).all(|index| has_address(&cluster, index, address)) {
        assert!(Instant::now() < deadline, "the address is not on lo");
        std::thread::yield_now();
    }
    // Each connection has its owner: some are with each node.
    let mut owners = std::collections::BTreeSet::new();
    while owners.len() < 3 {
        assert!(Instant::now() < deadline, "only {owners:?} take connections");
        let request = || get((address, 80).into(), BLUE, "/", REQUEST);
        let answer = cluster.client().block_on(request).expect("the namespace exists");
        // Nodes may learn of it one after the other.
        let echo = answer.ok().and_then(|answer| answer.echo());
        owners.extend(echo.and_then(|echo| cluster.node_of(echo.peer)));
    }
    cluster.manifests().remove("front.yaml").expect("removed");
    while (0..3).any(|index| has_address(&cluster, index, address)) {
        assert!(Instant::now() < deadline + LIMIT, "the address is still on lo");
        std::thread::yield_now();
    }
    // The other one is none of it.
    assert!(has_address(&cluster, 0, VIP_V4));
    assert_eq!(cluster.get(BLUE, "/").expect("the virtual address answers").status, 200);
    cluster.await_whole().expect("all nodes steer to each other");
}

#[test]
fn a_link_between_that_takes_less_is_noticed() {
    let Some(mut cluster) = cluster("a_link_between_that_takes_less_is_noticed", &[], None) else {
        return;
    };
    let told = |cluster: &mut Cluster, full: bool| {
        cluster
            .agent(0)
            .await_steering("sure of the path", LIMIT, |steering| {
                node(steering, "n2")["full-size"] == full
            })
            .expect("the path is tried");
    };
    told(&mut cluster, true);
    cluster.fabric_mtu(1, 1400).expect("set");
    told(&mut cluster, false);
    let state = state(&mut cluster, 0);
    assert_eq!(node(&state["steering"], "n2")["state"], "ready", "what is short gets through");
    assert!(cluster.agent(0).log_tail().contains("do not get through the tunnel"));
    cluster.fabric_mtu(1, 1500).expect("set");
    told(&mut cluster, true);
}

#[test]
#[ignore = "at times two or three requests more pass than should; why is not known yet"]
fn limits_of_a_client_hold_over_all_nodes() {
    let name = "limits_of_a_client_hold_over_all_nodes";
    let Some(cluster) = cluster(name, &["--l4-affinity=client"], None) else { return };
    // On a busy machine a node may miss its probes, and its clients meet another for a while.
    let deadline = Instant::now() + LIMIT + LIMIT;
    for attempt in 0.. {
        if limited_at_one_node(&cluster, &format!("limited-{attempt}")) {
            return;
        }
        assert!(Instant::now() < deadline, "connections met several nodes each time");
    }
}

/// Asks a limited host until it has turned away enough. False: several nodes were met.
fn limited_at_one_node(cluster: &Cluster, host: &str) -> bool {
    let limited = format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
         metadata:\n  namespace: sites\n  name: {host}\n  annotations:\n    \
         nginx.ingress.kubernetes.io/limit-rpm: \"6\"\n\
         spec:\n  ingressClassName: nginx\n  rules:\n  - host: {host}.example.com\n    http:\n      \
         paths:\n      - {{path: /, pathType: Prefix, \
         backend: {{service: {{name: blue, port: {{number: 80}}}}}}}}\n"
    );
    cluster.manifests().write(&format!("{host}.yaml"), &limited).expect("written");
    let deadline = Instant::now() + LIMIT + LIMIT;
    let (mut passed, mut refused, mut lost) = (0, 0, 0);
    let mut nodes = std::collections::BTreeSet::new();
    let begun = Instant::now();
    while refused < 20 {
        assert!(Instant::now() < deadline, "{passed} passed, and only {refused} were refused");
        let answer = cluster.get(&format!("{host}.example.com"), "/");
        let Ok(answer) = answer else {
            // It may have been counted all the same.
            lost += 1;
            continue;
        };
        match answer.status {
            200 => passed += 1,
            503 => refused += 1,
            // Not known yet.
            404 => continue,
            other => assert_eq!(other, 200, "neither passed nor refused"),
        }
        nodes.extend(answer.echo().and_then(|echo| cluster.node_of(echo.peer)));
    }
    if nodes.len() > 1 {
        return false;
    }
    // Five times six at once, the first for nothing, and one more every ten seconds.
    let most = 31 + begun.elapsed().as_secs() / 10 + 1;
    let least = 31_u64.saturating_sub(lost);
    assert!((least..=most).contains(&passed), "{passed} passed, {least} to {most} should");
    true
}
