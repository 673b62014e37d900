//! Why a packet went where it went: one number per way out of the program, the index of the
//! per-CPU counters. The sum over all reasons is the number of packets seen.

use bytemuck::{Pod, Zeroable};

/// What is counted per CPU and reason.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames as they arrived.
    pub bytes: u64,
}
const _: () = assert!(size_of::<Counters>() == 16);

/// What the program does with the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// To the local stack, as it came or out of its tunnel.
    Pass,
    /// Back out, to another node.
    Forward,
    /// Gone.
    Drop,
}

impl Verdict {
    /// The value of the metric label `verdict`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Forward => "forward",
            Self::Drop => "drop",
        }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal, $verdict:ident;)+) => {
        /// A way out of the program.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant = $number,)+
        }

        impl Reason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];
            /// How many there are: the entries of the counter map.
            pub const COUNT: u32 = Self::ALL.len() as u32;

            /// The value of the metric label `reason`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The verdict that the reason stands for.
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$variant => Verdict::$verdict,)+ }
            }
        }
    };
}

reasons! {
    /// Neither IPv4 nor IPv6, or too short to tell its destination.
    NotIp = 0, "not_ip", Pass;
    /// Not for a virtual address, not from a tunnel: none of our business.
    NotVip = 1, "not_vip", Pass;
    /// For a virtual address, but neither TCP, UDP nor ICMP.
    OtherProtocol = 2, "other_protocol", Pass;
    /// For a virtual address, but a port that is not served.
    OtherPort = 3, "other_port", Pass;
    /// A fragment, whose ports cannot be known.
    Fragment = 4, "fragment", Pass;
    /// For a virtual address, but headers that are cut short or contradict themselves: the stack
    /// judges them.
    Malformed = 5, "malformed", Pass;
    /// No table has been published for the group.
    NoTable = 6, "no_table", Pass;
    /// The row has no candidate.
    EmptyRow = 7, "empty_row", Pass;
    /// This node is asked first, and it has the socket.
    Local = 8, "local", Pass;
    /// All candidates were asked; the local stack answers, with a reset if it knows nothing.
    LastResort = 9, "last_resort", Pass;
    /// Out of the tunnel, and this node has the socket.
    Decapsulated = 10, "decapsulated", Pass;
    /// Out of the tunnel, and no hop is left to try.
    DecapsulatedLast = 11, "decapsulated_last", Pass;
    /// Into the tunnel, to the first candidate.
    Forwarded = 12, "forwarded", Forward;
    /// Into the tunnel, because a candidate before did not have the socket or cannot be reached.
    ForwardedNext = 13, "forwarded_next", Forward;
    /// On to the next hop of the tunnel.
    Relayed = 14, "relayed", Forward;
    /// No candidate can be reached. The packet may begin a connection, so the local stack takes it.
    NodeUnusable = 15, "node_unusable", Pass;
    /// A candidate that may own the connection cannot be reached, and nobody else has it. A reset
    /// would end a healthy connection; the client sends again.
    OwnerUnreachable = 16, "owner_unreachable", Drop;
    /// Begins a connection, or is a datagram, and with the tunnel's headers is longer than the path
    /// takes: the local stack takes the packet.
    TooLong = 17, "too_long", Pass;
    /// On the tunnel's port, but not from a node of ours to this node: left alone.
    ForeignTunnel = 18, "foreign_tunnel", Pass;
    /// A tunnel packet, but the program that unpacks them is not in its slot.
    NoDecap = 19, "no_decap", Pass;
    /// From a node of ours, but no tunnel header that we understand.
    BadTunnel = 20, "bad_tunnel", Drop;
    /// In the tunnel was a packet that is not for a virtual service.
    TunnelNotVip = 21, "tunnel_not_vip", Drop;
    /// As [`TooLong`](Self::TooLong), but because the driver gave no room for the tunnel's headers.
    NoHeadroom = 22, "no_headroom", Pass;
    /// The headers could not be written although there was room. The packet is half rewritten, so
    /// that it cannot go anywhere. Not expected to happen.
    RewriteFailed = 23, "rewrite_failed", Drop;
    /// Another node has the connection, if any has it, and cannot be sent to: the packet is too long
    /// for the path, or there is no room for the tunnel's headers. A reset would end a healthy
    /// connection. Or the packet came out of a tunnel, of which the local stack knows nothing.
    RelayFailed = 24, "relay_failed", Drop;
    /// A peer's question whether this node would take a new connection; answered on the spot.
    Probe = 25, "probe", Forward;
    /// ICMP for a virtual address that is no error about a packet of a virtual service, such as an
    /// echo: the stack answers.
    Icmp = 26, "icmp", Pass;
    /// Too long for the tunnel: dropped, and its sender told how long a packet may be.
    TooBig = 27, "too_big", Drop;
    /// As [`TooBig`](Self::TooBig), though the sender allowed the packet to be fragmented.
    TooBigWithoutDf = 28, "too_big_without_df", Drop;
    /// As [`TooBig`](Self::TooBig), but the sender is not told: enough were told just now.
    TooBigQuiet = 29, "too_big_quiet", Drop;
    /// A fragment into the tunnel, to the node where all fragments of its packet meet.
    FragmentHome = 30, "fragment_home", Forward;
    /// A later fragment of a packet whose first one has not been seen. A program cannot wait for it.
    FragmentUnknown = 31, "fragment_unknown", Drop;
    /// A first fragment without the whole transport header (RFC 1858 section 3): a stack that
    /// reassembles it might end another node's connection.
    FragmentShort = 32, "fragment_short", Drop;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_positions() {
        for (position, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, position);
        }
    }

    #[test]
    fn names_differ() {
        for (position, reason) in Reason::ALL.iter().enumerate() {
            assert!(Reason::ALL[..position].iter().all(|other| other.name() != reason.name()));
        }
    }
}
