//! What holds for every frame in every world.

use ingress_common::{Node, NodeId, Reason, limits::tail, node::NODE_USABLE, reason::Verdict};
use ingress_ebpf::{Buffer, Outcome, Socket, receive, steer};

use crate::{
    arbitrary::{self, Source},
    sight::{self, Sight, Tunnel},
    world::World,
};

/// Makes a world and a frame out of `input`, runs the core and checks what it did. Returns the
/// reason of the frame's way out.
///
/// # Panics
/// If an invariant does not hold.
pub(crate) fn check(input: &[u8]) -> Reason {
    let mut source = Source::new(input);
    let world = arbitrary::world(&mut source);
    let (frame, headroom) = arbitrary::frame(&mut source);

    // The second program must not depend on who calls it.
    let (outcome, after) = run(&frame, headroom, &world, true);
    examine(&world, &frame, outcome, &after, true);

    let (outcome, after) = run(&frame, headroom, &world, false);
    examine(&world, &frame, outcome, &after, false)
}

/// Runs the core as the kernel's programs do, or, `unpack`, the second of them alone.
fn run(frame: &[u8], headroom: usize, world: &World, unpack: bool) -> (Outcome, Vec<u8>) {
    let mut memory = vec![0xff; headroom];
    memory.extend(frame);
    let mut buffer = Buffer::new(&mut memory, headroom);
    let mut outcome = if unpack { receive(&mut buffer, world) } else { steer(&mut buffer, world) };
    if let Outcome::Tail { slot, otherwise } = outcome {
        assert!(!unpack, "a tail call from its own target");
        assert_eq!((slot, otherwise), (tail::DECAP, Reason::NoDecap));
        assert_eq!(buffer.frame(), frame, "changed before the tail call");
        let sight = sight::packet(frame).expect("only IP is unpacked");
        assert!(sight.is_of_a_peer(frame, world), "a stranger's packet is unpacked");
        outcome = receive(&mut buffer, world);
    }
    (outcome, buffer.frame().to_vec())
}

fn examine(world: &World, before: &[u8], outcome: Outcome, after: &[u8], unpack: bool) -> Reason {
    match outcome {
        Outcome::Done(reason @ (Reason::Decapsulated | Reason::DecapsulatedLast)) => {
            taken(world, before, after);
            reason
        }
        Outcome::Done(reason) => {
            assert_eq!(after, before, "{reason:?} changed the frame");
            assert_ne!(reason.verdict(), Verdict::Forward);
            assert_ne!(reason, Reason::RewriteFailed);
            if matches!(reason, Reason::TooLong | Reason::NoHeadroom | Reason::NodeUnusable) {
                may_be_answered_here(before);
            }
            if unpack {
                let of_a_peer =
                    sight::packet(before).is_some_and(|sight| sight.is_of_a_peer(before, world));
                let left_alone = matches!(reason, Reason::NotIp | Reason::ForeignTunnel);
                assert_eq!(left_alone, !of_a_peer, "{reason:?}");
            } else {
                left_alone_if_foreign(world, before, reason);
            }
            reason
        }
        Outcome::Send { reason, interface } => {
            assert_eq!(reason.verdict(), Verdict::Forward);
            match reason {
                Reason::Probe => answered(world, before, after, interface),
                _ => sent(world, before, after, interface),
            }
            reason
        }
        Outcome::Tail { .. } => unreachable!("a tail call's target calls on"),
    }
}

/// A stack that does not have a connection would end it with a reset.
fn may_be_answered_here(before: &[u8]) {
    let sight = sight::packet(before).expect("only IP is steered");
    let flags = sight.tcp_flags(before);
    assert!(
        flags.is_none_or(|flags| flags & 0x16 == 0x02),
        "flags {flags:02x?} left to a stranger"
    );
}

/// The invariant above all others, told from the other side: which packets may be judged at all.
fn left_alone_if_foreign(world: &World, before: &[u8], reason: Reason) {
    let foreign = [Reason::NotVip, Reason::ForeignTunnel];
    let Some(sight) = sight::packet(before) else {
        assert_eq!(reason, Reason::NotIp);
        return;
    };
    let ours =
        world.vip_addresses.contains(&sight.destination) || sight.is_of_a_peer(before, world);
    assert_eq!(foreign.contains(&reason), !ours, "{reason:?} for {sight:?}");
}

/// The link-layer header stays, the outer headers go, all behind them stays.
fn taken(world: &World, before: &[u8], after: &[u8]) {
    let sight = sight::packet(before).expect("a tunnel packet is an IP packet");
    assert!(sight.is_of_a_peer(before, world));
    let tunnel = sight.tunnel(before).expect("a tunnel packet has a header");
    let protocol = match tunnel.inner_protocol {
        4 => [0x08, 0x00],
        41 => [0x86, 0xdd],
        other => unreachable!("inner protocol {other} was accepted"),
    };
    let expected = [&before[..sight.start - 2], &protocol, &before[tunnel.inner..]].concat();
    assert_eq!(after, expected);
    let inner = sight::packet(after).expect("the client's packet is an IP packet");
    assert!(world.vip_addresses.contains(&inner.destination), "unpacked {inner:?}");
}

/// Where a packet that is sent on came from: its first byte, the candidates that were left, and
/// what its tunnel header said.
struct Origin {
    inner: usize,
    candidates: Vec<u16>,
    tunnel: Option<Tunnel>,
}

