//! `/explain`: what would happen to a request, and by which rule. Follows the order of the request
//! pipeline, which it must be kept in step with.

use serde_json::{Value, json};

use super::{Board, state};
use crate::{
    model::{HttpsRedirect, Login, Policies, Target},
    route::{Found, normalize},
};

/// What would happen to a request for `url`, which is a query's parameter.
pub(super) fn render(board: &Board, query: &str) -> Result<Value, String> {
    const USAGE: &str = "use /explain?url=http://host/path\n";
    let url = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("url="))
        .map(decode)
        .filter(|url| !url.is_empty())
        .ok_or(USAGE)?;
    let uri: http::Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}\n"))?;
    let authority = uri.authority().ok_or(USAGE)?.as_str();
    let https = uri.scheme_str() == Some("https");
    let path = normalize(uri.path()).map_err(|error| format!("the answer is 400: {error}\n"))?;

    let snapshot = board.reader.current();
    let host = snapshot.routes.host(authority);
    let mut answer = json!({
        "url": url,
        "generation": snapshot.generation,
        "host": state::host_name(host.name()),
        "normalized": &*path,
        "ingress": null, "field": null, "path": null, "kind": null,
        "action": "not-found", "status": 404,
        "backend": null, "endpoints": [], "asks": [],
    });
    let (compiled, slash) = match host.find(&path) {
        Found::Route(compiled) => (compiled, false),
        Found::AddSlash(compiled) => (compiled, true),
        Found::None => return Ok(answer),
    };
    let route = &compiled.route;
    answer["ingress"] = json!(route.ingress.to_string());
    answer["field"] = json!(route.field);
    answer["path"] = json!(&*route.path);
    answer["kind"] = json!(state::path_kind(route.kind));
    if let Some(policies) = &route.policies {
        answer["asks"] = json!(asks(policies));
    }
    let redirects = !https
        && match route.https_redirect {
            HttpsRedirect::Never => false,
            HttpsRedirect::IfTls => host.tls(),
            HttpsRedirect::Always => true,
        };
    let (action, status) = match &route.target {
        _ if slash => ("add-slash", Some(301)),
        Target::Denied(denial) => {
            answer["because"] = json!(&*denial.key);
            ("denied", Some(503))
        }
        Target::Redirect(redirect) => {
            answer["location"] = json!(&*redirect.location);
            ("redirect", Some(redirect.status))
        }
        _ if redirects => ("redirect-to-https", Some(snapshot.model.settings.redirect_code as u16)),
        Target::NotFound => ("not-found", Some(404)),
        Target::Backend(id) => {
            let backend =
                usize::try_from(id.0).ok().and_then(|place| snapshot.model.backends.get(place));
            if let Some(backend) = backend {
                let mut shown = state::backend(backend);
                answer["backend"] = shown["name"].take();
                answer["endpoints"] = shown["endpoints"].take();
            }
            answer["upstream-path"] = json!(compiled.rewrite(&path));
            match backend {
                Some(backend) if !backend.endpoints.is_empty() => ("forward", None),
                _ => ("no-endpoints", Some(503)),
            }
        }
    };
    answer["action"] = json!(action);
    answer["status"] = json!(status);
    Ok(answer)
}

/// What a client has to satisfy before its request is forwarded.
fn asks(policies: &Policies) -> Vec<&'static str> {
    let login = policies.login.as_ref().map(|login| match login {
        Login::Basic { .. } => "basic",
        Login::Digest { .. } => "digest",
    });
    let ways = [
        policies.satisfy_any.then_some("any of"),
        policies.sources.as_ref().map(|_| "address"),
        login,
        policies.external.as_ref().map(|_| "external"),
    ];
    ways.into_iter().flatten().collect()
}

/// Undoes percent-encoding; what is no encoding stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = |place: usize| bytes.get(place).and_then(|digit| char::from(*digit).to_digit(16));
        match (byte, hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_decoded_once() {
        assert_eq!(decode("http%3A%2F%2Fa.example%2Fb%2520c"), "http://a.example/b%20c");
        assert_eq!(decode("100%"), "100%");
    }
}
