//! The seam to the kernel tier: what of it the rest of the agent sees.

use std::{collections::BTreeSet, sync::Arc};

use ingress_common::{Counters, HashKey, Reason};

use super::Addresses;
use crate::{
    config::{Config, L4Mode},
    l4::{self, Handle, L4Error},
    model::Member,
};

/// Reads the packet counters, by reason.
pub(crate) type ReadCounters =
    Arc<dyn Fn() -> Result<Vec<(Reason, Counters)>, String> + Send + Sync>;

/// The kernel tier, or its absence.
pub(super) struct Steering {
    handle: Option<Arc<Handle>>,
}

/// Starts to steer what is for a virtual address, where there is one.
///
/// # Errors
/// Whatever keeps the kernel tier from working.
pub(super) fn start(config: &Config, addresses: &Addresses) -> Result<Steering, L4Error> {
    let mode = match config.l4.mode {
        L4Mode::Off => l4::Mode::Off,
        L4Mode::Auto => l4::Mode::Auto,
    };
    let served: BTreeSet<u16> =
        addresses.http.iter().chain(&addresses.https).map(|address| address.port()).collect();
    let handle = l4::start(l4::Options {
        mode,
        interfaces: config.l4.interfaces.clone(),
        vips: config.l4.vips.clone(),
        ports: served.into_iter().collect(),
        node_name: config.l4.node_name.clone(),
        bpf_dir: config.l4.bpf_dir.clone(),
        tunnel_port: config.l4.tunnel_port,
        health_port: config.admin.port,
        // Every node must have the same.
        key: HashKey([0, 0]),
    })?;
    Ok(Steering { handle: handle.map(Arc::new) })
}

impl Steering {
    /// Tells the nodes to steer to. Does not wait.
    pub(super) fn update(&self, members: &[Member]) {
        if let Some(handle) = &self.handle {
            handle.update(members);
        }
    }

    /// What reads the packet counters, where there are any.
    pub(super) fn counters(&self) -> Option<ReadCounters> {
        let handle = Arc::clone(self.handle.as_ref()?);
        Some(Arc::new(move || {
            handle.counters().map_err(|error| format!("{:#}", anyhow::Error::from(error)))
        }))
    }
}
