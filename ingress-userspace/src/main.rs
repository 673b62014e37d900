//! The `penstock` binary: flags in, exit code out.

fn main() {}
