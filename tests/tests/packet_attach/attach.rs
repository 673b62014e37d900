//! Programs come to interfaces, and go.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use aya::programs::links::PinnedLink;
use ingress_common::{Reason, limits::ABI_VERSION};
use ingress_userspace::l4::{self, AttachKind, L4Error, Mode, Options};
use nix::sys::{
    pthread::{pthread_kill, pthread_self},
    signal::Signal,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::place::{
    Place, VIP, VIP6, attached, eventually, ip, is_mounted, loopback_has, runtime, tc_programs,
};

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
fn generic_xdp_stays_where_it_is_still_wanted() {
    let Some(place) = Place::new() else { return };
    let xdp = Options { mode: Mode::Xdp, ..place.options(&["lo"]) };
    drop(l4::start(xdp).expect("started"));
    let handle = l4::start(place.options(&["lo"])).expect("started").expect("there are VIPs");
    assert_eq!(handle.status().interfaces["lo"], AttachKind::Generic);
    assert!(attached("lo").is_some());
}
