//! The agent's side of the kernel tier.

pub mod object;
