//! `auth-url` and what goes with it (reference sections 1.3 and 8.1). Where ingress-nginx switches
//! authentication off because of a value that it cannot read, here the paths answer 503.

use std::sync::Arc;

use super::{Parser, value::Invalid};
use crate::{
    model::{AuthCache, AuthHost, AuthServer, Denial, ExternalAuth, SignIn, Text},
    translate::{
        external_auth::{self as parts, ExternalRequest},
        quantity::whole,
        snippet::Question,
        text,
    },
};

/// What does nothing without `auth-url`.
const OTHERS: [&str; 9] = [
    "auth-signin",
    "auth-signin-redirect-param",
    "auth-method",
    "auth-response-headers",
    "auth-proxy-set-headers",
    "auth-request-redirect",
    "auth-cache-key",
    "auth-cache-duration",
    "auth-always-set-cookie",
];

/// The Ingress' own, else the ConfigMap's unless the Ingress is exempt from it.
pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Option<ExternalRequest> {
    let exempt = !parser.boolean("enable-global-auth", true);
    let Question { fields: more, unset } = super::snippet::question(parser);
    let Some(value) = parser.values.get("auth-url") else {
        for key in OTHERS {
            if parser.values.get(key).is_some() {
                parser.warn(key, "has no effect without auth-url, as in ingress-nginx");
            }
        }
        let config = parser.config;
        if let Some(key) = config.global_auth_denial.as_ref().filter(|_| !exempt) {
            parser.denial.get_or_insert_with(|| Denial { key: Arc::clone(key) });
        }
        return config.global_auth.clone().filter(|_| !exempt);
    };
    let url = match parts::url(value) {
        Ok(url) => Some(url),
        Err(why) => {
            parser.deny("auth-url", &why);
            None
        }
    };
    // All of them are looked at, whatever is wrong with others.
    let method = parser.refusing("auth-method", parts::method);
    let signin = signin(parser, &unset);
    let response_headers = parser.refusing("auth-response-headers", parts::response_headers);
    let mut request_headers = request_headers(parser).into_vec();
    request_headers.extend(more);
    let request_redirect = parser.refusing("auth-request-redirect", parts::request_redirect);
    let cache = cache(parser);
    let always_set_cookie = parser.refusing("auth-always-set-cookie", super::boolean);
    let keepalive = parser
        .dropping("auth-keepalive", |value| whole(value).ok_or(Invalid("a number of connections")));
    let url = url?;
    let only_200 = keepalive.is_some_and(|connections| connections > 0)
        && !parser.config.settings.client.http2
        && url.host.literal().is_some();
    let auth = ExternalAuth {
        server: AuthServer { scheme: url.scheme, host: AuthHost::OfRequest, port: url.port },
        target: url.target,
        method,
        signin,
        response_headers: response_headers.unwrap_or_default(),
        request_headers: request_headers.into(),
        noted: Box::default(),
        request_redirect,
        cache,
        always_set_cookie: always_set_cookie.unwrap_or(false),
        only_200,
    };
    let field = parser.values.field("auth-url");
    let key = parser.denial_by("auth-url").key;
    Some(ExternalRequest { auth, host: url.host, field, key })
}

/// One that cannot be read is dropped: a plain 401 lets nobody in. `unset`: variables that are empty.
fn signin(parser: &mut Parser<'_, '_>, unset: &[(usize, String)]) -> Option<SignIn> {
    let parameter = parser.dropping("auth-signin-redirect-param", parts::parameter);
    let value = parser.values.get("auth-signin")?;
    let mut said = String::new();
    let cut = text::cut(value, |part| {
        match part {
            text::Part::Text(text) => said.push_str(text),
            text::Part::Name(name) if unset.iter().any(|(_, own)| own == name) => {}
            text::Part::Name(name) => said.extend(["$", name]),
        }
        Ok(())
    });
    // Braces may stand in no URL: what is left is cut as it was.
    let keeps = unset.is_empty() || cut.is_err() || value.contains('{');
    let value = if keeps { value } else { &said };
    match parts::signin(value, parameter.as_deref()) {
        Ok(signin) => Some(signin),
        Err(why) => {
            let field = parser.values.field("auth-signin");
            parser.report.error(field, format!("{why}; the answer stays 401"));
            None
        }
    }
}

/// The entries of the ConfigMap that `auth-proxy-set-headers` names. The server may decide by any
/// of them: all or none.
fn request_headers(parser: &mut Parser<'_, '_>) -> Box<[(Arc<str>, Text)]> {
    const KEY: &str = "auth-proxy-set-headers";
    let Some(value) = parser.values.get(KEY) else { return Box::default() };
    let own = parser.lookup.namespace;
    let (namespace, name) = value.split_once('/').unwrap_or((own, value));
    let read = || {
        if namespace != own && !parser.config.cross_namespace {
            return Err("is of another namespace, which the ConfigMap's \
                        allow-cross-namespace-resources forbids"
                .to_owned());
        }
        let map = parser.lookup.stores.config_maps.get(namespace, name).ok_or("does not exist")?;
        let entries = map.data.iter().flatten();
        entries.map(|(name, value)| parts::field(name, value.trim())).collect()
    };
    match read() {
        Ok(fields) => fields,
        Err(why) => {
            let why = format!("ConfigMap {namespace}/{name} {why}");
            parser.deny(KEY, &why);
            Box::default()
        }
    }
}

/// Nothing is kept where the key cannot be read: who would share what is not known.
fn cache(parser: &mut Parser<'_, '_>) -> Option<AuthCache> {
    let durations = parser.refusing("auth-cache-duration", parts::durations);
    let key = parser.values.get("auth-cache-key").filter(|key| !key.is_empty())?;
    match parts::cache_key(key) {
        Ok(key) => {
            let durations = durations.unwrap_or_else(parts::usual_durations);
            Some(AuthCache { key, durations })
        }
        Err(why) => {
            let field = parser.values.field("auth-cache-key");
            parser.report.error(field, format!("{why}; nothing is kept"));
            None
        }
    }
}
