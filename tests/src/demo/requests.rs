//! One request to each of the demo's Ingresses.

use anyhow::Result;
use serde_json::Value;
use testbed::Authority;

use super::{
    page::{self, Cell, Tone},
    place::{Place, Url},
};

const fn http(host: &'static str, path: &'static str) -> Url {
    Url { tls: false, host, path }
}

const URLS: &[Url] = &[
    http("play.example.com", "/lobby"),
    http("play.example.com", "/room"),
    http("play.example.com", "/chat"),
    http("play.example.com", "/ranking/today"),
    http("shop.example.com", "/"),
    http("shop.example.com", "/api/items?page=2"),
    http("shop.example.com", "/apiary"),
    http("blue.example.com", "/"),
    http("green.example.com", "/"),
    http("red.example.com", "/"),
    http("nobody.example.net", "/"),
    http("secure.example.com", "/vault"),
    Url { tls: true, host: "secure.example.com", path: "/vault" },
];

pub(crate) fn show(place: &mut Place, authority: &Authority) -> Result<()> {
    page::heading("Requests", &format!("from the client to {}", place.target(false).ip()));
    let tls = authority.client(&[b"http/1.1"])?;
    let mut rows = Vec::new();
    for url in URLS {
        let answer = place.send(*url, &tls)?;
        let echo = answer.echo();
        let node = echo.as_ref().and_then(|echo| place.node_of(echo.peer));
        let rule = rule(&place.explain(node.unwrap_or(0), &url.to_string())?);
        let (pod, seen) = match &echo {
            Some(echo) => (echo.pod.clone(), with_query(&echo.path, echo.query.as_deref())),
            None => ("-".to_owned(), format!("→ {}", answer.header("location"))),
        };
        let status = if answer.status < 400 { Tone::Good } else { Tone::Bad };
        rows.push(vec![
            plain(url.to_string()),
            plain(rule),
            plain(node.map_or_else(|| "-".to_owned(), |node| place.node_name(node))),
            plain(pod),
            (answer.status.to_string(), status),
            (seen, Tone::Faint),
        ]);
    }
    let heads = ["URL", "Ingress: rule", "node", "pod", "status", "path that the pod saw"];
    page::table(&heads, &rows);
    Ok(())
}

fn plain(text: String) -> Cell {
    (text, Tone::Plain)
}

fn with_query(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// `rooms/rooms: /lobby` or, where no rule matched, `fallback/fallback: spec.defaultBackend`; from
/// what an agent explains.
fn rule(explanation: &Value) -> String {
    let route = &explanation["route"];
    let text = |key: &str| route[key].as_str().unwrap_or_default();
    let ingress = &route["ingress"];
    let name = |key: &str| ingress[key].as_str().unwrap_or_default();
    let ingress = match name("namespace") {
        "" => name("name").to_owned(),
        namespace => format!("{namespace}/{}", name("name")),
    };
    match text("field") {
        "" => "-".to_owned(),
        field if field.starts_with("spec.rules") => format!("{ingress}: {}", text("path")),
        field => format!("{ingress}: {field}"),
    }
}
