//! What the annotations of an Ingress ask for, as typed values: here or nowhere. Whatever restricts
//! access and is not obeyed yet denies.

#[cfg(test)]
mod admission;
mod aliases;
mod balancing;
mod canary;
mod cors;
mod described;
mod document;
mod error_pages;
mod external_auth;
mod fastcgi;
mod firewall;
mod handshake;
mod known;
mod limits;
mod login;
mod mirror;
mod passthrough;
mod proxying;
mod redirect;
mod response_headers;
mod rewrite;
mod snippet;
mod sources;
mod tracing;
mod upstream_tls;
mod value;

use std::{collections::BTreeMap, sync::Arc};

pub(super) use aliases::{AliasRequest, names as alias_names};
pub(super) use balancing::{Balances, load_balance};
pub(super) use canary::{CanaryRequest, HeaderRequest, HeaderRule, read as read_canary};
pub(crate) use described::{Described, described};
pub(crate) use document::document;
pub(super) use error_pages::{ErrorPagesRequest, statuses as error_statuses};
pub(super) use handshake::{Client, Handshake};
pub(super) use known::{BUFFER_SIZE, BUFFERS, NO_FILES, Risk, Support};
pub(super) use proxying::{Source, read as read_proxying};
pub(super) use redirect::Redirects;
pub(super) use rewrite::Rewriting;
pub(super) use snippet::{Snippets, UNSET, said};
pub(super) use sources::list as source_ranges;
#[cfg(test)]
pub(crate) use upstream_tls::SUITES;
pub(super) use upstream_tls::{UpstreamTlsRequest, tls_name};
pub(super) use value::{Invalid, boolean, culprit};

use self::value::Values;
use super::{config::Config, external_auth::ExternalRequest, report::Report, users::UserLists};
use crate::{
    model::{Denial, Policies, ProxyVersion, Proxying},
    stores::Stores,
    suggestion,
};

/// What the annotations of one Ingress ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Annotations {
    pub(super) redirects: Redirects,
    /// `server-alias`.
    pub(super) aliases: Arc<[AliasRequest]>,
    pub(super) rewriting: Rewriting,
    pub(super) balances: Balances,
    /// Without TLS to endpoints, which is decided per host.
    pub(super) proxying: Arc<Proxying>,
    /// What else requests go through.
    pub(super) policies: Option<Arc<Policies>>,
    /// Who is to answer in the place of errors: becomes a part of the policies.
    pub(super) error_pages: ErrorPagesRequest,
    /// Who is asked about requests, which is decided per host; no part of `policies` yet.
    pub(super) external_auth: Option<ExternalRequest>,
    /// `proxy-ssl-secret` and what goes with it.
    pub(super) upstream_tls: Option<UpstreamTlsRequest>,
    /// The same with what a `configuration-snippet` says, for the paths of the Ingress alone.
    pub(super) upstream_tls_of_paths: Option<UpstreamTlsRequest>,
    /// Where a person finds `proxy-ssl-secret`.
    pub(super) upstream_tls_field: String,
    pub(super) handshake: Handshake,
    /// `server-snippet` is for the host.
    pub(super) snippets: Snippets,
    /// `ssl-passthrough`, and the header that endpoints get then.
    pub(super) passthrough: Option<Option<ProxyVersion>>,
    /// All its paths answer 503.
    pub(super) denial: Option<Denial>,
    /// All paths of all its hosts answer 503.
    pub(super) host_denial: Option<Denial>,
}

/// Where what annotations name is looked up.
#[derive(Clone, Copy)]
pub(super) struct Lookup<'a> {
    /// The Ingress'.
    pub(super) namespace: &'a str,
    pub(super) stores: &'a Stores,
}

/// The annotations of one Ingress while they are read.
struct Parser<'a, 'd> {
    values: Values<'a>,
    config: &'a Config,
    lookup: Lookup<'a>,
    /// Secrets with users, as they were read before.
    users: &'a mut UserLists,
    report: &'a mut Report<'d>,
    denial: Option<Denial>,
    /// What a denial means for the Ingress, to be told.
    denied: &'static str,
}

/// Every known key and what becomes of it.
#[cfg(test)]
pub(super) fn known_keys() -> impl Iterator<Item = (&'static str, Support)> {
    known::KNOWN.iter().map(|(key, _, support)| (*key, *support))
}

impl Annotations {
    /// Reads the annotations under the prefix.
    pub(super) fn parse(
        prefix: &str,
        all: Option<&BTreeMap<String, String>>,
        config: &Config,
        lookup: Lookup<'_>,
        users: &mut UserLists,
        report: &mut Report<'_>,
    ) -> Self {
        let values = Values::new(prefix, all);
        let denied = "the paths of this Ingress answer 503";
        let denial = config.denial.clone();
        let mut parser = Parser { values, config, lookup, users, report, denial, denied };
        parser.judge();
        let redirects = redirect::parse(&mut parser);
        let aliases = aliases::parse(&mut parser);
        let rewriting = rewrite::parse(&mut parser);
        let mut proxying = proxying::parse(&mut parser, rewriting.target.is_some());
        let upstream_tls = upstream_tls::parse(&mut parser);
        let upstream_tls_field = parser.values.field("proxy-ssl-secret");
        let handshake = handshake::parse(&mut parser);
        let passthrough = passthrough::parse(&mut parser);
        let snippets = snippet::parse(&mut parser);
        let balances = balancing::parse(&mut parser, &snippets.made);
        snippets.apply(&mut proxying);
        let upstream_tls_of_paths =
            upstream_tls.as_ref().and_then(|request| snippets.overrides.of_request(request));
        let host_denial = snippets.host_denial.clone();
        let policies = parser.policies(&snippets);
        let error_pages = error_pages::parse(&mut parser);
        let mut external_auth = external_auth::parse(&mut parser);
        if let Some(own) = &mut external_auth {
            own.auth.noted.clone_from(&snippets.noted);
        } else if !snippets.noted.is_empty() {
            let message = "has `auth_request_set`, which says nothing without `auth-url`";
            parser.warn("configuration-snippet", message);
        }
        Self {
            redirects,
            aliases,
            rewriting,
            balances,
            proxying,
            policies,
            error_pages,
            external_auth,
            upstream_tls,
            upstream_tls_of_paths,
            upstream_tls_field,
            handshake,
            snippets,
            passthrough,
            denial: parser.denial,
            host_denial,
        }
    }
}

