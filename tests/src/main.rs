//! The demo, and what keeps the machine clean after it.
#![forbid(unsafe_code)]

fn main() {}
