//! The packet core of the kernel tier: what happens to one frame, as safe code without a kernel.
//!
//! The modules in the order in which a packet meets them:
//!
//! ```text
//! packet, world      what the core needs: bytes, and answers about maps and sockets
//! parse/             bytes → headers
//! connection         headers → the virtual service and the flow
//! pick               a row of candidates → who is asked next
//! tunnel/            to another node, and out of the tunnel again
//! steer              the entry: one frame, one outcome
//! fragment, too_big  rare paths, each a program of its own
//! ```
//!
//! Everything is generic over [`Packet`] and [`World`], so that the programs of `main.rs`, the
//! host's tests and the fuzzer run the same code. The invariant above all others: a frame that is
//! neither for a virtual address nor from a peer's tunnel is left exactly as it came, and nothing
//! about it is judged.
#![no_std]
#![forbid(unsafe_code)]

pub mod checksum;
pub mod connection;
pub mod fragment;
pub mod outcome;
pub mod packet;
pub mod parse;
pub mod pick;
pub mod steer;
pub mod too_big;
pub mod tunnel;
pub mod world;

pub use fragment::{receive_fragment, steer_fragment};
pub use outcome::Outcome;
pub use packet::{Buffer, Packet};
pub use steer::{steer, steer_icmp};
pub use too_big::too_big;
pub use tunnel::{receive, receive_icmp};
pub use world::{Socket, World};
