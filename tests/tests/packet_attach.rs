//! Loading, attaching, taking over and unloading, against the kernel. Each test has a network
//! namespace and a BPF directory of its own.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aya::{
    maps::{Array, Map, MapData},
    programs::{SchedClassifier, TcAttachType, links::PinnedLink},
};
use ingress_common::{Group, HashKey, Heart, Reason, limits::ABI_VERSION};
use ingress_userspace::{
    l4::{self, AttachKind, L4Error, Mode, Options, Services, command, object},
    model::Member,
};
use nix::sys::{
    pthread::{pthread_kill, pthread_self},
    signal::Signal,
};
use testbed::requirement;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

const VIP: &str = "203.0.113.1";
const VIP6: &str = "2001:db8:0:1::1";

/// A place for one test: in a fresh namespace, a pair of veth ends `eth0` and `wire`.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// `None`, after saying so, where nothing can be loaded.
    fn new() -> Option<Self> {
        let test = thread::current().name().unwrap_or_default().to_owned();
        requirement::bpf(&test)?;
        assert!(object::embedded().is_some(), "built with PENSTOCK_EBPF_OBJECT");
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root may");
        ip("link set lo up");
        ip("link add eth0 type veth peer name wire");
        ip("link set eth0 up");
        ip("link set wire up");
        ip("address add 10.0.0.1/24 dev eth0");
        Some(Self { directory: tempfile::tempdir().expect("a directory") })
    }

    fn bpf_dir(&self) -> PathBuf {
        self.directory.path().join("penstock")
    }

    fn options(&self, interfaces: &[&str]) -> Options {
        Options {
            mode: Mode::Auto,
            interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
            services: Services {
                addresses: vec![
                    VIP.parse().expect("an address"),
                    VIP6.parse().expect("an address"),
                ],
                tcp: vec![80, 443],
                udp: Vec::new(),
                by_client: false,
            },
            node_name: "n1".to_owned(),
            bpf_dir: self.bpf_dir(),
            tunnel_port: 6082,
            health_port: 10_254,
            key: HashKey([1, 2]),
            members: Vec::new(),
            candidates: 4,
            settings: false,
        }
    }

    fn unload(&self) -> Result<(), L4Error> {
        command::Command::Unload { bpf_dir: self.bpf_dir() }.run(&mut Vec::new())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.bpf_dir().exists() {
            let _ = self.unload();
        }
    }
}

fn ip(arguments: &str) {
    assert!(run(arguments).0, "ip {arguments}");
}

fn run(arguments: &str) -> (bool, String) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("iproute2");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How many tc programs an interface has at its entrance, by links and by filters.
fn tc_programs(interface: &str) -> (usize, usize) {
    let (_, links) =
        SchedClassifier::query_tcx(interface, TcAttachType::Ingress).expect("root may");
    let output = Command::new("tc")
        .args(["filter", "show", "dev", interface, "ingress"])
        .output()
        .expect("iproute2");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (links.len(), text.matches("tc_steer").count())
}

/// The number of the XDP program of an interface, and whether it runs in the driver.
fn attached(interface: &str) -> Option<(u64, bool)> {
    let (_, text) = run(&format!("-json -details link show dev {interface}"));
    let links: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let xdp = links[0].get("xdp")?;
    let program = xdp.get("prog").and_then(|prog| prog.get("id"))?.as_u64()?;
    Some((program, xdp.get("mode").and_then(serde_json::Value::as_u64) == Some(1)))
}

fn loopback_has(address: &str) -> bool {
    run("address show dev lo")
        .1
        .contains(&format!("inet{} {address}/", if address.contains(':') { "6" } else { "" }))
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 60 s: {what}");
        // What is waited for needs the processor.
        thread::sleep(Duration::from_millis(5));
    }
}

/// Another node at the far end of the link: 10.0.0.2 in a network namespace of its own, where every
/// probe of the health port is answered.
struct Peer {
    thread: Option<JoinHandle<()>>,
    end: Option<oneshot::Sender<()>>,
}

impl Peer {
    const MAC: &str = "02:00:00:00:00:02";

    fn start() -> Self {
        let (number, from_thread) = mpsc::channel();
        let (moved, from_test) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root may");
            number.send(nix::unistd::gettid()).expect("the test waits");
            from_test.recv().expect("the test moves the link");
            ip(&format!("link set wire address {}", Self::MAC));
            ip("link set wire up");
            ip("address add 10.0.0.2/24 dev wire");
            number.send(nix::unistd::gettid()).expect("the test waits");
            runtime().block_on(async {
                tokio::select! {
                    () = Self::answer() => {}
                    _ = ended => {}
                }
            });
        });
        let namespace = from_thread.recv().expect("a namespace");
        ip(&format!("link set wire netns {namespace}"));
        moved.send(()).expect("the thread waits");
        from_thread.recv().expect("the link is up");
        Self { thread: Some(thread), end: Some(end) }
    }

    async fn answer() {
        let listener = TcpListener::bind("10.0.0.2:10254").await.expect("a free port");
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            // One that the prober has given up is its own affair.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.end.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || ended.is_some_and(|thread| thread.is_ok()));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn is_mounted(path: &Path) -> bool {
    let path = path.to_string_lossy();
    std::fs::read_to_string("/proc/self/mountinfo")
        .expect("mountinfo")
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(&*path))
}