impl Origin {
    fn of(world: &World, sight: &Sight, before: &[u8]) -> Self {
        if sight.is_of_a_peer(before, world) {
            let tunnel = sight.tunnel(before).expect("a tunnel packet has a header");
            Self { inner: tunnel.inner, candidates: tunnel.hops.clone(), tunnel: Some(tunnel) }
        } else {
            assert!(world.vip_addresses.contains(&sight.destination));
            let row = world.row.nodes.map(|id| id.0).into_iter();
            let candidates = row.take_while(|id| *id != 0).collect();
            Self { inner: sight.start, candidates, tunnel: None }
        }
    }
}

/// A peer's question goes back to it: addresses and ports change places, the flags and perhaps the
/// checksum are others, and nothing else is.
fn answered(world: &World, before: &[u8], after: &[u8], interface: u32) {
    assert_eq!(interface, world.interface);
    let (question, answer) = (sight::packet(before), sight::packet(after));
    let question = question.expect("only IP is answered");
    let answer = answer.expect("an IP packet was sent");
    assert!(question.is_of_a_peer(before, world));
    assert_eq!((question.source, question.destination), (answer.destination, answer.source));
    assert_eq!(before.len(), after.len());
    assert_eq!((&before[..6], &before[6..12]), (&after[6..12], &after[..6]));
    let tunnel = question.tunnel(before).expect("a tunnel packet has a header");
    assert_eq!(before[12..question.start], after[12..question.start]);
    // Of the tunnel header, the flags alone.
    let header = tunnel.inner - ingress_common::TunnelHeader::LEN;
    assert_eq!(before[header..header + 2], after[header..header + 2]);
    assert!(matches!(after[header + 2], 0x40 | 0xc0), "flags {:#x}", after[header + 2]);
    assert_eq!(before[header + 3..], after[header + 3..]);
}

/// The client's packet stays to the byte; before it are headers to a candidate that can be reached,
/// with fewer candidates than there were.
fn sent(world: &World, before: &[u8], after: &[u8], interface: u32) {
    let seen = sight::packet(before).expect("only IP is sent");
    let origin = Origin::of(world, &seen, before);
    let outer = sight::packet(after).expect("an IP packet was sent");
    let tunnel = outer.tunnel(after).expect("a tunnel packet was sent");
    assert_eq!(after[tunnel.inner..], before[origin.inner..], "the client's packet changed");

    let tried = origin.tunnel.as_ref().map_or(0, |tunnel| tunnel.tried);
    let index = usize::from(tunnel.tried - tried) - 1;
    let (chosen, rest) = origin.candidates[index..].split_first().expect("a candidate is chosen");
    let passed = &origin.candidates[..index];
    let node = reachable(world, *chosen).expect("the candidate can be reached");
    let own = world.config.node.0;
    assert_ne!(*chosen, own);
    assert!(passed.iter().all(|id| *id == own || reachable(world, *id).is_none()), "{passed:?}");
    assert!(tunnel.hops == rest || tunnel.hops.is_empty(), "{:?} of {rest:?}", tunnel.hops);
    assert!(tunnel.hops.len() < origin.candidates.len(), "the list does not shrink");
    if let Some(received) = &origin.tunnel {
        // What peers send has the upper bits set already.
        assert_eq!(tunnel.source_port, received.source_port | 0xc000);
        assert_eq!(tunnel.generation, received.generation);
        assert_eq!(tunnel.inner_protocol, received.inner_protocol);
        assert_eq!(tunnel.hops, rest);
    }

    outer_headers(world, &seen, before, &outer, after, node, interface);
    let inner = sight::packet(&as_frame(&tunnel, after)).expect("the client's packet is whole");
    let length = inner.length(&as_frame(&tunnel, after));
    assert_eq!(outer.length(after), tunnel.inner - outer.start + length);
    assert!(outer.length(after) <= usize::from(node.mtu));
    comes_out(world, &outer, &tunnel, after, *chosen);
}

fn reachable(world: &World, id: u16) -> Option<&Node> {
    world.nodes.get(usize::from(id)).filter(|node| node.flags & NODE_USABLE != 0)
}

fn outer_headers(
    world: &World,
    seen: &Sight,
    before: &[u8],
    outer: &Sight,
    after: &[u8],
    node: &Node,
    interface: u32,
) {
    assert_eq!(interface, node.ifindex);
    let macs = [node.next_hop, node.source_mac].map(|mac| mac.words().map(u16::to_ne_bytes));
    assert_eq!(after[..12], *macs.as_flattened().as_flattened());
    if interface == world.interface {
        assert_eq!(after[12..outer.start - 2], before[12..seen.start - 2], "other tags");
    } else {
        assert_eq!(outer.start, 14, "tags on another interface");
    }
    assert_eq!((outer.source, outer.destination), (node.source, node.address));
    let header = &after[outer.start..];
    assert_eq!(header[if outer.v6 { 7 } else { 8 }], 8, "hop limit");
    if !outer.v6 {
        let words = header[..20].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        assert_eq!(words.sum::<u32>() % 0xffff, 0, "checksum");
    }
}

/// The client's packet in a plain frame.
fn as_frame(tunnel: &Tunnel, after: &[u8]) -> Vec<u8> {
    let protocol = if tunnel.inner_protocol == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    [&[0; 12][..], &protocol, &after[tunnel.inner..]].concat()
}

/// The node that a packet was sent to gets the client's packet out of it.
fn comes_out(world: &World, outer: &Sight, tunnel: &Tunnel, after: &[u8], id: u16) {
    let mut there = world.clone();
    there.config.node = NodeId(id);
    there.socket = Socket::Known;
    for (address, peer) in &mut there.peers {
        if *address == outer.source {
            peer.local = outer.destination;
        }
    }
    let (outcome, taken) = run(after, 0, &there, false);
    assert_eq!(outcome, Outcome::Done(Reason::Decapsulated));
    assert_eq!(taken[outer.start..], after[tunnel.inner..]);
}
