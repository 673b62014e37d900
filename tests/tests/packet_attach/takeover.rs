//! One agent after another, of this version or of others.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use aya::maps::{Array, Map, MapData};
use ingress_common::{Group, Heart, limits::ABI_VERSION};
use ingress_userspace::l4::{self, L4Error, Options, command};

use crate::place::{Place, VIP, VIP6, attached, eventually, is_mounted, loopback_has};

#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let Some(place) = Place::new() else { return };
    for interfaces in [&["eth0", "eth9"][..], &["eth9"]] {
        assert!(l4::start(place.options(interfaces)).is_err());
        assert_eq!(attached("eth0"), None);
        assert!(!loopback_has(VIP) && !loopback_has(VIP6));
        assert!(!is_mounted(&place.bpf_dir()) && !place.bpf_dir().exists());
    }
    // Found out only when the first interface has its program.
    let other = tempfile::tempdir().expect("a directory");
    let other = other.path().join("penstock");
    let taken = Options { bpf_dir: other.clone(), ..place.options(&["wire"]) };
    drop(l4::start(taken).expect("started"));
    let busy = l4::start(place.options(&["eth0", "wire"]));
    assert!(matches!(busy, Err(L4Error::InterfaceBusy { .. })));
    assert_eq!(attached("eth0"), None);
    assert!(!is_mounted(&place.bpf_dir()) && !place.bpf_dir().exists());
    assert!(attached("wire").is_some() && loopback_has(VIP));
    command::Command::Unload { bpf_dir: other }.run(&mut Vec::new()).expect("unloaded");
}

#[test]
fn a_start_that_fails_leaves_what_an_earlier_agent_pinned() {
    let Some(place) = Place::new() else { return };
    drop(l4::start(place.options(&["eth0"])).expect("started"));
    let before = attached("eth0");
    assert!(l4::start(place.options(&["eth0", "eth9"])).is_err());
    assert!(before.is_some() && attached("eth0") == before);
    assert!(loopback_has(VIP) && loopback_has(VIP6));
}

#[test]
fn an_agent_takes_over_from_one_of_an_older_version() {
    let Some(place) = Place::new() else { return };
    drop(l4::start(place.options(&["eth0", "wire"])).expect("started"));
    let (first, _) = attached("eth0").expect("a program");
    let current = place.bpf_dir().join(format!("v{ABI_VERSION}"));
    let older = place.bpf_dir().join(format!("v{}", ABI_VERSION - 1));
    std::fs::rename(&current, &older).expect("pins can be moved");

    // Watched all the time: the interface is never without a program.
    let (done, without) = (AtomicBool::new(false), AtomicBool::new(false));
    let namespace = std::fs::File::open("/proc/thread-self/ns/net").expect("a namespace");
    thread::scope(|scope| {
        scope.spawn(|| {
            nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET).expect("root may");
            while !done.load(Ordering::Relaxed) {
                without.fetch_or(attached("eth0").is_none(), Ordering::Relaxed);
            }
        });
        let started = l4::start(place.options(&["eth0"]));
        done.store(true, Ordering::Relaxed);
        drop(started.expect("started"));
    });
    assert!(!without.load(Ordering::Relaxed));
    let (second, native) = attached("eth0").expect("a program");
    assert!(second != first && native);
    assert!(current.join("link-eth0-native").exists() && !older.exists());
    eventually("the interface that is not named is left", || attached("wire").is_none());
    // What the older one added is taken away by the newer one's end.
    assert!(loopback_has(VIP) && loopback_has(VIP6));
    place.unload().expect("unloaded");
    assert!(attached("eth0").is_none() && !loopback_has(VIP) && !loopback_has(VIP6));
}