#[test]
fn what_is_loaded_survives_its_agent_and_unload_removes_all_of_it() {
    let Some(place) = Place::new() else { return };
    let handle = l4::start(place.options(&["eth0"])).expect("started").expect("there are VIPs");
    assert_eq!(handle.status().interfaces["eth0"], AttachKind::Native);
    let (first, native) = attached("eth0").expect("a program");
    assert!(native);
    assert!(loopback_has(VIP) && loopback_has(VIP6));
    drop(handle);

    // The agent is gone; its program, maps and addresses are not.
    assert_eq!(attached("eth0"), Some((first, true)));
    let before = l4::pinned_counters(&place.bpf_dir()).expect("pinned");
    assert_eq!(before.len(), Reason::COUNT as usize);

    // The next one puts its own program in the place of the first.
    let handle = l4::start(place.options(&["eth0"])).expect("started").expect("there are VIPs");
    let (second, native) = attached("eth0").expect("a program");
    assert!(second != first && native);
    drop(handle);

    place.unload().expect("unloaded");
    assert_eq!(attached("eth0"), None);
    assert!(!loopback_has(VIP) && !loopback_has(VIP6));
    assert!(!is_mounted(&place.bpf_dir()) && !place.bpf_dir().exists());
    assert!(matches!(place.unload(), Err(L4Error::NotLoaded { .. })));
}

#[test]
fn a_link_that_another_process_holds_is_said() {
    let Some(place) = Place::new() else { return };
    drop(l4::start(place.options(&["eth0"])).expect("started"));
    let pin = place.bpf_dir().join(format!("v{ABI_VERSION}/link-eth0-native"));
    let held = PinnedLink::from_pin(pin).expect("it is pinned");
    match place.unload() {
        Err(L4Error::StillAttached { interface }) => assert_eq!(interface, "eth0"),
        other => panic!("{other:?}"),
    }
    assert!(attached("eth0").is_some() && !place.bpf_dir().exists());
    drop(held);
    eventually("the last holder has let go", || attached("eth0").is_none());
}

#[test]
fn signals_do_not_keep_the_programs_out() {
    let Some(place) = Place::new() else { return };
    // So that it ends nobody.
    let _heard = runtime().block_on(async { signal(SignalKind::user_defined1()) }).expect("heard");
    let (starting, started) = (pthread_self(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !started.load(Ordering::Relaxed) {
                pthread_kill(starting, Signal::SIGUSR1).expect("the test's thread is there");
                thread::sleep(Duration::from_micros(200));
            }
        });
        let outcome = l4::start(place.options(&["eth0"]));
        started.store(true, Ordering::Relaxed);
        drop(outcome.expect("started"));
    });
    assert!(attached("eth0").is_some());
}

#[test]
fn a_bpf_file_system_that_was_there_before_stays() {
    let Some(place) = Place::new() else { return };
    let (directory, none) = (place.bpf_dir(), nix::mount::MsFlags::empty());
    std::fs::create_dir(&directory).expect("a directory");
    nix::mount::mount(Some("bpf"), &directory, Some("bpf"), none, None::<&str>).expect("root may");
    drop(l4::start(place.options(&["eth0"])).expect("started"));
    place.unload().expect("unloaded");
    let stays = is_mounted(&directory);
    nix::mount::umount(&directory).expect("it is still there");
    assert!(stays);
}

#[test]
fn an_address_that_was_there_before_stays() {
    let Some(place) = Place::new() else { return };
    ip(&format!("address add {VIP}/32 dev lo"));
    drop(l4::start(place.options(&["eth0"])).expect("started"));
    place.unload().expect("unloaded");
    assert!(loopback_has(VIP) && !loopback_has(VIP6));
}

#[test]
fn an_interface_without_native_xdp_gets_the_generic_kind() {
    let Some(place) = Place::new() else { return };
    // The loopback driver has no XDP.
    for mode in [Mode::Auto, Mode::Xdp] {
        let options = Options { mode, ..place.options(&["lo"]) };
        let handle = l4::start(options).expect("started").expect("there are VIPs");
        assert_eq!(handle.status().interfaces["lo"], AttachKind::Generic);
        assert!(attached("lo").is_some_and(|(_, native)| !native));
        assert_eq!(tc_programs("lo"), (0, 0));
        drop(handle);
        place.unload().expect("unloaded");
        eventually("the link is gone", || attached("lo").is_none());
    }
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let Some(place) = Place::new() else { return };
    match l4::start(place.options(&["eth9"])) {
        Err(L4Error::UnknownInterface { interface }) => assert_eq!(interface, "eth9"),
        other => panic!("{:?}", other.map(|handle| handle.is_some())),
    }
}

