//! The request that asks the server about another one.

use http::Method;

use super::{super::stages::Located, value};
use crate::{
    model::{ExternalAuth, FieldPolicy},
    proxy::{
        client::Client,
        message::{BodyLength, Fields, Known, RequestHead},
        pipeline::{forwarded, headers, variables::Seen},
        respond::Failure,
    },
};

/// What a client must not say, for only a proxy can know it: a server that believed `X-Forwarded-Uri`
/// would judge another request than this one. ingress-nginx passes those on that it does not set.
const OURS: [&[u8]; 2] = [b"x-forwarded-", b"x-original-"];

/// What asks for a part of an answer or for none: a server that obeyed would give no verdict.
const CONDITIONS: [&[u8]; 6] = [
    b"if-match",
    b"if-none-match",
    b"if-modified-since",
    b"if-unmodified-since",
    b"if-range",
    b"range",
];

/// The fields of a request as variables see them: with its host, and with the id that upstreams
/// will see.
pub(super) fn known(
    client: &Client,
    head: &mut RequestHead,
    located: &Located<'_>,
    policy: &FieldPolicy,
) -> Fields {
    if policy.request_id && head.fields.get(Known::XRequestId).is_none_or(<[u8]>::is_empty) {
        head.fields.set(Known::XRequestId, &forwarded::new_request_id(client));
    }
    let mut fields = head.fields.clone();
    fields.set(Known::Host, located.authority.as_bytes());
    fields
}

/// Who we say that we are. Servers look for the name that ingress-nginx has.
const SENT_FROM: (&[u8], &[u8]) = (b"X-Sent-From", b"nginx-ingress-controller");

/// Where a browser is to come back to.
const REDIRECT: &[u8] = b"X-Auth-Request-Redirect";

/// The request is itself a question about another one.
pub(super) fn is_one(fields: &Fields) -> bool {
    fields.get_named(SENT_FROM.0) == Some(SENT_FROM.1)
}

/// The question about a request, but for the name of the server.
///
/// # Errors
/// What the request has for a variable fits neither target nor field.
pub(super) fn about(
    seen: &Seen<'_>,
    head: &RequestHead,
    located: &Located<'_>,
    auth: &ExternalAuth,
    policy: &FieldPolicy,
) -> Result<RequestHead, Failure> {
    let mut question = RequestHead {
        method: auth.method.clone().unwrap_or(Method::GET),
        version: head.version,
        target: target(seen, auth)?,
        fields: head.fields.clone(),
        ..RequestHead::default()
    };
    // RFC 9110, section 8.6: a method that means a body says that there is none.
    if [Method::POST, Method::PUT, Method::PATCH].contains(&question.method) {
        question.body = BodyLength::Exact(0);
    }
    headers::clean_request(&mut question, policy);
    let fields = &mut question.fields;
    fields.remove(Known::Upgrade);
    fields.retain(|field| {
        let begins = |prefix: &&[u8]| {
            field.name.get(..prefix.len()).is_some_and(|own| own.eq_ignore_ascii_case(prefix))
        };
        !OURS.iter().any(begins) && !CONDITIONS.iter().any(|name| field.is_named(name))
    });
    let origin = &located.origin;
    let scheme = if seen.client.tls { "https" } else { "http" };
    let url = format!("{scheme}://{}{}", located.authority, seen.target);
    fields.push(b"X-Original-URL", url.as_bytes());
    fields.push(b"X-Original-Method", seen.method.as_str().as_bytes());
    fields.push_known(Known::XRealIp, origin.address.as_bytes());
    fields.push_known(Known::XForwardedFor, &origin.forwarded_for);
    if let Some(host) = &origin.forwarded_host {
        fields.push_known(Known::XForwardedHost, host.as_bytes());
    }
    fields.remove_alike(SENT_FROM.0);
    fields.push(SENT_FROM.0, SENT_FROM.1);
    let redirect = match &auth.request_redirect {
        Some(text) => value(seen, text)?,
        None => seen.target.as_bytes().to_vec(),
    };
    fields.remove_alike(REDIRECT);
    fields.push(REDIRECT, &redirect);
    if auth.method.is_some() {
        fields.push_known(Known::XOriginalUri, seen.target.as_bytes());
        fields.push_known(Known::XScheme, &origin.scheme);
    }
    located.entry.apply(fields);
    for (name, text) in &auth.request_headers {
        let value = value(seen, text)?;
        fields.remove_alike(name.as_bytes());
        if !value.is_empty() {
            fields.push(name.as_bytes(), &value);
        }
    }
    Ok(question)
}

/// The path and query that the server is asked for.
fn target(seen: &Seen<'_>, auth: &ExternalAuth) -> Result<String, Failure> {
    if let Some(literal) = auth.target.literal() {
        return Ok(literal.to_owned());
    }
    let target =
        String::from_utf8(seen.text(&auth.target)).map_err(|_no_text| Failure::BadRequest)?;
    let is_bad = |byte: u8| byte <= b' ' || byte == 0x7F || byte == b'#';
    if target.bytes().any(is_bad) || climbs(&target) {
        return Err(Failure::BadRequest);
    }
    Ok(target)
}

/// The path has segments that lead upwards: with what comes from the client in it, the server would
/// be asked for another resource than the one that was meant.
fn climbs(target: &str) -> bool {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let is_up = |segment: &str| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        matches!(&*segment, "." | "..")
    };
    let path = path.replace('\\', "/").replace("%2f", "/").replace("%2F", "/");
    let path = path.replace("%5c", "/").replace("%5C", "/");
    path.split(['/', ';']).any(is_up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_upwards_are_told() {
        for target in
            ["/a/../b", "/a/%2e%2E/b", "/a/..", "/a/.%2e?x", "/a%2f..%2Fb", "/a\\..\\b", "/a/..;/b"]
        {
            assert!(climbs(target), "{target}");
        }
        for target in ["/a/b", "/a..b/..c", "/a?x=/../b", "/"] {
            assert!(!climbs(target), "{target}");
        }
    }
}
