//! What holds for every frame in every world.

use ingress_common::{Node, NodeId, Reason, limits::tail, node::NODE_USABLE, reason::Verdict};
use ingress_ebpf::{
    Buffer, Outcome, Socket, receive, receive_fragment, receive_icmp, steer, steer_fragment,
    steer_icmp, too_big,
};

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
    // The kernel allows 33, which nobody comes near: entry, tunnel, rare path, answer.
    for calls in 0.. {
        let Outcome::Tail { slot, otherwise } = outcome else { break };
        assert!(calls < 3, "programs go on calling each other");
        assert_eq!(buffer.frame(), frame, "changed before the tail call");
        let sight = sight::packet(frame).expect("only IP is looked at");
        let tunnel = sight.is_of_a_peer(frame, world);
        let expected_tunnel = matches!(slot, tail::DECAP | tail::DECAP_ICMP | tail::DECAP_FRAGMENT);
        assert_eq!(tunnel, expected_tunnel, "slot {slot}");
        outcome = match slot {
            tail::DECAP => {
                assert_eq!(otherwise, Reason::NoDecap);
                receive(&mut buffer, world)
            }
            tail::ICMP => steer_icmp(&mut buffer, world),
            tail::FRAGMENT => steer_fragment(&mut buffer, world),
            tail::DECAP_ICMP => receive_icmp(&mut buffer, world),
            tail::DECAP_FRAGMENT => receive_fragment(&mut buffer, world),
            tail::TOO_BIG => {
                assert!(matches!(otherwise, Reason::RelayFailed | Reason::TooLong));
                too_big(&mut buffer, world)
            }
            other => unreachable!("nobody is in slot {other}"),
        };
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
            // What is cut off already when there is no room for the answer is dropped.
            if reason != Reason::TooBigQuiet {
                assert_eq!(after, before, "{reason:?} changed the frame");
            }
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
            let told = matches!(reason, Reason::TooBig | Reason::TooBigWithoutDf);
            assert_eq!(reason.verdict(), if told { Verdict::Drop } else { Verdict::Forward });
            match reason {
                _ if told => answers_its_sender(world, before, after, interface),
                Reason::Probe => answered(world, before, after, interface),
                _ => sent(world, before, after, interface, reason),
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
    let ours = world.is_virtual(&sight.destination) || sight.is_of_a_peer(before, world);
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
    assert!(world.is_virtual(&inner.destination), "unpacked {inner:?}");
}

/// The lists that a packet may have been sent along, each with how many candidates were tried
/// before it.
fn lists(world: &World, received: Option<&Tunnel>, reason: Reason) -> Vec<(Vec<u16>, u8)> {
    match received {
        Some(tunnel) if reason == Reason::Relayed => vec![(tunnel.hops.clone(), tunnel.tried)],
        // Straight from the client, or from its fragments' home, which decides by its own row.
        _ => [(false, false), (true, false), (false, true)]
            .map(|(opening, datagram)| (world.candidates(0, opening, datagram), 0))
            .into(),
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
fn sent(world: &World, before: &[u8], after: &[u8], interface: u32, reason: Reason) {
    let seen = sight::packet(before).expect("only IP is sent");
    let received = seen
        .is_of_a_peer(before, world)
        .then(|| seen.tunnel(before).expect("a tunnel packet has a header"));
    let inner = received.as_ref().map_or(seen.start, |tunnel| tunnel.inner);
    assert!(received.is_some() || world.is_virtual(&seen.destination));
    let outer = sight::packet(after).expect("an IP packet was sent");
    let tunnel = outer.tunnel(after).expect("a tunnel packet was sent");
    assert_eq!(after[tunnel.inner..], before[inner..], "the client's packet changed");

    let own = world.config.node.0;
    let along = lists(world, received.as_ref(), reason).into_iter().find_map(|(list, tried)| {
        let index = usize::from(tunnel.tried.checked_sub(tried + 1)?);
        let (chosen, rest) = list.get(index..)?.split_first()?;
        let node = reachable(world, *chosen)?;
        let skipped = |id: &u16| *id == own || reachable(world, *id).is_none();
        let hop = node.next_hop.words().map(u16::to_ne_bytes);
        let fits = *chosen != own
            && after[..6] == *hop.as_flattened()
            && list[..index].iter().all(skipped)
            && (tunnel.hops == rest || tunnel.hops.is_empty())
            && tunnel.hops.len() < list.len();
        fits.then_some((*chosen, node))
    });
    let (chosen, node) = along.unwrap_or_else(|| {
        let lists = lists(world, received.as_ref(), reason);
        unreachable!("none of {lists:?} leads to {tunnel:?} for {reason:?}, {received:?}")
    });
    assert!(tunnel.flags & !7 == 0, "flags {:#x}", tunnel.flags);
    let home = tunnel.flags & 4 != 0;
    assert_eq!(home, reason == Reason::FragmentHome);
    assert!(!home || received.is_none(), "a fragment goes home twice");
    if tunnel.flags & 2 != 0 {
        let decided = received.as_ref().is_none_or(|received| received.flags & 4 != 0);
        assert!(world.now < world.groups[0].transition_until && decided);
        assert_eq!((chosen, tunnel.tried), (world.idle.nodes[0].0, 1));
    }
    if let Some(received) = &received {
        // What peers send has the upper bits set already.
        assert_eq!(tunnel.source_port, received.source_port | 0xc000);
        assert_eq!(tunnel.inner_protocol, received.inner_protocol);
        if reason == Reason::Relayed && received.flags & 4 == 0 {
            assert_eq!(tunnel.generation, received.generation);
        }
    }

    outer_headers(world, &seen, before, &outer, after, node, interface);
    let inner = sight::packet(&as_frame(&tunnel, after)).expect("the client's packet is whole");
    let length = inner.length(&as_frame(&tunnel, after));
    assert_eq!(outer.length(after), tunnel.inner - outer.start + length);
    assert!(outer.length(after) <= usize::from(node.mtu));
    if !home {
        comes_out(world, &outer, &tunnel, after, chosen);
    }
}

/// The sender of a packet that is too long is told so: by an ICMP message from the virtual address,
/// about the packet's first bytes, with checksums that hold.
fn answers_its_sender(world: &World, before: &[u8], after: &[u8], interface: u32) {
    assert!(world.answers);
    assert_eq!(interface, world.interface);
    let (seen, answer) = (sight::packet(before), sight::packet(after));
    let seen = seen.expect("only IP is answered");
    let answer = answer.expect("the answer is an IP packet");
    assert!(world.is_virtual(&seen.destination));
    assert_eq!((answer.source, answer.destination), (seen.destination, seen.source));
    assert_eq!((&before[..6], &before[6..12]), (&after[6..12], &after[..6]));
    assert_eq!(before[12..seen.start], after[12..answer.start], "other tags");
    let (header, icmp) = if seen.v6 { (40, 48) } else { (20, 28) };
    assert_eq!(after[answer.start + icmp..], before[seen.start..seen.start + 128]);
    assert_eq!(answer.length(after), icmp + 128);
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum()
    };
    let (ip, message) = after[answer.start..].split_at(header);
    let mut sum = words(message);
    if seen.v6 {
        assert_eq!((ip[6], ip[7], message[0], message[1]), (58, 64, 2, 0));
        sum += words(&ip[8..]) + u32::from(message.len() as u16) + 58;
    } else {
        assert_eq!((ip[9], ip[8], message[0], message[1]), (1, 64, 3, 4));
        assert_eq!(words(ip) % 0xffff, 0, "header's checksum");
    }
    assert_eq!(sum % 0xffff, 0, "message's checksum");
    let told = u32::from(message[6]) << 8 | u32::from(message[7]);
    assert_eq!(told & 0xffff, world.limit.get() & 0xffff);
    assert!(seen.length(before) > world.limit.get() as usize, "it would have fitted");
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
    // Of a node whose two addresses are of two families, which no agent makes: an IPv4 address in an
    // IPv6 header is nobody's.
    if outer.v6 && (outer.source.as_v4().is_some() || outer.destination.as_v4().is_some()) {
        return;
    }
    let mut there = world.clone();
    there.config.node = NodeId(id);
    there.socket = Socket::Known;
    there.stale = false;
    for (address, peer) in &mut there.peers {
        if *address == outer.source {
            peer.local = outer.destination;
        }
    }
    let (outcome, taken) = run(after, 0, &there, false);
    assert_eq!(outcome, Outcome::Done(Reason::Decapsulated));
    assert_eq!(taken[outer.start..], after[tunnel.inner..]);
}
