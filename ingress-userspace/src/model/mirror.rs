//! Copies of requests for somebody else (reference section 1.7).

use std::{net::IpAddr, sync::Arc};

use super::{Proxying, Text};

/// `mirror-target` and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Who gets the copies.
    pub to: MirrorHost,
    /// Where it listens.
    pub port: u16,
    /// The path and query that it is asked for.
    pub target: Text,
    /// What `Host` says: `mirror-host`, else the host of the target.
    pub host: Text,
    /// `mirror-request-body`: bodies are copied too.
    pub body: bool,
    /// How it is spoken to.
    pub proxying: Arc<Proxying>,
}

/// The host of a `mirror-target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorHost {
    /// This one. Never the node itself.
    Address(IpAddr),
    /// Whatever the name stands for at the moment: [`Model::names`](super::Model::names).
    Name(Arc<str>),
}
