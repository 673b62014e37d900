//! The annotations that hold configuration of nginx (reference section 1.11): off unless the
//! ConfigMap allows them, and then obeyed as far as `translate::snippet` understands every word.

use std::{collections::BTreeSet, sync::Arc};

use super::{Parser, known::Risk};
use crate::{
    model::{Denial, Effects, Program, Proxying, ServerProgram},
    translate::snippet::{self, Fault, Overrides, Question},
};

/// What the snippets of an Ingress amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::translate) struct Snippets {
    /// `configuration-snippet`, and the ConfigMap's `location-snippet` after it.
    pub(super) location: Option<Arc<Program>>,
    pub(super) overrides: Overrides,
    /// The fields of the answer of `auth-url` that it looks at.
    pub(super) noted: Box<[Arc<str>]>,
    /// The variables that it makes; none where it is not obeyed.
    pub(super) made: BTreeSet<String>,
    /// `server-snippet`, and the ConfigMap's after it.
    pub(in crate::translate) server: Option<Arc<ServerProgram>>,
    /// The `server-snippet` cannot be obeyed: all paths of its hosts answer 503.
    pub(super) host_denial: Option<Denial>,
}

impl Snippets {
    /// Puts what the `configuration-snippet` says about forwarding in the place of what the
    /// annotations say.
    pub(super) fn apply(&self, proxying: &mut Arc<Proxying>) {
        let mut own = Proxying::clone(proxying);
        self.overrides.apply(&mut own);
        if own != **proxying {
            *proxying = Arc::new(own);
        }
    }
}

pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Snippets {
    let mut snippets = Snippets::default();
    let key = "stream-snippet";
    if text(parser, key).is_some() {
        without(parser, key, &format!("is not supported; {}", snippet::of_key(key)));
    }
    let variables = server(parser, &mut snippets);
    location(parser, &variables, &mut snippets);
    snippets
}

/// What is said of `auth_request_set` where nobody is asked.
pub(in crate::translate) const UNSET: &str = "`auth_request_set` has no effect here: its variable stays empty, as in nginx; a \
     `configuration-snippet` is where it counts";

/// `auth-snippet`: what the server of `auth-url` is told besides.
pub(super) fn question(parser: &mut Parser<'_, '_>) -> Question {
    const KEY: &str = "auth-snippet";
    let Some(text) = text(parser, KEY) else { return Question::default() };
    if let Some(why) = forbidden(parser, KEY) {
        without(parser, KEY, &why);
        return Question::default();
    }
    if parser.values.get("auth-url").is_none() {
        parser.warn(KEY, "has no effect without auth-url, as in ingress-nginx");
        return Question::default();
    }
    match snippet::parse(&text).and_then(|directives| snippet::question(&directives)) {
        Ok(question) => {
            for (line, _) in &question.unset {
                parser.warn(KEY, &format!("line {line}: {UNSET}"));
            }
            question
        }
        Err(faults) => {
            for fault in &faults {
                without(parser, KEY, &said(fault));
            }
            Question::default()
        }
    }
}

