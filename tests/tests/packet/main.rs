//! The kernel tier's packet path in the kernel: the real programs, on crafted packets, with real
//! sockets where a look-up must find them. Of each run the verdict, every byte of the frame and
//! the one counter that moved are checked.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test stops where its set-up fails")]

mod affinity;
mod bed;
mod counters;
mod decapsulate;
mod events;
mod extensions;
mod fixtures;
mod flows;
mod foreign;
mod forward;
mod fragments;
mod heart;
mod icmp;
mod malformed;
mod memory;
mod probe;
mod random;
mod sockets;
mod table;
mod too_big;
mod transition;
mod tunnel;
mod verifier;
