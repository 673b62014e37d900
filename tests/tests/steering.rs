//! The kernel tier in a cluster in a box: real connections of a client to a virtual address that
//! three nodes serve.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use serde_json::Value;
use testbed::{Answer, Binaries, Cluster, Connection, VIP_V4, VIP_V6, get};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const LIMIT: Duration = Duration::from_secs(10);
/// A host whose only pod is on n2.
const GREEN: &str = "green.example.com";

/// One request on each of `count` connections, one after the other.
fn connections(cluster: &Cluster, vip: IpAddr, count: usize) -> Vec<Answer> {
    let exchange = || async {
        let mut answers = Vec::new();
        for _ in 0..count {
            answers.push(get((vip, 80).into(), GREEN, "/a/path?and=query", LIMIT).await);
        }
        answers
    };
    let answers = cluster.client().block_on(exchange).expect("the client's namespace exists");
    answers.into_iter().map(|answer| answer.expect("the virtual address answers")).collect()
}

/// How many of the answers each node's agent had fetched.
fn taken(cluster: &Cluster, answers: &[Answer]) -> BTreeMap<usize, usize> {
    let mut taken = BTreeMap::new();
    for answer in answers {
        let echo = answer.echo().expect("a pod answers");
        let node = cluster.node_of(echo.peer).expect("a node connects to the pod");
        *taken.entry(node).or_default() += 1;
    }
    taken
}

/// Packets by reason on a node.
fn packets(cluster: &Cluster, binaries: &Binaries, node: usize) -> BTreeMap<String, u64> {
    let counters = cluster.counters(binaries, node).expect("the counters are readable");
    let rows = counters.as_array().expect("the counters are a list");
    let name = |row: &Value| row["reason"].as_str().expect("a reason").to_owned();
    rows.iter().map(|row| (name(row), row["packets"].as_u64().expect("a number"))).collect()
}

#[test]
fn connections_that_enter_at_one_node_are_taken_by_all() {
    let name = "connections_that_enter_at_one_node_are_taken_by_all";
    let Some((cluster, binaries)) = Cluster::for_test(name) else { return };
    for entry in 0..3 {
        cluster.route_over(&[entry]).expect("the router takes the route");
        let before = packets(&cluster, &binaries, entry);
        let mut answers = Vec::new();
        // On a busy machine a node may miss its probes and get no new connections for a while.
        await_batch(|| {
            answers.extend(connections(&cluster, VIP_V4.into(), 30));
            taken(&cluster, &answers).len() == 3
        });
        for answer in &answers {
            let echo = answer.echo().expect("a pod answers");
            assert_eq!((answer.status, &*echo.pod), (200, "green-a"));
            assert_eq!((&*echo.path, echo.query.as_deref()), ("/a/path", Some("and=query")));
            assert_eq!(echo.header("host"), GREEN);
        }
        let after = packets(&cluster, &binaries, entry);
        let sent_on = after["forwarded"] - before["forwarded"];
        let others = answers.len() - taken(&cluster, &answers)[&entry];
        // SYN, ACK, request, and the ACKs of the answer and its end, for each that it does not own.
        assert!(sent_on as usize >= 4 * others, "{sent_on} packets sent on, {others} connections");
    }
}

#[test]
fn connections_spread_evenly() {
    let Some((cluster, _)) = Cluster::for_test("connections_spread_evenly") else { return };
    // As above, a batch may meet a node that is out. Uneven rows would spoil every batch.
    await_batch(|| {
        let taken = taken(&cluster, &connections(&cluster, VIP_V4.into(), 300));
        // 100 expected, standard deviation 8.2: three of them either way.
        taken.len() == 3 && taken.values().all(|count| (76..=124).contains(count))
    });
}

/// Repeats `batch` until it is true.
fn await_batch(mut batch: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !batch() {
        assert!(Instant::now() < deadline, "some node takes no share of the connections");
    }
}

