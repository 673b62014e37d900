//! The changes.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{LIMIT, Stage};
use crate::Named;

/// A change, and what it is called.
#[derive(Clone, Copy)]
pub struct Case {
    /// For the table.
    pub name: &'static str,
    /// How many nodes there are to begin with.
    pub nodes: usize,
    /// The nodes that lose their connections by it.
    pub dies: &'static [usize],
    /// Does it.
    pub(super) change: fn(&mut Stage<'_>) -> Result<()>,
}

const fn case(name: &'static str, change: fn(&mut Stage<'_>) -> Result<()>) -> Case {
    Case { name, nodes: 5, dies: &[], change }
}

const fn deadly(name: &'static str, change: fn(&mut Stage<'_>) -> Result<()>) -> Case {
    Case { name, nodes: 5, dies: &[VICTIM], change }
}

/// The node that something happens to, and another one.
const VICTIM: usize = 1;
const OTHER: usize = 2;
const ALL: [usize; 5] = [0, 1, 2, 3, 4];

/// A Service that brings one more virtual address.
const FRONT: &str = "apiVersion: v1
kind: Service
metadata: {namespace: edge, name: front}
spec: {type: LoadBalancer, loadBalancerClass: penstock.dev/xdp, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.99}]}}
";

/// All of them.
pub const CASES: &[Case] = &[
    case("nothing", |_| Ok(())),
    case("the router leaves out a node", |stage| stage.cluster.route_over(&[0, 2, 3, 4])),
    case("a node drains", |stage| stage.name(&ALL, &draining(5, &[VICTIM]))),
    case("a node drains and the router leaves it out", |stage| {
        stage.cluster.route_over(&[0, 2, 3, 4])?;
        stage.name(&ALL, &draining(5, &[VICTIM]))
    }),
    Case { nodes: 4, ..case("a node joins", |stage| stage.name(&ALL, &draining(5, &[]))) },
    Case {
        nodes: 4,
        ..case("one drains, one joins", |stage| stage.name(&ALL, &draining(5, &[VICTIM])))
    },
    Case {
        nodes: 4,
        ..case("two drain, one joins", |stage| stage.name(&ALL, &draining(5, &[VICTIM, OTHER])))
    },
    Case {
        nodes: 4,
        ..case("one drains, one joins, one node does not know", |stage| {
            stage.name(&ALL[1..], &draining(5, &[VICTIM]))
        })
    },
    case("two drain, one node does not know", |stage| {
        stage.name(&ALL[1..], &draining(5, &[VICTIM, OTHER]))
    }),
    case("the table changes 20 times", |stage| {
        for turn in 0..20 {
            let mut members = Named::all(ALL);
            members[turn % 5].weight = 20;
            stage.name(&ALL, &members)?;
        }
        Ok(())
    }),
    case("a virtual address comes and goes", |stage| {
        stage.cluster.manifests().write("front.yaml", FRONT)?;
        stage.addressed(true)?;
        stage.rounds(1)?;
        stage.cluster.manifests().remove("front.yaml")?;
        stage.addressed(false)
    }),
    case("an agent is told to stop (SIGTERM)", |stage| {
        stage.cluster.agent(VICTIM).signal(Signal::SIGTERM)
    }),
    case("an agent is stopped and started again", |stage| {
        stage.cluster.agent(VICTIM).stop()?;
        stage.rounds(1)?;
        stage.cluster.agent(VICTIM).start()?;
        stage.cluster.await_ready(VICTIM)
    }),
    deadly("an agent is killed (SIGKILL)", |stage| stage.cluster.agent(VICTIM).crash()),
    deadly("an agent hangs for five seconds (SIGSTOP)", |stage| {
        stage.cluster.agent(VICTIM).signal(Signal::SIGSTOP)?;
        // Nothing tells when a hang has been noticed by all: this is what is measured.
        std::thread::sleep(Duration::from_secs(5));
        stage.cluster.agent(VICTIM).signal(Signal::SIGCONT)
    }),
    deadly("a node's link goes down", |stage| {
        stage.cluster.link(VICTIM, false)?;
        // The router sees its port go down.
        stage.cluster.route_over(&[0, 2, 3, 4])?;
        for node in [0, 2, 3, 4] {
            stage.cluster.agent(node).await_steering("without the node", LIMIT, |steering| {
                let nodes = steering["nodes"].as_array().map_or(&[][..], Vec::as_slice);
                nodes.iter().any(|node| node["name"] == "n2" && node["state"] == "dead")
            })?;
        }
        Ok(())
    }),
];

fn draining(count: usize, which: &[usize]) -> Vec<Named> {
    let mut members = Named::all(0..count);
    for member in &mut members {
        member.draining = which.contains(&member.node);
    }
    members
}
