//! `penstock routes`.

use clap::Args;
use serde_json::Value;

use super::{
    AskError, Question,
    agent::Agent,
    list::{self, Parameters, items, name, service, text},
    screen::{Screen, Tone},
    table::{Cell, Table},
};

/// Which routes.
#[derive(Args, Clone, Debug)]
pub struct Routes {
    /// Only those of the host that answers for this name.
    #[arg(value_name = "HOST")]
    pub host: Option<String>,
    /// Only those that have all of these words in their host, path, Ingress or Service.
    #[arg(long, short = 'q', value_name = "WORDS")]
    pub query: Option<String>,
}

impl Question for Routes {
    async fn ask(&self, agent: &mut Agent, screen: &mut Screen<'_>) -> Result<bool, AskError> {
        let parameters = || {
            Parameters::new()
                .add_some("host", self.host.as_deref())
                .add_some("q", self.query.as_deref())
        };
        let routes = list::all(agent, "routes", parameters).await?;
        let all = items(&routes["items"]);
        if screen.is_json() {
            screen.json(&routes)?;
            return Ok(!all.is_empty());
        }
        let mut table = Table::new(&["HOST", "PATH", "TLS", "INGRESS", "LEADS TO", "POLICIES"]);
        for route in all {
            let path = match (&route["regex"], text(&route["kind"]).as_str()) {
                (Value::Bool(true), _) => format!("~ {}", text(&route["path"])),
                (_, "Exact") => format!("= {}", text(&route["path"])),
                _ => text(&route["path"]),
            };
            let tls = if route["tls"] == true { "tls" } else { "" };
            let policies: Vec<_> = items(&route["policies"]).iter().map(text).collect();
            table.row(vec![
                Cell::new(text(&route["host"])),
                Cell::new(path),
                Cell::new(tls),
                Cell::new(name(&route["ingress"])),
                target(&route["target"]),
                Cell::new(policies.join(" ")),
            ]);
        }
        if table.is_empty() {
            screen.line("no route")?;
            return Ok(false);
        }
        screen.table(&table)?;
        Ok(true)
    }
}

fn target(target: &Value) -> Cell {
    match text(&target["kind"]).as_str() {
        "service" => {
            let count = target["endpoints"].as_u64().unwrap_or(0);
            let canary = match &target["canary"] {
                Value::Null => String::new(),
                own => format!(", canary {}", service(&own["service"])),
            };
            let shown = format!("{} ({count}){canary}", service(&target["service"]));
            let tone = if count == 0 { Tone::Bad } else { Tone::Usual };
            Cell::new(shown).toned(tone)
        }
        "denied" => Cell::new(format!("503: {}", text(&target["key"]))).toned(Tone::Bad),
        "redirect" => {
            Cell::new(format!("{} {}", text(&target["status"]), text(&target["location"])))
        }
        "host" => Cell::new(format!("host {}", text(&target["host"]))),
        _ => Cell::new("404").toned(Tone::Doubtful),
    }
}