#[test]
fn the_pod_learns_the_clients_address() {
    let Some((cluster, _)) = Cluster::for_test("the_pod_learns_the_clients_address") else {
        return;
    };
    for (vip, client) in [VIP_V4.into(), VIP_V6.into()].into_iter().zip(cluster.client_addresses())
    {
        let answers = connections(&cluster, vip, 30);
        assert!(taken(&cluster, &answers).len() > 1, "all connections met one node");
        for answer in answers {
            let echo = answer.echo().expect("a pod answers");
            assert_eq!(echo.header("x-real-ip"), client.to_string());
            assert_eq!(echo.header("x-forwarded-for"), client.to_string());
        }
    }
}

#[test]
fn the_owner_answers_the_client_directly() {
    let name = "the_owner_answers_the_client_directly";
    let Some((cluster, _)) = Cluster::for_test(name) else { return };
    // Everything enters at n1, which has no part in what flows back.
    cluster.route_over(&[0]).expect("the router takes the route");
    const BODY: u64 = 8_000_000;
    let mut seen = 0;
    // On a busy machine a node may miss its probes, and be out for some seconds.
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        let before = sent_bytes(&cluster, 0);
        let download = || async {
            let mut connection = Connection::open((VIP_V4, 80).into(), None, LIMIT).await?;
            let first = connection.get(GREEN, "/", LIMIT).await?;
            let owner = first.echo().and_then(|echo| cluster.node_of(echo.peer));
            if owner == Some(0) {
                return anyhow::Ok((owner, 0));
            }
            let body = connection.get(GREEN, &format!("/bytes/{BODY}"), LIMIT).await?.body;
            Ok((owner, body.len() as u64))
        };
        let outcome = cluster.client().block_on(download).expect("the namespace exists");
        let (owner, length) = outcome.unwrap_or_else(|error| panic!("{error:#}"));
        if owner == Some(0) {
            continue;
        }
        assert_eq!(length, BODY);
        // What n1 does send: the client's acknowledgements, on their way to the owner.
        let sent = sent_bytes(&cluster, 0) - before;
        assert!(sent < BODY / 4, "n1 sent {sent} bytes while {owner:?} answered {BODY}");
        seen += 1;
        if seen == 3 {
            return;
        }
    }
    panic!("n1 takes nearly all connections itself");
}

#[test]
fn an_upload_of_full_segments_fits_through_the_tunnel() {
    let name = "an_upload_of_full_segments_fits_through_the_tunnel";
    let Some((cluster, binaries)) = Cluster::for_test(name) else { return };
    cluster.route_over(&[0]).expect("the router takes the route");
    // Below the largest that routes take unless told otherwise (`proxy-body-size`).
    const BODY: usize = 1_000_000;
    for vip in [IpAddr::from(VIP_V4), VIP_V6.into()] {
        let before = packets(&cluster, &binaries, 0);
        // Until one of them has another owner than n1.
        await_batch(|| {
            let upload = || async { upload((vip, 80).into(), BODY).await };
            let answer = cluster.client().block_on(upload).expect("the namespace exists");
            let echo: testbed::Echo = serde_json::from_str(&answer).expect("a pod answers");
            assert_eq!(echo.body_bytes, BODY as u64);
            let after = packets(&cluster, &binaries, 0);
            assert_eq!(after["relay_failed"], before["relay_failed"], "a segment did not fit");
            after["forwarded"] - before["forwarded"] > BODY as u64 / 2000
        });
    }
}

/// Posts a body of `length` bytes; the body of the answer.
async fn upload(target: SocketAddr, length: usize) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(target).await?;
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {GREEN}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&vec![b'u'; length]).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(LIMIT, exchange).await.expect("in time").expect("answered");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).expect("a head and a body")
}

