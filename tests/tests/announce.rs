//! `--announce=l2`: no router spreads the packets; one node answers for the virtual addresses on the
//! link, and all serve.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use testbed::{Cluster, Load, Options, VIP_V4, VIP_V6, get, requirement};

/// For what must happen.
const LIMIT: Duration = Duration::from_secs(60);
const REQUEST: Duration = Duration::from_secs(5);
const BLUE: &str = "blue.example.com";
const VIPS: [IpAddr; 2] = [IpAddr::V4(VIP_V4), IpAddr::V6(VIP_V6)];

fn cluster(test: &str) -> Option<Cluster> {
    let binaries = requirement::cluster(test)?;
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy").join("demo");
    let flags = vec!["--announce=l2".to_owned()];
    let options = Options { nodes: 3, binaries, manifests, flags, ..Options::default() };
    let cluster = Cluster::start(options).expect("the machine lets root make a box");
    cluster.route_on_link().expect("the router takes the routes");
    Some(cluster)
}

/// The node of the pod's client that answers a new connection.
fn owner(cluster: &Cluster, vip: IpAddr) -> Option<usize> {
    let request = || get(SocketAddr::from((vip, 80)), BLUE, "/", REQUEST);
    let answer = cluster.client().block_on(request).expect("the namespace exists");
    answer.ok()?.echo().and_then(|echo| cluster.node_of(echo.peer))
}

/// Whether a new connection is answered, by the agent itself: pods may be on a node that is gone.
fn is_answered(cluster: &Cluster, vip: IpAddr) -> bool {
    let request = || get(SocketAddr::from((vip, 80)), "nobody.example.com", "/", REQUEST);
    cluster.client().block_on(request).expect("the namespace exists").is_ok()
}

/// Who announces the address, if all these nodes agree.
fn announcer(cluster: &mut Cluster, nodes: &[usize], vip: IpAddr) -> Option<usize> {
    let names: Vec<String> = cluster.nodes().map(|node| node.name()).collect();
    let mut said = BTreeSet::new();
    for node in nodes {
        let (_, body) = cluster.agent(*node).admin("/state").ok()?;
        let state: Value = serde_json::from_str(&body).expect("JSON");
        let name = state["steering"]["announcers"][vip.to_string()].as_str()?.to_owned();
        said.insert(names.iter().position(|known| *known == name)?);
    }
    said.pop_first().filter(|_| said.is_empty())
}

/// Waits until the router has the address where these nodes say that it is announced.
fn await_holder(cluster: &mut Cluster, nodes: &[usize], vip: IpAddr) -> usize {
    let deadline = Instant::now() + LIMIT;
    loop {
        let announcer = announcer(cluster, nodes, vip);
        let holder = cluster.holder(vip).expect("the router is there");
        match (announcer, holder) {
            (Some(announcer), Some(holder)) if announcer == holder => return holder,
            _ => {}
        }
        assert!(
            Instant::now() < deadline,
            "{vip} is with {holder:?}, and {announcer:?} announces it"
        );
        // Whoever does not know asks when there is something to send.
        if holder.is_none() {
            let _ = is_answered(cluster, vip);
        }
    }
}

/// Waits until the router has the address where it is announced now, elsewhere than before.
fn await_other(cluster: &mut Cluster, nodes: &[usize], vip: IpAddr, before: usize) {
    let deadline = Instant::now() + LIMIT;
    while await_holder(cluster, nodes, vip) == before {
        assert!(Instant::now() < deadline, "{vip} stays with {before}");
    }
}

#[test]
fn one_node_answers_for_an_address_and_all_share_the_connections() {
    let name = "one_node_answers_for_an_address_and_all_share_the_connections";
    let Some(mut cluster) = cluster(name) else { return };
    for vip in VIPS {
        // Were there two that answer, each would be heard first now and then.
        let deadline = Instant::now() + LIMIT;
        let mut last = None;
        let mut alike = 0;
        while alike < 30 {
            assert!(Instant::now() < deadline, "{vip}: only {alike} answers in a row are alike");
            cluster.forget_holders().expect("the router is there");
            let _ = is_answered(&cluster, vip);
            let holder = cluster.holder(vip).expect("the router is there");
            alike = if holder.is_some() && holder == last { alike + 1 } else { 0 };
            last = holder;
        }
        let holder = await_holder(&mut cluster, &[0, 1, 2], vip);
        let mut owners = BTreeSet::new();
        while owners.len() < 3 {
            assert!(Instant::now() < deadline + LIMIT, "{vip}: {owners:?} take connections");
            owners.extend(owner(&cluster, vip));
        }
        assert!(owners.contains(&holder));
    }
}

#[test]
fn another_node_takes_over_from_one_that_dies() {
    let Some(mut cluster) = cluster("another_node_takes_over_from_one_that_dies") else { return };
    let [vip, _] = VIPS;
    let _ = is_answered(&cluster, vip);
    let first = await_holder(&mut cluster, &[0, 1, 2], vip);
    let client = cluster.client().clone();
    let target = SocketAddr::from((vip, 80));
    let pause = Duration::from_millis(2);
    let load = Load { target, host: BLUE, kept: 0, anew: 4, pause };
    let others: Vec<usize> = (0..3).filter(|node| *node != first).collect();
    // The agent is killed: what still comes in there is steered, so that nothing new fails.
    let (killed, events) = load
        .run(&client, |progress| {
            progress.await_successes(100, LIMIT)?;
            cluster.agent(first).crash()?;
            let killed = Instant::now();
            await_other(&mut cluster, &others, vip, first);
            println!("an agent dies: taken over after {:?}", killed.elapsed());
            progress.await_successes(200, LIMIT)?;
            anyhow::Ok(killed)
        })
        .expect("the load runs");
    let killed = killed.unwrap_or_else(|error| panic!("{error:#}"));
    for event in events.iter().filter(|event| event.begun >= killed) {
        assert!(event.outcome.is_ok(), "{event:?}");
    }

    // All of the node is gone.
    cluster.agent(first).start().expect("started");
    cluster.await_ready(first).expect("ready");
    cluster.await_whole().expect("all nodes steer to each other");
    for vip in VIPS {
        let _ = is_answered(&cluster, vip);
        let holder = await_holder(&mut cluster, &[0, 1, 2], vip);
        let others: Vec<usize> = (0..3).filter(|node| *node != holder).collect();
        cluster.link(holder, false).expect("down");
        let gone = Instant::now();
        await_other(&mut cluster, &others, vip, holder);
        println!("a node dies: {vip} taken over after {:?}", gone.elapsed());
        let deadline = Instant::now() + LIMIT;
        let mut served = 0;
        while served < 5 {
            assert!(Instant::now() < deadline, "{vip} is not served after the take-over");
            served = if is_answered(&cluster, vip) { served + 1 } else { 0 };
        }
        cluster.link(holder, true).expect("up");
        cluster.await_whole().expect("all nodes steer to each other");
    }
}
