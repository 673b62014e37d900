//! The packet core on the host, against a world made up for it.
#![forbid(unsafe_code)]

mod arbitrary;
mod invariants;
mod seeded;
mod sight;
mod world;