/// The snippet, unless it is empty.
fn text(parser: &Parser<'_, '_>, key: &str) -> Option<String> {
    parser.values.get(key).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Why no snippet of this key is obeyed, whatever it holds.
pub(super) fn forbidden(parser: &Parser<'_, '_>, key: &str) -> Option<String> {
    let config = parser.config;
    let why = if !config.snippets.allowed {
        "is off: the ConfigMap's `allow-snippet-annotations` is not `true`"
    } else if config.risk_level < Risk::Critical {
        "is riskier than the ConfigMap's annotations-risk-level allows"
    } else {
        return None;
    };
    Some(format!("{why}; {}", snippet::of_key(key)))
}

fn server(parser: &mut Parser<'_, '_>, snippets: &mut Snippets) -> BTreeSet<String> {
    const KEY: &str = "server-snippet";
    let mut variables = snippet::variables(&parser.config.snippets.server);
    let Some(text) = text(parser, KEY) else { return variables };
    if let Some(why) = forbidden(parser, KEY) {
        without(parser, KEY, &why);
        return variables;
    }
    let shared = &parser.config.snippets;
    let lowered = snippet::parse(&text).and_then(|mut directives| {
        variables.extend(snippet::variables(&directives));
        directives.extend(shared.server.iter().cloned());
        snippet::server(&directives, &shared.http)
    });
    match lowered {
        Ok(server) => {
            notes(parser, KEY, &server.notes);
            snippets.server = Some(Arc::new(server.program));
        }
        Err(faults) if parser.config.snippets.serve_without => {
            for fault in &faults {
                without(parser, KEY, &said(fault));
            }
        }
        Err(faults) => {
            for fault in &faults {
                let message = format!(
                    "{}; all paths of the hosts of this Ingress answer 503, those of other \
                     Ingresses too",
                    said(fault)
                );
                parser.report.error(parser.values.field(KEY), message);
            }
            snippets.host_denial = Some(parser.denial_by(KEY));
        }
    }
    variables
}

fn location(parser: &mut Parser<'_, '_>, variables: &BTreeSet<String>, snippets: &mut Snippets) {
    const KEY: &str = "configuration-snippet";
    let shared = &parser.config.snippets;
    let text = match text(parser, KEY) {
        Some(_) if forbidden(parser, KEY).is_some() => {
            let why = forbidden(parser, KEY).unwrap_or_default();
            without(parser, KEY, &why);
            String::new()
        }
        Some(text) => text,
        None if shared.location.is_empty() => return,
        None => String::new(),
    };
    let mut made = BTreeSet::new();
    let lowered = snippet::parse(&text).and_then(|mut directives| {
        directives.extend(shared.location.iter().cloned());
        made = snippet::variables(&directives);
        let location = snippet::location(&directives, variables)?;
        check(parser, &location).map_err(|fault| vec![fault])?;
        Ok(location)
    });
    match lowered {
        Ok(location) => {
            notes(parser, KEY, &location.notes);
            unheard(parser, KEY, &location.program.contexts);
            snippets.overrides = location.overrides;
            snippets.noted = location.noted.into();
            snippets.made = made;
            // What changes nothing costs nothing.
            let program = Some(location.program).filter(|program| !program.is_idle());
            snippets.location = program.map(Arc::new);
        }
        Err(faults) => {
            for fault in &faults {
                without(parser, KEY, &said(fault));
            }
        }
    }
}

/// Says which fields no endpoint hears of, because it speaks another protocol.
fn unheard(parser: &mut Parser<'_, '_>, key: &str, contexts: &[Effects]) {
    let protocol = parser.values.get("backend-protocol").unwrap_or_default();
    let grpc = ["grpc", "grpcs"].iter().any(|own| protocol.eq_ignore_ascii_case(own));
    let http = contexts.iter().any(|context| context.to_upstream.is_some());
    let only = contexts.iter().any(|context| context.to_grpc.is_some());
    let (own, other) = match (grpc, http, only) {
        (true, true, false) => ("proxy_set_header", "grpc_set_header"),
        (false, false, true) => ("grpc_set_header", "proxy_set_header"),
        _ => return,
    };
    let message = format!(
        "`{own}` has no effect with this `backend-protocol`, as in nginx; `{other}` has one"
    );
    parser.warn(key, &message);
}

/// What cannot be had together with other annotations.
fn check(parser: &Parser<'_, '_>, location: &snippet::Location) -> Result<(), Fault> {
    let has = |key: &str| parser.values.get(key).is_some();
    let authenticated = has("auth-url") || has("auth-type") || parser.config.global_auth.is_some();
    let fault =
        |line, why: &str, instead| Err(Fault { line, why: why.to_owned(), instead: Some(instead) });
    if let Some(line) = location.satisfy_any
        && authenticated
    {
        let why = "`satisfy any` beside authentication is not supported in a snippet";
        return fault(line, why, "the annotations `satisfy` and `allowlist-source-range`");
    }
    let restricts = location.program.contexts.iter().any(|context| context.access.is_some());
    if restricts && authenticated && parser.values.get("satisfy") == Some("any") {
        let why = "`allow` and `deny` beside the annotation `satisfy` are not supported";
        return fault(1, why, "the annotation `allowlist-source-range`");
    }
    if let Some(line) = location.tls
        && location.overrides.verifies()
        && !has("proxy-ssl-secret")
    {
        let why = "`proxy_ssl_verify on` has no authorities to verify endpoints by, and nginx does \
                   not start with it";
        return fault(line, why, "the annotations `proxy-ssl-secret` and `proxy-ssl-verify`");
    }
    Ok(())
}

/// What is wrong, for people.
pub(in crate::translate) fn said(fault: &Fault) -> String {
    let instead = fault.instead.map_or(String::new(), |what| format!("; instead: {what}"));
    format!("line {}: {}{instead}", fault.line, fault.why)
}

fn notes(parser: &mut Parser<'_, '_>, key: &str, notes: &[(usize, String)]) {
    for (line, note) in notes {
        parser.warn(key, &format!("line {line}: {note}"));
    }
}

/// A snippet that is not obeyed: its Ingress' paths answer 503, for it may hold access rules,
/// unless the operator has said that they are to be served without.
pub(super) fn without(parser: &mut Parser<'_, '_>, key: &str, why: &str) {
    if parser.config.snippets.serve_without {
        let message =
            format!("{why}; it is left out, as the ConfigMap's serve-without-snippets says");
        parser.report.error(parser.values.field(key), message);
    } else {
        parser.deny(key, why);
    }
}