impl Parser<'_, '_> {
    /// Judges every key by the table.
    fn judge(&mut self) {
        let keys: Vec<_> = self.values.iter().map(|(key, value)| (key, value.to_owned())).collect();
        for (key, value) in keys {
            let Some(support) = self.judge_any(key, &value) else { continue };
            match support {
                Support::Obeyed if canary::is_of_canaries(key) => {
                    self.warn(key, "has no effect without `canary: \"true\"`");
                }
                Support::Obeyed => {}
                // Judged with its text, the risk included.
                Support::Snippet => continue,
                Support::Needless(why) => self.warn(key, &format!("has no effect: {why}")),
                Support::Legacy => self.warn(key, "has no effect, as in current ingress-nginx"),
            }
        }
    }

    /// Judges a key by what holds for all: the ConfigMap's limits, and whether it is known.
    fn judge_any(&mut self, key: &str, value: &str) -> Option<Support> {
        if let Some(word) = self.config.blocked_words.iter().find(|word| value.contains(*word)) {
            self.deny(key, &format!("annotation-value-word-blocklist forbids `{word}`"));
        }
        let Some((risk, support)) = known::known(key) else {
            let known = known::KNOWN.iter().map(|(known, ..)| *known);
            let question = suggestion::question(key, known);
            self.warn(key, &format!("is not known and has no effect{question}"));
            return None;
        };
        // A snippet is judged with its text, the risk included.
        if risk > self.config.risk_level && support != Support::Snippet {
            self.deny(key, "is riskier than the ConfigMap's annotations-risk-level allows");
        }
        Some(support)
    }

    /// What switches stages on that most requests do not go through.
    fn policies(&mut self, snippets: &Snippets) -> Option<Arc<Policies>> {
        let policies = Policies {
            limits: limits::parse(self),
            sources: sources::parse(self),
            login: login::parse(self),
            external: None,
            satisfy_any: login::satisfy_any(self),
            cors: cors::parse(self),
            headers: response_headers::parse(self),
            errors: None,
            silent: !self.boolean("enable-access-log", true),
            tracing: tracing::parse(self),
            firewall: firewall::parse(self),
            mirror: mirror::parse(self),
            snippet: snippets.location.clone(),
        };
        // A choice of nothing is none.
        let policies = match policies {
            Policies { sources: None, login: None, external: None, .. } => {
                Policies { satisfy_any: false, ..policies }
            }
            policies => policies,
        };
        (policies != Policies::default()).then(|| Arc::new(policies))
    }

    /// A boolean; what is none is dropped (effect D).
    fn boolean(&mut self, key: &str, default: bool) -> bool {
        self.dropping(key, boolean).unwrap_or(default)
    }

    /// A value whose invalid content is dropped (effect D).
    fn dropping<T>(&mut self, key: &str, parse: fn(&str) -> Result<T, Invalid>) -> Option<T> {
        match parse(self.values.get(key)?) {
            Ok(value) => Some(value),
            Err(Invalid(expected)) => {
                let wrong = culprit(self.values.get(key).unwrap_or_default(), expected, parse);
                let message =
                    format!("is not {expected}{wrong}; the default applies{}", usual(key));
                self.report.error(self.values.field(key), message);
                None
            }
        }
    }

    /// A value whose invalid content refuses the Ingress (effect R). ingress-nginx serves what it
    /// accepted before, or nothing; here its paths answer 503, so that a broader path of another
    /// Ingress does not get their requests.
    fn refusing<T>(&mut self, key: &str, parse: fn(&str) -> Result<T, Invalid>) -> Option<T> {
        match parse(self.values.get(key)?) {
            Ok(value) => Some(value),
            Err(Invalid(expected)) => {
                let wrong = culprit(self.values.get(key).unwrap_or_default(), expected, parse);
                self.deny(key, &format!("is not {expected}{wrong}"));
                None
            }
        }
    }

    fn deny(&mut self, key: &str, why: &str) {
        let message = format!("{why}; {}", self.denied);
        self.report.error(self.values.field(key), message);
        let denial = self.denial_by(key);
        self.denial.get_or_insert(denial);
    }

    fn warn(&mut self, key: &str, message: &str) {
        self.report.warning(self.values.field(key), message);
    }

    fn denial_by(&self, key: &str) -> Denial {
        let field = self.values.field(key);
        let name = field.trim_start_matches("metadata.annotations[").trim_end_matches(']');
        Denial { key: Arc::from(name) }
    }
}

/// What applies without the annotation, in parentheses; nothing where there is nothing.
fn usual(key: &str) -> String {
    let default = described(key).map_or("", |row| row.default);
    match default.split_once("cm") {
        _ if default.is_empty() => String::new(),
        Some(("", "")) => " (what the ConfigMap says)".to_owned(),
        Some(("", rest)) => match rest.strip_prefix(", ") {
            Some(rest) => format!(" (what the ConfigMap says, else {rest})"),
            None => format!(" (what the ConfigMap's{rest} says)"),
        },
        _ => format!(" ({default})"),
    }
}
