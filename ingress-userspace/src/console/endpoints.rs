//! `penstock endpoints`.

use clap::Args;
use serde_json::Value;

use super::{
    AskError, Question,
    agent::Agent,
    list::{self, Parameters, items, service, text},
    screen::{Screen, Tone},
    table::{Cell, Table},
};

/// Whose endpoints.
#[derive(Args, Clone, Debug)]
pub struct Endpoints {
    /// Only those of this Service: NAME or NAMESPACE/NAME.
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Only those of Services that have all of these words in their names, or in an endpoint's
    /// address or pod.
    #[arg(long, short = 'q', value_name = "WORDS")]
    pub query: Option<String>,
}

impl Question for Endpoints {
    async fn ask(&self, agent: &mut Agent, screen: &mut Screen<'_>) -> Result<bool, AskError> {
        let parameters = || {
            Parameters::new()
                .add_some("service", self.service.as_deref())
                .add_some("q", self.query.as_deref())
        };
        let services = list::all(agent, "endpoints", parameters).await?;
        let all = items(&services["items"]);
        let is_well = |service: &Value| {
            items(&service["endpoints"]).iter().any(|own| own["state"] != "avoided")
        };
        let well = all.iter().all(is_well);
        if screen.is_json() {
            screen.json(&services)?;
            return Ok(well);
        }
        let mut table = Table::new(&[
            "SERVICE",
            "ENDPOINT",
            "POD",
            "WEIGHT",
            "STATE",
            "LATENCY",
            "BALANCED BY",
        ]);
        for own in all {
            let endpoints = items(&own["endpoints"]);
            let by = match &own["affinity"] {
                Value::String(cookie) => format!("cookie {cookie}"),
                _ => text(&own["policy"]),
            };
            if endpoints.is_empty() {
                let none = Cell::new("none is ready").toned(Tone::Bad);
                let mut row = vec![Cell::new(service(&own["service"])), none];
                row.extend(std::iter::repeat_with(|| Cell::new("")).take(4));
                row.push(Cell::new(&by));
                table.row(row);
            }
            for endpoint in endpoints {
                table.row(vec![
                    Cell::new(service(&own["service"])),
                    Cell::new(text(&endpoint["address"])),
                    Cell::new(text(&endpoint["pod"])),
                    Cell::new(text(&endpoint["weight"])),
                    state(endpoint),
                    Cell::new(seconds(&endpoint["latency_seconds"])),
                    Cell::new(&by),
                ]);
            }
        }
        if table.is_empty() {
            screen.line("no Service")?;
            return Ok(well);
        }
        screen.table(&table)?;
        Ok(well)
    }
}

fn state(endpoint: &Value) -> Cell {
    let state = text(&endpoint["state"]);
    let tone = match state.as_str() {
        "ready" => Tone::Good,
        "avoided" => Tone::Bad,
        "refusing" => Tone::Doubtful,
        _ => Tone::Aside,
    };
    match endpoint["refusals"].as_u64() {
        Some(count @ 1..) => Cell::new(format!("{state} ({count} refusals)")).toned(tone),
        _ => Cell::new(state).toned(tone),
    }
}

/// A duration with three digits.
pub(super) fn seconds(value: &Value) -> String {
    match value.as_f64() {
        None => String::new(),
        Some(own) if own < 0.001 => format!("{:.0}us", own * 1e6),
        Some(own) if own < 1.0 => format!("{:.1}ms", own * 1e3),
        Some(own) => format!("{own:.2}s"),
    }
}