/// Bytes that the node's interface has sent.
fn sent_bytes(cluster: &Cluster, node: usize) -> u64 {
    let output = cluster
        .node(node)
        .command("ip")
        .args(["-stats", "-json", "link", "show", "eth0"])
        .output()
        .expect("ip runs");
    let links: Value = serde_json::from_slice(&output.stdout).expect("ip prints JSON");
    links[0]["stats64"]["tx"]["bytes"].as_u64().expect("a number of bytes")
}

#[test]
fn traffic_to_the_node_itself_is_left_alone() {
    let name = "traffic_to_the_node_itself_is_left_alone";
    let Some((cluster, binaries)) = Cluster::for_test(name) else { return };
    let node = cluster.nodes().next().expect("there are nodes");
    let own: SocketAddr = (node.fabric(), 9000).into();
    let listener = cluster.node(0).run(|| std::net::TcpListener::bind(own));
    let listener = listener.expect("the namespace exists").expect("the port is free");
    let before = packets(&cluster, &binaries, 0);
    cluster
        .client()
        .block_on(|| async {
            let connect = || tokio::time::timeout(LIMIT, TcpStream::connect(own));
            for _ in 0..20 {
                connect().await.expect("in time").expect("the node's own service accepts");
            }
            drop(listener);
            let refused = connect().await.expect("in time").expect_err("nobody listens");
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        })
        .expect("the client's namespace exists");
    let after = packets(&cluster, &binaries, 0);
    assert!(after["not_vip"] >= before["not_vip"] + 60, "{before:?} {after:?}");
    for reason in ["forwarded", "forwarded_next", "local"] {
        assert_eq!(after[reason], before[reason], "{reason}");
    }
}

#[test]
fn a_port_that_nobody_serves_is_refused() {
    let Some((cluster, _)) = Cluster::for_test("a_port_that_nobody_serves_is_refused") else {
        return;
    };
    let refused = cluster
        .client()
        .block_on(|| async { tokio::time::timeout(LIMIT, TcpStream::connect((VIP_V4, 81))).await })
        .expect("the client's namespace exists")
        .expect("in time")
        .expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// The samples of a metric: labels and value.
fn samples<'t>(text: &'t str, name: &str) -> Vec<(&'t str, u64)> {
    text.lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} "))
        .map(|(labels, value)| (labels, value.parse().expect("a number")))
        .collect()
}

#[test]
fn packets_are_counted_by_virtual_service_and_by_node() {
    let name = "packets_are_counted_by_virtual_service_and_by_node";
    let Some((mut cluster, _)) = Cluster::for_test(name) else { return };
    cluster.route_over(&[0]).expect("the router takes the route");
    await_batch(|| taken(&cluster, &connections(&cluster, VIP_V4.into(), 30)).len() == 3);
    let service = format!("vip=\"{VIP_V4}:80/tcp\"");
    // The last packets of connections may still be on their way.
    await_batch(|| {
        let (status, text) = cluster.agent(0).admin("/metrics").expect("it is served");
        assert_eq!(status, 200);
        let packets = samples(&text, "penstock_l4_packets_total");
        let sum = |of: &dyn Fn(&str) -> bool| -> u64 {
            packets.iter().filter(|(labels, _)| of(labels)).map(|(_, count)| count).sum()
        };
        let first = sum(&|labels| labels.contains("reason=\"forwarded\""));
        let of_service = sum(&|labels| labels.contains(&service) && labels.contains("forward"));
        let nodes = samples(&text, "penstock_l4_forwarded_total");
        let to = |node: &str| -> u64 {
            let node = format!("node=\"{node}\",hop=\"first\"");
            nodes.iter().filter(|(labels, _)| *labels == node).map(|(_, count)| count).sum()
        };
        let members = samples(&text, "penstock_l4_members");
        // Every connection that began here and was sent on has four packets at least.
        of_service >= 4
            && to("n1") == 0
            && to("n2") > 0
            && to("n3") > 0
            && to("n2") + to("n3") == first
            && members.contains(&("state=\"ready\"", 3))
            && !samples(&text, "penstock_l4_table_generation").is_empty()
    });
}