#[test]
fn an_interface_that_is_no_longer_named_is_left() {
    let Some(place) = Place::new() else { return };
    drop(l4::start(place.options(&["eth0", "wire"])).expect("started"));
    assert!(attached("wire").is_some());
    drop(l4::start(place.options(&["eth0"])).expect("started"));
    assert!(attached("eth0").is_some() && attached("wire").is_none());
}

#[test]
fn an_interface_that_was_made_anew_is_attached_again() {
    let Some(place) = Place::new() else { return };
    drop(l4::start(place.options(&["eth0"])).expect("started"));
    ip("link delete eth0");
    ip("link add eth0 type veth peer name wire");
    ip("link set eth0 up");
    drop(l4::start(place.options(&["eth0"])).expect("started"));
    assert!(attached("eth0").is_some());
}

#[test]
fn nothing_to_do_touches_nothing() {
    let Some(place) = Place::new() else { return };
    let off = Options { mode: Mode::Off, ..place.options(&["eth0"]) };
    assert!(l4::start(off).expect("fine").is_none());
    assert!(l4::start(place.options(&[])).expect("fine").is_none());
    assert!(attached("eth0").is_none() && !place.bpf_dir().exists());
}

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
fn an_interface_that_is_made_anew_under_a_running_agent_is_attached_again() {
    let Some(place) = Place::new() else { return };
    let handle = l4::start(place.options(&["eth0"])).expect("started").expect("there are VIPs");
    ip("link delete eth0");
    ip("link add eth0 type veth peer name wire");
    ip("link set eth0 up");
    eventually("the new eth0 has the program", || attached("eth0").is_some());
    // The old one lives on under another name: what matters is the name.
    ip("link set eth0 down");
    ip("link set eth0 name old0");
    ip("link add eth0 type veth peer name wire2");
    eventually("eth0 has the program, and old0 has not", || {
        attached("eth0").is_some() && attached("old0").is_none()
    });
    drop(handle);
}

#[test]
fn an_interface_gets_one_tc_program_where_tc_is_asked_for() {
    let Some(place) = Place::new() else { return };
    let tc = || Options { mode: Mode::Tc, ..place.options(&["lo"]) };
    let handle = l4::start(tc()).expect("started").expect("there are VIPs");
    assert_eq!(handle.status().interfaces["lo"], AttachKind::Tc);
    assert_eq!((attached("lo"), tc_programs("lo")), (None, (1, 0)));
    drop(handle);
    // The next agent replaces the program of the link, and adds none.
    drop(l4::start(tc()).expect("started"));
    assert_eq!(tc_programs("lo"), (1, 0));
    place.unload().expect("unloaded");
    eventually("the link is gone", || tc_programs("lo") == (0, 0));
}

#[test]
fn the_kind_of_program_can_be_changed_under_an_interface() {
    let Some(place) = Place::new() else { return };
    let tc = || Options { mode: Mode::Tc, ..place.options(&["eth0"]) };
    drop(l4::start(place.options(&["eth0"])).expect("started"));
    assert!(attached("eth0").is_some() && tc_programs("eth0").0 == 0);
    drop(l4::start(tc()).expect("started"));
    eventually("tc has taken the place of XDP", || {
        attached("eth0").is_none() && tc_programs("eth0").0 == 1
    });
    // Whoever leaves the choice does not get tc, whatever was there.
    drop(l4::start(place.options(&["eth0"])).expect("started"));
    eventually("XDP has taken the place of tc", || {
        attached("eth0").is_some_and(|(_, native)| native) && tc_programs("eth0").0 == 0
    });
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
    let load = command::Command::Load { interfaces, vips, ports: vec![80], bpf_dir };
    load.run(&mut Vec::new()).expect("loaded");
    let data = MapData::from_pin(place.bpf_dir().join(format!("v{ABI_VERSION}/HEART")));
    let heart = Array::<_, Heart>::try_from(Map::Array(data.expect("pinned"))).expect("an array");
    assert_eq!(heart.get(&0, 0).expect("read").beat, 0);
}

#[test]
fn generic_xdp_stays_where_it_is_still_wanted() {
    let Some(place) = Place::new() else { return };
    let xdp = Options { mode: Mode::Xdp, ..place.options(&["lo"]) };
    drop(l4::start(xdp).expect("started"));
    let handle = l4::start(place.options(&["lo"])).expect("started").expect("there are VIPs");
    assert_eq!(handle.status().interfaces["lo"], AttachKind::Generic);
    assert!(attached("lo").is_some());
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

/// What a command prints.
fn printed(command: command::Command) -> String {
    let mut out = Vec::new();
    command.run(&mut out).expect("it works");
    String::from_utf8(out).expect("text")
}

fn parsed(arguments: &str, place: &Place) -> command::Command {
    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: command::Command,
    }
    let directory = place.bpf_dir();
    let words = arguments.split(' ').chain(["--bpf-dir", directory.to_str().expect("text")]);
    <Line as clap::Parser>::parse_from(std::iter::once("l4").chain(words)).command
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
