//! The keys about limits of requests (reference section 1.5).

use super::Reader;
use crate::{
    model::{LimitKey, Piece, Variable},
    translate::{annotations::Invalid, quantity::whole, text},
};

/// What all limits share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct LimitKeys {
    /// `limit-conn-zone-variable`: what tells clients apart, for all limits.
    pub(in crate::translate) key: LimitKey,
    /// `limit-req-status-code`.
    pub(in crate::translate) request_status: u16,
    /// `limit-conn-status-code`.
    pub(in crate::translate) connection_status: u16,
}

impl Default for LimitKeys {
    fn default() -> Self {
        Self { key: LimitKey::Address, request_status: 503, connection_status: 503 }
    }
}

impl Reader<'_, '_> {
    pub(super) fn limits(&mut self) -> LimitKeys {
        let mut keys = LimitKeys::default();
        self.value("limit-req-status-code", &mut keys.request_status, status);
        self.value("limit-conn-status-code", &mut keys.connection_status, status);
        if let Some(value) = self.get("limit-conn-zone-variable") {
            match key(value) {
                Ok(key) => keys.key = key,
                Err(why) => {
                    let message = format!("{why}; clients are told apart by their address");
                    self.report.error("data.limit-conn-zone-variable", message);
                }
            }
        }
        keys
    }
}

fn status(value: &str) -> Result<u16, Invalid> {
    let status = whole(value).and_then(|number| u16::try_from(number).ok());
    status.filter(|status| (400..=599).contains(status)).ok_or(Invalid("a status from 400 to 599"))
}

/// A text that is the same for all would have all share one limit; one with a variable that is not
/// known would have no limit at all in NGINX.
fn key(value: &str) -> Result<LimitKey, String> {
    let text = text::parse(value.trim_matches('"'))?;
    match &*text.pieces {
        [Piece::Variable(Variable::BinaryRemoteAddr | Variable::RemoteAddr)] => {
            Ok(LimitKey::Address)
        }
        _ if text.variables().next().is_none() => {
            Err("has no variable, like `$binary_remote_addr`".to_owned())
        }
        _ => Ok(LimitKey::Text(text)),
    }
}
