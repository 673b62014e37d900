//! `penstock log-level`.

use clap::Args;
use http::Method;
use serde_json::json;

use super::{AskError, Question, agent::Agent, screen::Screen, text::plain};
use crate::admin::LOG_LEVEL;

/// Which level.
#[derive(Args, Clone, Debug)]
pub struct LogLevel {
    /// off, error, warn, info, debug, trace, or a list of target=level; default: only show it.
    #[arg(value_name = "LEVEL")]
    pub level: Option<String>,
    /// Take back what was said here before.
    #[arg(long, conflicts_with = "level")]
    pub reset: bool,
}

impl Question for LogLevel {
    async fn ask(&self, agent: &mut Agent, screen: &mut Screen<'_>) -> Result<bool, AskError> {
        let method = match (&self.level, self.reset) {
            (Some(_), _) => Method::PUT,
            (None, true) => Method::DELETE,
            (None, false) => Method::GET,
        };
        let level = self.level.clone().unwrap_or_default();
        let level = agent.ask(method, LOG_LEVEL, level).await?;
        match screen.is_json() {
            true => screen.json(&json!({ "log_level": level.trim_end() }))?,
            false => screen.line(&plain(level.trim_end()))?,
        }
        Ok(true)
    }
}
