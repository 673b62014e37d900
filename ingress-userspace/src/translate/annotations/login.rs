//! `auth-type`, `auth-secret`, `auth-secret-type`, `auth-realm` (reference sections 1.3 and 8.2), and
//! `satisfy`.

use std::sync::Arc;

use super::{Invalid, Parser};
use crate::{model::Login, stores::Key, translate::users::Form};

#[derive(Clone, Copy)]
enum Scheme {
    Basic,
    Digest,
}

/// How many users that cannot get in are named in a message.
const NAMED: usize = 3;

pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Option<Login> {
    if parser.values.get("auth-type").is_none() {
        // ingress-nginx lets everybody in, although somebody was to be asked for a password.
        if parser.values.get("auth-secret").is_some() {
            parser.deny("auth-secret", "protects nothing without auth-type");
        }
        for key in ["auth-secret-type", "auth-realm"] {
            if parser.values.get(key).is_some() {
                parser.warn(key, "has no effect without auth-type, as in ingress-nginx");
            }
        }
        return None;
    }
    // All of them, so that everything wrong is said at once. What is wrong denies.
    let scheme = parser.refusing("auth-type", scheme);
    let form = match parser.values.get("auth-secret-type") {
        Some(_) => parser.refusing("auth-secret-type", form),
        None => Some(Form::default()),
    };
    let realm = match parser.values.get("auth-realm") {
        Some(_) => parser.refusing("auth-realm", realm),
        None => Some(Arc::default()),
    };
    let secret = secret(parser);
    login(parser, scheme?, realm?, secret?, form?)
}

/// The ways in suffice each (`satisfy: any`).
pub(super) fn satisfy_any(parser: &mut Parser<'_, '_>) -> bool {
    let any = parser.dropping("satisfy", |value| match value {
        "any" => Ok(true),
        "all" => Ok(false),
        _ => Err(Invalid("`any` or `all`")),
    });
    any.unwrap_or(false)
}

fn login(
    parser: &mut Parser<'_, '_>,
    scheme: Scheme,
    realm: Arc<str>,
    secret: Key,
    form: Form,
) -> Option<Login> {
    let secrets = &parser.lookup.stores.secrets;
    let who = format!("Secret {}/{}", secret.namespace, secret.name);
    let (login, refused) = match scheme {
        Scheme::Basic => {
            let listed = parser.users.passwords(secrets, secret, form);
            listed.map(|listed| (Login::Basic { realm, users: listed.users }, listed.refused))
        }
        Scheme::Digest => {
            let listed = parser.users.digests(secrets, secret, form);
            listed.map(|listed| (Login::Digest { realm, users: listed.users }, listed.refused))
        }
    }
    .map_err(|why| parser.deny("auth-secret", &format!("{who} {why}")))
    .ok()?;
    for why in refused.iter().take(NAMED) {
        let message = format!("{who}: {why}; who should get in by it is refused");
        parser.report.error(parser.values.field("auth-secret"), message);
    }
    if let Some(more) = refused.len().checked_sub(NAMED).filter(|more| *more > 0) {
        let message = format!("{who}: {more} more users or lines are of no use");
        parser.report.error(parser.values.field("auth-secret"), message);
    }
    if !has_users(&login) {
        let message = match &login {
            Login::Basic { .. } => format!("{who} lists no user; all requests are answered 401"),
            Login::Digest { realm, .. } => {
                format!("{who} lists no user of realm `{realm}`; all requests are answered 401")
            }
        };
        parser.report.error(parser.values.field("auth-secret"), message);
    }
    Some(login)
}

/// Somebody can get in.
fn has_users(login: &Login) -> bool {
    match login {
        Login::Basic { users, .. } => users.names().next().is_some(),
        Login::Digest { users, realm } => users.names().any(|name| {
            let own = name.splitn(2, |byte| *byte == b':').nth(1);
            own == Some(realm.as_bytes())
        }),
    }
}

fn scheme(value: &str) -> Result<Scheme, Invalid> {
    match value {
        "basic" => Ok(Scheme::Basic),
        "digest" => Ok(Scheme::Digest),
        _ => Err(Invalid("`basic` or `digest`")),
    }
}

fn form(value: &str) -> Result<Form, Invalid> {
    match value {
        "auth-file" => Ok(Form::File),
        "auth-map" => Ok(Form::Map),
        _ => Err(Invalid("`auth-file` or `auth-map`")),
    }
}

/// What can stand between quotes in `WWW-Authenticate` as it is.
fn realm(value: &str) -> Result<Arc<str>, Invalid> {
    let is_in = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/: ".contains(&byte);
    if !value.is_empty() && value.bytes().all(is_in) {
        Ok(value.into())
    } else {
        Err(Invalid("a text of letters, digits, spaces and `-._~/:`"))
    }
}

/// The Secret that `auth-secret` names.
fn secret(parser: &mut Parser<'_, '_>) -> Option<Key> {
    const KEY: &str = "auth-secret";
    let value = parser.values.get(KEY).unwrap_or_default();
    let own = parser.lookup.namespace;
    let (namespace, name) = value.split_once('/').unwrap_or((own, value));
    let is_in = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let is_name = |text: &str| !text.is_empty() && text.bytes().all(is_in);
    let key = Key::new(namespace, name);
    let elsewhere = namespace != own && !parser.config.cross_namespace;
    let why = if value.is_empty() {
        "is missing or empty: it names the Secret with the users"
    } else if !is_name(namespace) || !is_name(name) {
        "is not the name of a Secret, or its namespace, `/` and name"
    } else if elsewhere {
        "is of another namespace, which the ConfigMap's allow-cross-namespace-resources forbids"
    } else {
        return Some(key);
    };
    parser.deny(KEY, why);
    None
}
