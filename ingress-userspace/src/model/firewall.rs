//! The web application firewall (reference sections 1.10 and 9.1).

use std::sync::Arc;

use super::Text;
use crate::firewall::RuleSet;

/// `enable-modsecurity` and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// What requests are judged by. Never one that is off.
    pub rules: Arc<RuleSet>,
    /// `modsecurity-transaction-id`: what a request is called in the log.
    pub transaction_id: Option<Text>,
}
