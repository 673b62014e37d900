//! `penstock tap`.

use clap::Args;
use serde_json::Value;

use super::{
    AskError, Question,
    agent::Agent,
    endpoints::seconds,
    list::{Parameters, name, service, text},
    screen::{Screen, Tone},
    text::plain,
};

/// Which requests.
#[derive(Args, Clone, Debug)]
pub struct Tap {
    /// Only those for this host; *.example.com: for any beneath it.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Only those whose path begins so.
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Only those of this method.
    #[arg(long, value_name = "METHOD")]
    pub method: Option<String>,
    /// Only those that are answered so: 404, 5xx, 400-499.
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// Only those of this Ingress: NAME or NAMESPACE/NAME.
    #[arg(long, value_name = "INGRESS")]
    pub ingress: Option<String>,
    /// Only those that take so many seconds at least.
    #[arg(long, value_name = "SECONDS")]
    pub slower: Option<String>,
    /// End after so many requests.
    #[arg(long, value_name = "COUNT")]
    pub count: Option<u64>,
}

impl Question for Tap {
    async fn ask(&self, agent: &mut Agent, screen: &mut Screen<'_>) -> Result<bool, AskError> {
        let target = Parameters::new()
            .add_some("host", self.host.as_deref())
            .add_some("path", self.path.as_deref())
            .add_some("method", self.method.as_deref())
            .add_some("status", self.status.as_deref())
            .add_some("ingress", self.ingress.as_deref())
            .add_some("slower", self.slower.as_deref())
            .target("tap");
        let mut lines = agent.lines(&target).await?;
        let mut left = self.count;
        while left != Some(0) {
            let Some(line) = lines.next().await? else {
                return Err(AskError::Denied("the agent has ended".to_owned()));
            };
            let own: Value = serde_json::from_str(&line).map_err(AskError::broken)?;
            let is_request = own["lost"].is_null();
            match screen.is_json() {
                true => screen.json_line(&own)?,
                false if is_request => screen.line(&shown(screen, &own))?,
                false => {
                    let lost = format!("({} more, which came too fast)", text(&own["lost"]));
                    screen.line(&screen.toned(Tone::Aside, &lost))?;
                }
            }
            if is_request {
                left = left.map(|left| left.saturating_sub(1));
            }
        }
        Ok(true)
    }
}

/// One line: when, what, how it ended, who asked whom, how long its parts took.
fn shown(screen: &Screen<'_>, own: &Value) -> String {
    let field = |name: &str| plain(&text(&own[name]));
    let tone = match own["status"].as_u64().unwrap_or(0) {
        200..400 => Tone::Good,
        400..500 => Tone::Doubtful,
        _ => Tone::Bad,
    };
    let status = screen.toned(tone, &field("status"));
    let query = if own["has_query"] == true { "?.." } else { "" };
    let (time, client, method) = (field("time"), field("client"), field("method"));
    let url = format!("{}://{}{}{query}", field("scheme"), field("host"), field("path"));
    let mut line = format!("{time} {client} {method} {url} {status}");
    if !own["ingress"].is_null() {
        line.push_str(&format!(" {}", plain(&name(&own["ingress"]))));
    }
    if own["attempts"] != 0 && !own["service"].is_null() {
        line.push_str(&format!(" > {}", plain(&service(&own["service"]))));
    }
    if !own["endpoint"].is_null() {
        line.push_str(&format!(" {}", field("endpoint")));
    }
    let took = &own["seconds"];
    let part = |name: &str| seconds(&took[name]);
    let mut parts = Vec::new();
    for name in ["before", "connect", "wait", "answer"] {
        if !took[name].is_null() {
            parts.push(format!("{name} {}", part(name)));
        }
    }
    if !took["total"].is_null() {
        line.push_str(&format!(" {}", part("total")));
    }
    if !parts.is_empty() {
        line.push_str(&screen.toned(Tone::Aside, &format!(" ({})", parts.join(", "))));
    }
    line
}
