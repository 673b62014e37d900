//! `penstock status`.

use std::fmt::Write as _;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::{AskError, Asking, Told, socket::ask};
use crate::admin::STATUS;

/// Show how a running agent is.
///
/// Exit code 0: traffic may come; 1: it may not; 2: the arguments are wrong; 3: the agent does not
/// answer.
#[derive(Args, Clone, Debug)]
pub struct Status {
    /// Which agent.
    #[command(flatten)]
    pub asking: Asking,
}

impl Status {
    /// Asks the agent.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn run(self) -> Result<Told, AskError> {
        let text = ask(&self.asking.admin_socket, Method::GET, STATUS, String::new())?;
        let status: Value =
            serde_json::from_str(&text).map_err(|error| AskError::Broken(Box::new(error)))?;
        let well = status["ready"].as_bool().unwrap_or(false);
        Ok(self.asking.tell(&status, || lines(&status), well))
    }
}

/// A line for each thing, its name first.
fn lines(status: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _infallible = writeln!(text, "{name:<12} {value}");
    };
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    line("version", &shown(&status["version"]));
    match &status["missing"] {
        Value::String(missing) => line("ready", &format!("no: {missing}")),
        _ => line("ready", "yes"),
    }
    line("snapshot", &shown(&status["generation"]));
    let troubles = status["source"]["troubles"].as_array().map_or(&[][..], Vec::as_slice);
    match troubles {
        [] => line("source", &shown(&status["source"]["of"])),
        troubles => {
            troubles.iter().for_each(|trouble| line("source", &shown(trouble)));
        }
    }
    let of = |severity: &str| shown(&status["diagnostics"][severity]);
    line("diagnostics", &format!("{} errors, {} warnings", of("error"), of("warning")));
    if let Value::String(level) = &status["log-level"] {
        line("log level", level);
    }
    text
}