#[test]
fn an_agent_that_fails_to_take_over_keeps_what_its_programs_need() {
    let Some(place) = Place::new() else { return };
    drop(l4::start(place.options(&["eth0"])).expect("started"));
    let current = place.bpf_dir().join(format!("v{ABI_VERSION}"));
    let older = place.bpf_dir().join(format!("v{}", ABI_VERSION - 1));
    std::fs::rename(&current, &older).expect("pins can be moved");
    // Another's program is on the second interface.
    let other = place.bpf_dir().with_file_name("other");
    let taken = Options { bpf_dir: other.clone(), ..place.options(&["wire"]) };
    drop(l4::start(taken).expect("started"));
    assert!(l4::start(place.options(&["eth0", "wire"])).is_err());
    // The link has the new program already, whose other programs go with the last pin of their map.
    assert!(attached("eth0").is_some());
    assert!(current.join("link-eth0-native").exists() && current.join("PROGS").exists());
    let group = || -> Group {
        let data = MapData::from_pin(current.join("GROUPS")).expect("pinned");
        let groups = Array::<_, Group>::try_from(Map::Array(data)).expect("an array");
        groups.get(&0, 0).expect("read")
    };
    let before = group();
    assert_eq!(before.ready, 1);
    // Whoever tries again finishes it, on the table that is there.
    drop(l4::start(place.options(&["eth0"])).expect("started"));
    assert_eq!(group().generation, before.generation + 1);
    assert!(group().transition_until != 0, "it follows the table before");
    assert!(current.join("link-eth0-native").exists() && !older.exists());
    command::Command::Unload { bpf_dir: other }.run(&mut Vec::new()).expect("unloaded");
    place.unload().expect("unloaded");
}

#[test]
fn there_is_one_agent_at_a_time() {
    let Some(place) = Place::new() else { return };
    let first = l4::start(place.options(&["eth0"])).expect("started").expect("there are VIPs");
    match l4::start(place.options(&["eth0"])) {
        Err(L4Error::AnotherAgent { path }) => assert_eq!(path, place.bpf_dir()),
        other => panic!("{:?}", other.map(|handle| handle.is_some())),
    }
    assert!(attached("eth0").is_some() && loopback_has(VIP), "the first goes on");
    drop(first);
    // It ends soon, and is waited for.
    drop(l4::start(place.options(&["eth0"])).expect("started"));
}

#[test]
fn what_is_loaded_by_hand_misses_no_agent() {
    let Some(place) = Place::new() else { return };
    drop(l4::start(place.options(&["eth0"])).expect("started"));
    let (interfaces, bpf_dir) = (vec!["eth0".to_owned()], place.bpf_dir());
    let vips = vec![VIP.parse().expect("an address")];
    let load = command::Command::Load {
        interfaces,
        vips,
        l4: command::Where::Auto,
        ports: vec![80],
        bpf_dir,
    };
    load.run(&mut Vec::new()).expect("loaded");
    let data = MapData::from_pin(place.bpf_dir().join(format!("v{ABI_VERSION}/HEART")));
    let heart = Array::<_, Heart>::try_from(Map::Array(data.expect("pinned"))).expect("an array");
    assert_eq!(heart.get(&0, 0).expect("read").beat, 0);
}

#[test]
fn what_a_newer_version_attached_is_left_to_it() {
    let Some(place) = Place::new() else { return };
    drop(l4::start(place.options(&["eth0"])).expect("started"));
    let before = attached("eth0");
    let current = place.bpf_dir().join(format!("v{ABI_VERSION}"));
    let newer = place.bpf_dir().join(format!("v{}", ABI_VERSION + 1));
    std::fs::rename(&current, &newer).expect("pins can be moved");
    match l4::start(place.options(&["eth0"])) {
        Err(L4Error::AbiMismatch { found, needed, .. }) => {
            assert_eq!((found, needed), (ABI_VERSION + 1, ABI_VERSION));
        }
        other => panic!("{:?}", other.map(|handle| handle.is_some())),
    }
    assert!(before.is_some() && attached("eth0") == before && newer.exists());
}
