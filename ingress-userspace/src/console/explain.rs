//! `penstock explain METHOD URL`.

use clap::Args;
use serde_json::Value;

use super::{
    AskError, Question,
    agent::Agent,
    list::{Parameters, items, name, service, text},
    screen::{Screen, Tone},
    table::{Cell, Table},
    text::plain,
};

/// Which request.
#[derive(Args, Clone, Debug)]
pub struct Explain {
    /// GET and the like; default: GET.
    #[arg(value_name = "METHOD")]
    pub first: Option<String>,
    /// The request's URL.
    #[arg(value_name = "URL")]
    pub second: Option<String>,
    /// A header of the request; as often as there are some.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// The client's address; default: 127.0.0.1.
    #[arg(long, value_name = "IP")]
    pub from: Option<String>,
    /// The server name of the handshake; default: the URL's host; `-`: none.
    #[arg(long, value_name = "NAME")]
    pub sni: Option<String>,
    /// Also show the stages that nothing asks for, and those that are not reached.
    #[arg(long)]
    pub all_stages: bool,
}

impl Explain {
    fn parameters(&self) -> Result<Parameters, AskError> {
        let (method, url) = match (&self.first, &self.second) {
            (Some(method), Some(url)) => (method.as_str(), url),
            (Some(url), None) => ("GET", url),
            _ => return Err(AskError::Usage("the URL of the request is missing".to_owned())),
        };
        let begun = Parameters::new()
            .add("method", method)
            .add("url", url)
            .add_some("from", self.from.as_deref())
            .add_some("sni", self.sni.as_deref());
        Ok(self.headers.iter().fold(begun, |all, header| all.add("header", header)))
    }
}

impl Question for Explain {
    async fn ask(&self, agent: &mut Agent, screen: &mut Screen<'_>) -> Result<bool, AskError> {
        let explained = agent.get(&self.parameters()?.target("explain")).await?;
        if screen.is_json() {
            screen.json(&explained)?;
            return Ok(true);
        }
        let request = &explained["request"];
        let method = plain(&text(&request["method"]));
        let url = plain(&text(&request["url"]));
        let from = plain(&text(&request["from"]));
        screen.line(&screen.toned(Tone::Strong, &format!("{method} {url} from {from}")))?;
        screen.line("")?;
        let mut table = Table::new(&["STAGE", "VERDICT", "", "BECAUSE OF"]);
        for stage in items(&explained["stages"]) {
            table.row(vec![
                Cell::new(text(&stage["stage"])),
                verdict(stage),
                Cell::new(text(&stage["detail"])),
                Cell::new(causes(stage)),
            ]);
        }
        if self.all_stages {
            for (name, what) in [("off", "off"), ("not_reached", "not reached")] {
                for stage in items(&explained[name]) {
                    let what = Cell::new(what).toned(Tone::Aside);
                    table.row(vec![Cell::new(text(stage)).toned(Tone::Aside), what]);
                }
            }
        }
        screen.table(&table)?;
        screen.line("")?;
        for line in outcome(&explained["outcome"]) {
            screen.line(&line)?;
        }
        Ok(true)
    }
}

fn verdict(stage: &Value) -> Cell {
    let verdict = text(&stage["verdict"]);
    match (verdict.as_str(), stage["status"].as_u64()) {
        ("answer", Some(status)) => {
            let tone = if status < 400 { Tone::Doubtful } else { Tone::Bad };
            Cell::new(status.to_string()).toned(tone)
        }
        ("answer", None) => Cell::new("closed").toned(Tone::Bad),
        ("pass", _) => Cell::new("pass").toned(Tone::Good),
        ("ask" | "chance", _) => Cell::new(verdict).toned(Tone::Doubtful),
        _ => Cell::new(verdict),
    }
}

/// The first objects and keys; an annotation without its prefix would be hard to search for.
fn causes(stage: &Value) -> String {
    let mut shown: Vec<String> = Vec::new();
    let mut before = Value::Null;
    for cause in items(&stage["causes"]) {
        let object = &cause["object"];
        let key = text(&cause["key"]);
        match *object == before {
            true => shown.push(key),
            false => shown.push(format!("{} {}: {key}", text(&object["kind"]), name(object))),
        }
        before = object.clone();
    }
    shown.join(", ")
}

/// How it ends, in sentences.
fn outcome(outcome: &Value) -> Vec<String> {
    let field = |name: &str| plain(&text(&outcome[name]));
    let fields = |lines: &mut Vec<String>| {
        for own in items(&outcome["fields"]) {
            let (name, value) = (plain(&text(&own["name"])), plain(&text(&own["value"])));
            lines.push(format!("    {name}: {value}"));
        }
    };
    let mut lines = Vec::new();
    match text(&outcome["kind"]).as_str() {
        "forward" => {
            let endpoints = items(&outcome["endpoints"]);
            let to = match &outcome["bound"] {
                Value::String(address) => plain(address),
                _ if endpoints.len() == 1 => {
                    plain(&text(&endpoints.first().unwrap_or(&Value::Null)["address"]))
                }
                _ => format!("one of {} endpoints", endpoints.len()),
            };
            let canary = if outcome["canary"] == true { ", a canary" } else { "" };
            let service = plain(&service(&outcome["service"]));
            lines.push(format!("goes to {to} of {service}{canary}, which decides. It is asked:"));
            lines.push(format!("    {} {}", field("method"), field("target")));
            fields(&mut lines);
            for own in endpoints.iter().filter(|own| own["state"] != "ready").take(20) {
                let address = plain(&text(&own["address"]));
                lines.push(format!("{address} is {}", plain(&text(&own["state"]))));
            }
        }
        "answer" => {
            lines.push(format!("is answered {}:", field("status")));
            fields(&mut lines);
        }
        "page" => lines.push(format!(
            "is answered {}, with what {} of the host answers",
            field("status"),
            field("target")
        )),
        "closed" => lines.push("the connection is closed without an answer".to_owned()),
        "no-handshake" => lines.push("there is no handshake: alert unrecognized_name".to_owned()),
        other => lines.push(plain(other)),
    }
    lines
}
