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
    /// Neither IPv4 nor IPv6.
    NotIp = 0, "not_ip", Pass;
    /// Not for a virtual address, not from a tunnel: none of our business.
    NotVip = 1, "not_vip", Pass;
    /// For a virtual address, but no TCP or UDP.
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
    /// The first candidate is this node, and it has the socket.
    Local = 8, "local", Pass;
    /// All candidates were asked; the local stack answers, with a reset if it knows nothing.
    LastResort = 9, "last_resort", Pass;
    /// Out of the tunnel, and this node has the socket.
    Decapsulated = 10, "decapsulated", Pass;
    /// Out of the tunnel, and no hop is left to try.
    DecapsulatedLast = 11, "decapsulated_last", Pass;
    /// Into the tunnel, to the first candidate.
    Forwarded = 12, "forwarded", Forward;
    /// Into the tunnel, because a candidate before did not have the socket.
    ForwardedNext = 13, "forwarded_next", Forward;
    /// On to the next hop of the tunnel.
    Relayed = 14, "relayed", Forward;
    /// The candidate's address is not resolved yet: the local stack takes the packet.
    NodeUnusable = 15, "node_unusable", Pass;
    /// With the tunnel's headers longer than the path takes: the local stack takes the packet.
    TooLong = 16, "too_long", Pass;
    /// On the tunnel's port, but not from a node of ours: left alone.
    ForeignTunnel = 17, "foreign_tunnel", Pass;
    /// From a node of ours, but no tunnel header that we understand.
    BadTunnel = 18, "bad_tunnel", Drop;
    /// Out of the tunnel came a packet that is not for a virtual service.
    TunnelNotVip = 19, "tunnel_not_vip", Drop;
    /// The kernel would not give room for, or take away, the tunnel's headers.
    NoHeadroom = 20, "no_headroom", Drop;
}
