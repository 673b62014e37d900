//! What an agent does while it runs, and what its maps say.

use std::{
    net::IpAddr,
    process::Command,
    time::{Duration, Instant},
};

use ingress_common::Reason;
use ingress_userspace::{
    l4::{self, Services},
    model::Member,
};

use crate::{
    peer::Peer,
    place::{Place, VIP, VIP6, eventually, ip, loopback_has, parsed, printed},
};

#[test]
fn members_become_rows_and_a_silent_peer_loses_its_own() {
    let Some(place) = Place::new() else { return };
    let handle = l4::start(place.options(&["eth0"])).expect("started").expect("there are VIPs");
    assert_eq!(handle.status().rows, [("n1".to_owned(), 65_536)].into());
    let member = |name: &str, address: &str| Member {
        name: name.into(),
        address: address.parse::<IpAddr>().expect("an address"),
        ready: true,
        weight: Member::WEIGHT,
    };
    let _peer = Peer::start();
    ip(&format!("neighbor add 10.0.0.2 lladdr {} dev eth0", Peer::MAC));
    handle.update(&[member("n1", "10.0.0.1"), member("n2", "10.0.0.2")]);
    eventually("n2 has rows and is reachable", || {
        let status = handle.status();
        status.rows.get("n2").is_some_and(|rows| *rows > 30_000)
            && status.nodes.get("n2").is_some_and(|node| node.reachable)
    });
    // A next hop that is known, but takes nothing for the peer.
    ip("neighbor replace 10.0.0.2 lladdr 02:00:00:00:00:99 dev eth0");
    eventually("n2 is silent, and n1 has all rows", || {
        let status = handle.status();
        status.rows.get("n1") == Some(&65_536) && status.rows.get("n2") == Some(&0)
    });
}

#[test]
fn an_address_that_cannot_be_added_keeps_no_other_one_out() {
    let Some(place) = Place::new() else { return };
    let handle = l4::start(place.options(&["eth0"])).expect("started").expect("there are VIPs");
    let services = |addresses: &[&str]| Services {
        addresses: addresses.iter().map(|one| one.parse().expect("an address")).collect(),
        tcp: vec![80],
        udp: Vec::new(),
        by_client: false,
    };
    // The kernel takes no multicast address of IPv6.
    handle.serve(services(&["ff02::1:2", VIP, "203.0.113.99"]));
    eventually("the other one is added", || loopback_has("203.0.113.99"));
    let mut generations = std::collections::BTreeSet::new();
    let reader = handle.reader();
    eventually("the failure is said", || handle.status().error.is_some());
    let steered = |address: &str| {
        reader.services().expect("read").iter().any(|service| service.name.contains(address))
    };
    eventually("the others are steered", || steered("203.0.113.99"));
    // It is tried again each second: no table is published for that.
    let begun = Instant::now();
    eventually("some time has passed", || {
        generations.extend(reader.generations().expect("read"));
        begun.elapsed() > Duration::from_secs(3)
    });
    assert_eq!(generations.len(), 1, "{generations:?}");
    assert!(!steered("ff02"));
    handle.serve(services(&[VIP]));
    eventually("nothing is wrong any more", || handle.status().error.is_none());
    eventually("what is not named any more is gone", || !loopback_has("203.0.113.99"));
}

#[test]
fn a_packet_is_explained_without_an_agent_and_disturbs_no_counter() {
    let Some(place) = Place::new() else { return };
    let mut options = place.options(&["eth0"]);
    let member = |name: &str, address: &str| Member {
        name: name.into(),
        address: address.parse::<IpAddr>().expect("an address"),
        ready: true,
        weight: Member::WEIGHT,
    };
    let _peer = Peer::start();
    ip(&format!("neighbor add 10.0.0.2 lladdr {} dev eth0", Peer::MAC));
    options.members = vec![member("n1", "10.0.0.1"), member("n2", "10.0.0.2")];
    drop(l4::start(options).expect("started"));
    let listener = std::net::TcpListener::bind((VIP, 80)).expect("the address is on lo");

    // Nobody sends packets for the virtual addresses.
    let steered = |place: &Place| {
        let mut counters = l4::pinned_counters(&place.bpf_dir()).expect("pinned");
        counters.retain(|(reason, _)| !matches!(reason, Reason::NotVip | Reason::NotIp));
        counters
    };
    let before = steered(&place);
    let (mut here, mut there) = (0, 0);
    for port in 1000..1016 {
        let line = format!("explain --output json --flow 192.0.2.1:{port}-{VIP}:80");
        let story: serde_json::Value =
            serde_json::from_str(&printed(parsed(&line, &place))).expect("JSON");
        let first = &story["candidates"][0];
        assert_eq!(story["candidates"].as_array().map(Vec::len), Some(2));
        assert_eq!(
            (&story["service"], &first["state"]),
            (&format!("{VIP}:80/tcp").into(), &"ready".into())
        );
        match first["name"].as_str() {
            Some("n1") => {
                here += 1;
                assert_eq!((&story["reason"], &first["own"]), (&"local".into(), &true.into()));
            }
            Some("n2") => {
                there += 1;
                assert_eq!((&story["reason"], &story["node"]), (&"forwarded".into(), &"n2".into()));
                assert_eq!(first["address"], "10.0.0.2");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(here > 0 && there > 0);
    assert_eq!(steered(&place), before);

    drop(listener);
    let text = printed(parsed(&format!("explain --flow 192.0.2.1:1-{VIP}:22 --ack"), &place));
    assert!(text.contains("nothing is steered") && text.contains("pass: other_port"), "{text}");
    let top = printed(parsed("top --once --output json", &place));
    let top: serde_json::Value = serde_json::from_str(&top).expect("JSON");
    assert_eq!(top["nodes"].as_array().map(Vec::len), Some(2));
    assert!(printed(parsed("top --once", &place)).contains("n2"));
}

#[test]
fn rules_that_rewrite_destinations_are_found() {
    let Some(_place) = Place::new() else { return };
    let vips: Vec<IpAddr> = [VIP, VIP6].map(|vip| vip.parse().expect("an address")).into();
    let nft = |rules: &str| {
        let status = Command::new("nft").arg(rules).status().expect("nftables");
        assert!(status.success(), "nft {rules}");
    };
    assert!(l4::translations(&vips).is_empty());
    nft("table ip filter { chain input { type filter hook input priority 0; \
         ip daddr 203.0.113.1 tcp dport 22 drop; }; }");
    nft("table inet other { chain prerouting { type nat hook prerouting priority -100; \
         ip daddr 10.9.9.9 tcp dport 80 dnat ip to 10.0.0.9; }; }");
    assert!(l4::translations(&vips).is_empty(), "{:?}", l4::translations(&vips));
    nft("table inet rewriting { chain services { \
         ip6 daddr 2001:db8:0:1::1 tcp dport 80 dnat ip6 to fd00::9; }; \
         chain prerouting { type nat hook prerouting priority -101; \
         ip daddr 203.0.113.1 tcp dport 80 dnat ip to 10.0.0.9; tcp dport 8080 redirect to 80; }; }");
    let found: Vec<_> = l4::translations(&vips)
        .into_iter()
        .map(|rule| (rule.table, rule.chain, rule.address))
        .collect();
    let rule = |chain: &str, address| ("rewriting".to_owned(), chain.to_owned(), address);
    assert_eq!(
        found,
        [
            rule("prerouting", None),
            rule("prerouting", Some(vips[0])),
            rule("services", Some(vips[1]))
        ]
    );
}
