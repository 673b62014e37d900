use std::{net::IpAddr, sync::Arc};

/// A node that runs an agent and can own connections: what the kernel tier steers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// The Node's name.
    pub name: Arc<str>,
    /// Where peers send encapsulated packets to, and know its own by: an `InternalIP`, or what else names
    /// it. Of one family with those of all others.
    pub address: IpAddr,
    /// It takes new connections: as its source has it, whatever its peers think of it.
    pub ready: bool,
    /// Its share of new connections relative to the others'; 0 takes none.
    pub weight: u32,
}

impl Member {
    /// The weight of a node of which nothing else is said.
    pub const WEIGHT: u32 = 100;
    /// The largest one. The rows are exact for shares of a thousandth and more.
    pub const MOST: u32 = 1000;
}
