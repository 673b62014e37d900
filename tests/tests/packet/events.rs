//! What watchers are shown, and that it changes nothing else.

use aya::maps::{Array, MapData, RingBuf};
use ingress_common::{
    Reason,
    limits::tail,
    observe::{
        CaptureFilter, EVENT_SNAP, OBSERVE_CAPTURE, OBSERVE_EVENTS, Observe, SEEN_EVENT,
        SEEN_OPENING, Seen,
    },
};
use testbed::wire::{ACK, SYN};

use crate::bed::{
    Bed, Header, OVER_V4, OWN, OWN_V4, PASS, PEER_V4, TX, UNUSABLE, bed, segment, segment6,
    sent_to, tunnelled,
};

/// Puts a watching program into its slot and says who watches.
fn watch(bed: &mut Bed, observe: Observe, slot: u32, program: &str) {
    bed.xdp_only = true;
    bed.programs.fill("PROGS", slot, program).unwrap();
    let map = bed.programs.object_mut().map_mut("OBSERVE").unwrap();
    Array::<_, Observe>::try_from(map).unwrap().set(0, observe, 0).unwrap();
}

/// What waits in a ring buffer: what is known of each packet, and its bytes.
fn records(ring: &mut RingBuf<MapData>) -> Vec<(Seen, Vec<u8>)> {
    let mut records = Vec::new();
    while let Some(item) = ring.next() {
        let (head, data) = item.split_at(size_of::<Seen>());
        let seen: Seen = bytemuck::pod_read_unaligned(head);
        records.push((seen, data[..seen.snap as usize].to_vec()));
    }
    records
}

fn ring(bed: &mut Bed, name: &str) -> RingBuf<MapData> {
    let map = bed.programs.object_mut().take_map(name).unwrap();
    RingBuf::try_from(map).unwrap()
}

const EVENTS: Observe =
    Observe { flags: OBSERVE_EVENTS, flow_mask: 0, drop_budget: 2, reserved: 0, capture_until: 0 };

#[test]
fn beginnings_and_some_drops_are_events() {
    bed(|bed| {
        watch(bed, EVENTS, tail::EVENTS, "xdp_events");
        let mut ring = ring(bed, "EVENTS");
        for packet in [segment(SYN), segment6(SYN)] {
            bed.row(&packet, &[OVER_V4]);
            bed.forwards(&packet, OVER_V4, &[]);
            let sent = sent_to(OVER_V4, &Header::new(1, &[]), &packet);
            let records = records(&mut ring);
            let [(seen, data)] = &records[..] else { panic!("{records:?}") };
            assert_eq!((seen.reason, seen.action), (Reason::Forwarded as u32, TX));
            assert_eq!(seen.flags, SEEN_OPENING | SEEN_EVENT);
            assert_eq!(seen.bytes as usize, packet.frame().len());
            assert_eq!(seen.left as usize, sent.frame().len());
            assert_eq!(*data, sent.frame()[..sent.frame().len().min(EVENT_SNAP)]);
        }
        // Not a beginning, and no drop.
        let ongoing = segment(ACK);
        bed.row(&ongoing, &[OVER_V4]);
        bed.forwards(&ongoing, OVER_V4, &[]);
        assert!(records(&mut ring).is_empty());
        // The budget is for a second, of which five quick packets see one or two.
        bed.row(&ongoing, &[UNUSABLE, OWN]);
        for _ in 0..5 {
            bed.drops(&ongoing.frame(), Reason::OwnerUnreachable);
        }
        let drops = records(&mut ring);
        assert!((2..=4).contains(&drops.len()), "{drops:?}");
        assert!(drops.iter().all(|(seen, _)| seen.reason == Reason::OwnerUnreachable as u32));
    });
}

/// Peers ask five times a second, which would look like five clients.
#[test]
fn a_peers_question_is_no_event() {
    const PROBE: u8 = 0x20;
    bed(|bed| {
        watch(bed, EVENTS, tail::EVENTS, "xdp_events");
        let mut ring = ring(bed, "EVENTS");
        for (flags, action, reason, events) in
            [(PROBE, TX, Reason::Probe, 0), (0, PASS, Reason::DecapsulatedLast, 1)]
        {
            let header = Header { flags, ..Header::new(1, &[]) };
            let frame = tunnelled((PEER_V4, OWN_V4), 40_123, header.before(&segment(SYN))).frame();
            let run = bed.run(&frame);
            assert_eq!((run.action, run.reason), (action, reason));
            assert_eq!(records(&mut ring).len(), events, "{reason:?}");
        }
    });
}

#[test]
fn a_reader_that_is_late_keeps_no_packet() {
    bed(|bed| {
        watch(bed, EVENTS, tail::EVENTS, "xdp_events");
        let mut ring = ring(bed, "EVENTS");
        let packet = segment(SYN);
        bed.row(&packet, &[OVER_V4]);
        let size = size_of::<Seen>() + EVENT_SNAP + 8;
        let room = 256 * 1024 / 4 * 3 / size;
        for _ in 0..room + 100 {
            bed.forwards(&packet, OVER_V4, &[]);
        }
        let kept = records(&mut ring).len();
        assert!((room..=room + 2).contains(&kept), "{kept} of {room}");
    });
}

#[test]
fn a_capture_shows_what_its_filter_asks_for_and_ends_by_itself() {
    bed(|bed| {
        let mut observe =
            Observe { flags: OBSERVE_CAPTURE, capture_until: u64::MAX, ..Observe::default() };
        watch(bed, observe, tail::CAPTURE, "xdp_capture");
        let mut ring = ring(bed, "CAPTURED");
        let wants = |bed: &mut Bed, reasons: &[Reason], slot, events_only| {
            let reasons = reasons.iter().fold(0, |bits, reason| bits | 1 << *reason as u32);
            let map = bed.programs.object_mut().map_mut("FILTER").unwrap();
            let filter = CaptureFilter { reasons, slot, events_only };
            Array::<_, CaptureFilter>::try_from(map).unwrap().set(0, filter, 0).unwrap();
        };
        let packet = segment(ACK);
        bed.row(&packet, &[OVER_V4]);
        let mut shown = |bed: &mut Bed| {
            bed.forwards(&packet, OVER_V4, &[]);
            records(&mut ring).len()
        };
        let any = CaptureFilter::ANY;
        wants(bed, &[Reason::Forwarded], any, 0);
        assert_eq!(shown(bed), 1);
        wants(bed, &[Reason::Forwarded], 0, 0);
        assert_eq!(shown(bed), 1);
        for (reasons, slot, events_only) in [
            (&[Reason::Local][..], any, 0),
            (&[Reason::Forwarded], 7, 0),
            (&[Reason::Forwarded], any, 1),
        ] {
            wants(bed, reasons, slot, events_only);
            assert_eq!(shown(bed), 0, "{reasons:?} {slot} {events_only}");
        }
        wants(bed, &[Reason::Forwarded], any, 0);
        // Its reader said so long ago that it is there.
        observe.capture_until = 1;
        let map = bed.programs.object_mut().map_mut("OBSERVE").unwrap();
        Array::<_, Observe>::try_from(map).unwrap().set(0, observe, 0).unwrap();
        assert_eq!(shown(bed), 0);
    });
}
