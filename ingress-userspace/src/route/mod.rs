//! From a request's host and path to its route. Knows no connection, no header but `Host`, and
//! takes no lock.

mod normalize;
mod table;

pub use normalize::{BadPath, normalize};
pub use table::{CompiledRoute, Found, HostTable, RouteTable};
