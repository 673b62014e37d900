//! `penstock log-level`.

use clap::Args;
use http::Method;
use serde_json::json;

use super::{AskError, Asking, Told, socket::ask};
use crate::admin::LOG_LEVEL;

/// Show or change which lines of a running agent's own log are written.
///
/// Exit code 0: done; 2: the level means nothing, or the arguments are wrong; 3: the agent does not
/// answer.
#[derive(Args, Clone, Debug)]
pub struct LogLevel {
    /// off, error, warn, info, debug, trace, or a list of target=level; default: only show it.
    #[arg(value_name = "LEVEL")]
    pub level: Option<String>,
    /// Take back what was said here before.
    #[arg(long, conflicts_with = "level")]
    pub reset: bool,
    /// Which agent.
    #[command(flatten)]
    pub asking: Asking,
}

impl LogLevel {
    /// Asks the agent.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn run(self) -> Result<Told, AskError> {
        let method = match (&self.level, self.reset) {
            (Some(_), _) => Method::PUT,
            (None, true) => Method::DELETE,
            (None, false) => Method::GET,
        };
        let level =
            ask(&self.asking.admin_socket, method, LOG_LEVEL, self.level.unwrap_or_default())?;
        let value = json!({ "log-level": level.trim_end() });
        Ok(self.asking.tell(&value, || level.clone(), true))
    }
}
