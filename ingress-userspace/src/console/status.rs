//! `penstock status`.

use clap::Args;
use serde_json::Value;

use super::{
    AskError, Question,
    agent::Agent,
    list::{items, text},
    screen::{Screen, Tone},
    text::plain,
};

/// All of it.
#[derive(Args, Clone, Debug)]
pub struct Status {}

impl Question for Status {
    async fn ask(&self, agent: &mut Agent, screen: &mut Screen<'_>) -> Result<bool, AskError> {
        let status = agent.get("/api/v1/status").await?;
        let well = status["ready"].as_bool().unwrap_or(false);
        if screen.is_json() {
            screen.json(&status)?;
        } else {
            for (name, value, tone) in lines(&status) {
                let name = screen.toned(Tone::Aside, &format!("{name:<12}"));
                let value = screen.toned(tone, &plain(&value));
                screen.line(&format!("{name} {value}"))?;
            }
        }
        Ok(well)
    }
}

/// A line for each thing, its name first.
fn lines(status: &Value) -> Vec<(&'static str, String, Tone)> {
    let mut lines = Vec::new();
    let mut line = |name, value: String, tone| lines.push((name, value, tone));
    line("version", text(&status["version"]), Tone::Usual);
    match &status["missing"] {
        Value::String(missing) => line("ready", format!("no: {missing}"), Tone::Bad),
        _ => line("ready", "yes".to_owned(), Tone::Good),
    }
    let up = status["uptime_seconds"].as_u64().unwrap_or(0);
    line("running for", lasting(up), Tone::Usual);
    line("snapshot", text(&status["generation"]), Tone::Usual);
    line("source", text(&status["source"]["name"]), Tone::Usual);
    for waiting in items(&status["source"]["waiting"]) {
        line("waiting for", text(waiting), Tone::Doubtful);
    }
    for trouble in items(&status["source"]["troubles"]) {
        line("trouble", text(trouble), Tone::Bad);
    }
    let serves = &status["serves"];
    let of = |name: &str| format!("{} {name}", text(&serves[name]));
    let all = ["hosts", "routes", "services", "endpoints", "certificates"].map(of);
    line("serves", all.join(", "), Tone::Usual);
    let severity = |name: &str| status["diagnostics"][name].as_u64().unwrap_or(0);
    let (errors, warnings) = (severity("error"), severity("warning"));
    let tone = match (errors, warnings) {
        (0, 0) => Tone::Usual,
        (0, _) => Tone::Doubtful,
        _ => Tone::Bad,
    };
    line("diagnostics", format!("{errors} errors, {warnings} warnings"), tone);
    let traffic = &status["traffic"];
    let of = |name: &str| text(&traffic[name]);
    let requests = format!(
        "{} requests so far, {} being answered; {} connections",
        of("requests"),
        of("in_progress"),
        of("connections")
    );
    line("traffic", requests, Tone::Usual);
    match &status["l4"] {
        Value::Null => line("kernel tier", "off".to_owned(), Tone::Usual),
        own => match &own["error"] {
            Value::String(error) => line("kernel tier", error.clone(), Tone::Bad),
            _ => line("kernel tier", format!("{} nodes", text(&own["nodes"])), Tone::Usual),
        },
    }
    if let Value::String(level) = &status["log_level"] {
        line("log level", level.clone(), Tone::Usual);
    }
    lines
}

/// A time in its two largest units.
fn lasting(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut left = seconds;
    let mut parts = Vec::new();
    for (length, name) in UNITS {
        if left >= length || (!parts.is_empty() && parts.len() < 2) {
            parts.push(format!("{}{name}", left / length));
            left %= length;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units() {
        for (seconds, wanted) in
            [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3661, "1h 1m"), (90_000, "1d 1h")]
        {
            assert_eq!(lasting(seconds), wanted);
        }
    }
}
