//! The seam to the kernel tier: what of it the rest of the agent sees.

use std::sync::Arc;

use ingress_common::{Counters, Reason};

use super::Addresses;
use crate::{
    config::{Config, L4Mode},
    model::Member,
};

/// Reads the packet counters, by reason.
pub(crate) type ReadCounters =
    Arc<dyn Fn() -> Result<Vec<(Reason, Counters)>, String> + Send + Sync>;

/// The kernel tier, or its absence.
pub(super) struct Steering {
    counters: Option<ReadCounters>,
}

/// Why the kernel tier cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// This version of the agent has none.
    #[error("--vip is given, but this agent is built without the kernel tier; use --l4=off")]
    Absent,
}

impl SteeringError {
    pub(super) fn exit_code(&self) -> u8 {
        3
    }
}

pub(super) fn start(config: &Config, _addresses: &Addresses) -> Result<Steering, SteeringError> {
    if config.l4.mode == L4Mode::Auto && !config.l4.vips.is_empty() {
        return Err(SteeringError::Absent);
    }
    Ok(Steering { counters: None })
}

impl Steering {
    /// Tells the nodes to steer to. Does not wait.
    pub(super) fn update(&self, _members: &[Member]) {}

    /// What reads the packet counters, where there are any.
    pub(super) fn counters(&self) -> Option<ReadCounters> {
        self.counters.clone()
    }
}
