use std::{net::IpAddr, sync::Arc};

/// A node that runs an agent and can own connections: what the kernel tier steers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// The Node's name.
    pub name: Arc<str>,
    /// Its first `InternalIP`, where peers send encapsulated packets to.
    pub address: IpAddr,
    /// Its `Ready` condition is not false or unknown, and it is not being deleted.
    pub ready: bool,
}
