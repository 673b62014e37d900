//! From a request's host and path to its route. Knows no connection and no header but `Host`.
//! Finding costs time in proportion to the path, however many routes there are; on a host in regex
//! mode, to the number of its patterns that begin like the path too.
#![forbid(unsafe_code)]

mod compiled;
mod host;
mod names;
mod normalize;
mod octets;
mod pattern;
mod regexes;
mod rewrite;
mod table;
mod tree;

#[cfg(test)]
mod tests;

pub use compiled::{CompiledRoute, Found};
pub use host::HostTable;
pub(crate) use names::Names;
pub use normalize::{BadPath, normalize};
pub(crate) use octets::{escape, octets, to_text};
pub use table::RouteTable;
