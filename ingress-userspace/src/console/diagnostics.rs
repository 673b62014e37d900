//! `penstock diagnostics`.

use clap::Args;
use serde_json::Value;

use super::{
    AskError, Question,
    agent::Agent,
    list::{self, Parameters, items, name, text},
    screen::{Screen, Tone},
    text::plain,
};

/// Which diagnostics.
#[derive(Args, Clone, Debug)]
pub struct Diagnostics {
    /// Only those that have all of these words in their object, field or message.
    #[arg(long, short = 'q', value_name = "WORDS")]
    pub query: Option<String>,
    /// Only errors, or only warnings.
    #[arg(long, value_name = "error|warning", value_parser = ["error", "warning"])]
    pub severity: Option<String>,
}

impl Question for Diagnostics {
    async fn ask(&self, agent: &mut Agent, screen: &mut Screen<'_>) -> Result<bool, AskError> {
        let parameters = || {
            Parameters::new()
                .add_some("q", self.query.as_deref())
                .add_some("severity", self.severity.as_deref())
        };
        let diagnostics = list::all(agent, "diagnostics", parameters).await?;
        let all = items(&diagnostics["items"]);
        let is_error = |own: &Value| own["severity"] == "error";
        let well = !all.iter().any(is_error);
        if screen.is_json() {
            screen.json(&diagnostics)?;
            return Ok(well);
        }
        if all.is_empty() {
            screen.line("nothing: all is served as it is written")?;
            return Ok(true);
        }
        // A message is a sentence or two: no table.
        for own in all {
            let tone = if is_error(own) { Tone::Bad } else { Tone::Doubtful };
            let severity = screen.toned(tone, &plain(&text(&own["severity"])));
            let object = format!("{} {}", text(&own["object"]["kind"]), name(&own["object"]));
            let object = screen.toned(Tone::Strong, &plain(&object));
            let (field, message) = (plain(&text(&own["field"])), plain(&text(&own["message"])));
            screen.line(&format!("{severity} {object}: {field}\n    {message}"))?;
        }
        Ok(well)
    }
}
