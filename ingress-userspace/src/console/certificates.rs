//! `penstock certs`.

use clap::Args;
use serde_json::{Value, json};

use super::{
    AskError, Question,
    agent::Agent,
    list::{self, Parameters, items, name, text},
    screen::{Screen, Tone},
    table::{Cell, Table},
};

/// Hosts that are shown with a certificate.
const HOSTS: usize = 3;
/// Few days, which are shown as such.
const SOON: i64 = 14;

/// Which certificates.
#[derive(Args, Clone, Debug)]
pub struct Certificates {
    /// Only those that have all of these words in their Secret, hosts, names, subject or issuer.
    #[arg(long, short = 'q', value_name = "WORDS")]
    pub query: Option<String>,
    /// Only those that end within so many days.
    #[arg(long, value_name = "DAYS")]
    pub days: Option<i64>,
}

impl Question for Certificates {
    async fn ask(&self, agent: &mut Agent, screen: &mut Screen<'_>) -> Result<bool, AskError> {
        let parameters = || Parameters::new().add_some("q", self.query.as_deref());
        let mut certificates = list::all(agent, "certificates", parameters).await?;
        let left = |own: &Value| own["days_left"].as_i64();
        if let Some(days) = self.days
            && let Some(all) = certificates["items"].as_array_mut()
        {
            all.retain(|own| left(own).is_some_and(|left| left < days));
            let total = all.len();
            certificates["total"] = json!(total);
        }
        let all = items(&certificates["items"]);
        let most = self.days.unwrap_or(0);
        let well = all.iter().all(|own| left(own).is_none_or(|left| left >= most));
        if screen.is_json() {
            screen.json(&certificates)?;
            return Ok(well);
        }
        let mut table = Table::new(&["SECRET", "DAYS LEFT", "ENDS", "ISSUER", "HOSTS"]);
        for own in all {
            let secret = match &own["secret"] {
                Value::Null => Cell::new("self-signed").toned(Tone::Doubtful),
                secret => Cell::new(name(secret)),
            };
            let days = match left(own) {
                None => Cell::new("unknown").toned(Tone::Aside),
                Some(left) => Cell::new(left.to_string()).toned(match left {
                    ..0 => Tone::Bad,
                    0..SOON => Tone::Doubtful,
                    _ => Tone::Good,
                }),
            };
            table.row(vec![
                secret,
                days,
                Cell::new(text(&own["not_after"])),
                Cell::new(text(&own["issuer"])),
                Cell::new(hosts(own)),
            ]);
        }
        if table.is_empty() {
            screen.line("no certificate")?;
            return Ok(well);
        }
        screen.table(&table)?;
        Ok(well)
    }
}

fn hosts(own: &Value) -> String {
    let named: Vec<_> = items(&own["hosts"]).iter().take(HOSTS).map(text).collect();
    let total = own["hosts_total"].as_u64().unwrap_or(0);
    let rest = total.saturating_sub(named.len() as u64);
    let mut shown = named.join(" ");
    if rest > 0 {
        shown.push_str(&format!(" and {rest} more"));
    }
    if own["default"] == true {
        shown.push_str(if shown.is_empty() { "(default)" } else { " (default)" });
    }
    shown
}
