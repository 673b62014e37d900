//! `explain`: what would become of a request, stage by stage, and why. A worker thinks it through with
//! the code that serves; nothing is counted, asked or sent.

mod keys;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::Uri;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{
    Refusal,
    endpoints::state,
    objects::{object, service},
    query::Query,
};
use crate::{
    admin::{
        Board,
        state::{host_name, path_kind},
    },
    proxy::trial::{Explanation, Forwarded, Noted, Outcome, Question, Says, Stage, Texts},
};

/// The port that a client seems to ask from.
const PORT: u16 = 50_000;
/// Fields of a request that is asked about.
const FIELDS: usize = 200;

/// `url`; and `method`, `header` (as often as there are some), `from`, `sni`.
pub(super) fn render(board: &Board, query: &Query) -> Result<Value, Refusal> {
    query.only(&["url", "method", "header", "from", "sni"])?;
    let asked = Asked::of(query)?;
    let listeners = match asked.tls {
        true => &board.addresses.https,
        false => &board.addresses.http,
    };
    let to = listeners.first().map_or((0, None), |own| (own.port(), Some(own.ip())));
    let question = Question {
        tls: asked.tls,
        server_name: asked.server_name.clone(),
        from: SocketAddr::new(asked.from, PORT),
        to,
        head: asked.head(),
    };
    let explained = Handle::current().block_on(board.workers.explain(question));
    let explained = explained.ok_or_else(|| {
        Refusal::Busy("no worker has the time to say what would become of it".to_owned())
    })?;
    Ok(shown(board, &asked, &explained))
}

/// A line of a header by which somebody proves who they are: judging it would tell whoever asks whether a
/// password is right, which no log would show and no limit hinder.
pub(super) fn is_credentials(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default().trim();
    name.eq_ignore_ascii_case("authorization")
}

/// The request that is asked about.
struct Asked {
    url: String,
    tls: bool,
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    from: IpAddr,
    server_name: Option<String>,
}

impl Asked {
    fn of(query: &Query) -> Result<Self, Refusal> {
        let refuse = |why: String| Err(Refusal::Query(why));
        let Some(url) = query.one("url")? else {
            return refuse("url is missing: url=https://shop.example.com/cart".to_owned());
        };
        let uri: Uri = match url.parse() {
            Ok(uri) => uri,
            Err(error) => return refuse(format!("url {url:?}: {error}")),
        };
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => {
                return refuse(format!("url {url:?}: it begins with neither http:// nor https://"));
            }
        };
        let Some(authority) = uri.authority() else {
            return refuse(format!("url {url:?}: it names no host"));
        };
        let method = query.one("method")?.unwrap_or("GET").to_owned();
        if method.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return refuse(format!("method {method:?}: it is none"));
        }
        let from = match query.one("from")? {
            None => Ipv4Addr::LOCALHOST.into(),
            Some(text) => match text.parse() {
                Ok(address) => address,
                Err(_) => return refuse(format!("from {text:?}: it is no address")),
            },
        };
        let mut fields = Vec::new();
        for line in query.all("header") {
            let Some((name, value)) = line.split_once(':') else {
                return refuse(format!("header {line:?}: it is not of the form name: value"));
            };
            if line.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                return refuse(format!("header {name:?}: it has more than one line"));
            }
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
        if fields.len() > FIELDS {
            return refuse(format!("more than {FIELDS} headers"));
        }
        // As curl: who says another host means it.
        if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            fields.insert(0, ("Host".to_owned(), authority.to_string()));
        }
        let server_name = match query.one("sni")? {
            // As clients do, none for an address.
            None => Some(authority.host()).filter(|host| !is_address(host)).map(ToOwned::to_owned),
            Some("-") => None,
            Some(name) => Some(name.to_owned()),
        };
        Ok(Self {
            url: url.to_owned(),
            tls,
            method,
            target: uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
            fields,
            from,
            server_name: server_name.filter(|_| tls),
        })
    }

    /// As HTTP/1.1 has it. That it is one is judged where requests are.
    fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<IpAddr>().is_ok()
}

fn shown(board: &Board, asked: &Asked, explained: &Explanation) -> Value {
    let reached = explained.stages.iter().map(|noted| noted.stage).max();
    let names = |wanted: &dyn Fn(Stage) -> bool| -> Vec<&str> {
        Stage::ALL.into_iter().filter(|stage| wanted(*stage)).map(Stage::name).collect()
    };
    let is_noted = |stage: Stage| explained.stages.iter().any(|noted| noted.stage == stage);
    let keys = keys::Keys::new(board, explained);
    json!({
        "request": {
            "method": asked.method,
            "url": asked.url,
            "from": asked.from.to_string(),
            "sni": asked.server_name,
        },
        "generation": explained.generation,
        "host": explained.host.as_ref().map(host_name),
        "route": explained.route.as_deref().map(|route| json!({
            "ingress": object(&route.ingress),
            "field": route.field,
            "path": &*route.path,
            "kind": path_kind(route.kind),
        })),
        "stages": explained.stages.iter().map(|noted| stage(noted, &keys)).collect::<Vec<_>>(),
        // Nothing asks for them.
        "off": names(&|stage| Some(stage) < reached && !is_noted(stage)),
        "not_reached": names(&|stage| Some(stage) > reached),
        "outcome": outcome(&explained.outcome),
    })
}

fn stage(noted: &Noted, keys: &keys::Keys) -> Value {
    json!({
        "stage": noted.stage.name(),
        "verdict": noted.says.name(),
        "status": match noted.says {
            Says::Answer(status) if status > 0 => Some(status),
            _ => None,
        },
        "detail": noted.detail,
        "causes": keys.of(noted),
    })
}

/// How it ends: `kind` says which other fields there are.
fn outcome(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::NoHandshake => json!({ "kind": "no-handshake" }),
        // Nothing is said, and the connection is closed.
        Outcome::Answered { status: 0, .. } => json!({ "kind": "closed" }),
        Outcome::Answered { status, fields } => {
            json!({ "kind": "answer", "status": status, "fields": pairs(fields) })
        }
        Outcome::Page { status, target } => {
            json!({ "kind": "page", "status": status, "target": target })
        }
        Outcome::Forwarded(own) => {
            let Forwarded { service: key, is_canary, method, target, fields, endpoints, bound } =
                &**own;
            json!({
                "kind": "forward",
                "service": service(key),
                "canary": is_canary,
                "method": method,
                "target": target,
                "fields": pairs(fields),
                "endpoints": endpoints.iter().map(|own| json!({
                    "address": own.address.to_string(),
                    "state": state(own),
                })).collect::<Vec<_>>(),
                "bound": bound.map(|address| address.to_string()),
            })
        }
    }
}

fn pairs(fields: &Texts) -> Vec<Value> {
    fields.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}
