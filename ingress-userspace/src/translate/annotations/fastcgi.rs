//! `fastcgi-index` and `fastcgi-params-configmap` (reference section 1.7): what a FastCGI application
//! is told. A parameter may protect (`PHP_ADMIN_VALUE`), so that nothing is served without one that
//! was asked for.

use std::{collections::BTreeMap, sync::Arc};

use super::{Parser, response_headers::reference, value::Invalid};
use crate::{
    model::{FastCgi, FastCgiParameter, FastCgiPiece, FastCgiVariable, Protocol, Variable},
    translate::text::{self, Part},
};

const INDEX: &str = "fastcgi-index";
const MAP: &str = "fastcgi-params-configmap";

/// What the body decides: an application reads as many bytes.
const LENGTH: &str = "CONTENT_LENGTH";

/// nginx's file `fastcgi_params`, which ingress-nginx includes, but for `CONTENT_LENGTH`.
const DEFAULTS: [(&str, &str); 19] = [
    ("QUERY_STRING", "$query_string"),
    ("REQUEST_METHOD", "$request_method"),
    ("CONTENT_TYPE", "$content_type"),
    ("SCRIPT_NAME", "$fastcgi_script_name"),
    ("REQUEST_URI", "$request_uri"),
    ("DOCUMENT_URI", "$document_uri"),
    ("DOCUMENT_ROOT", "$document_root"),
    ("SERVER_PROTOCOL", "$server_protocol"),
    ("REQUEST_SCHEME", "$scheme"),
    ("HTTPS", "$https"),
    ("GATEWAY_INTERFACE", "CGI/1.1"),
    // Applications look for nginx here (WordPress, for how links are written).
    ("SERVER_SOFTWARE", "nginx/penstock"),
    ("REMOTE_ADDR", "$remote_addr"),
    ("REMOTE_PORT", "$remote_port"),
    ("REMOTE_USER", "$remote_user"),
    ("SERVER_ADDR", "$server_addr"),
    ("SERVER_PORT", "$server_port"),
    ("SERVER_NAME", "$server_name"),
    // PHP runs nothing without it where it was built with `--enable-force-cgi-redirect`.
    ("REDIRECT_STATUS", "200"),
];

/// The one that is left out where it is empty.
const OPTIONAL: &str = "HTTPS";

/// `$document_root` of ingress-nginx, whose servers have no `root`: nginx's default beneath its
/// prefix. A ConfigMap with `DOCUMENT_ROOT` says where the application is.
const ROOT: &str = "/usr/local/nginx/html";

/// Values by the names of their parameters.
type Values = BTreeMap<String, Box<[FastCgiPiece]>>;

/// `Some` for FastCGI only.
pub(super) fn parse(parser: &mut Parser<'_, '_>, protocol: Protocol) -> Option<Arc<FastCgi>> {
    if protocol != Protocol::Fcgi {
        for key in [INDEX, MAP] {
            if parser.values.get(key).is_some() {
                parser.warn(key, "has no effect without `backend-protocol: FCGI`");
            }
        }
        return None;
    }
    let index = parser.refusing(INDEX, |value| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let allowed = !value.is_empty() && value.bytes().all(is_allowed);
        allowed
            .then(|| Arc::from(value))
            .ok_or(Invalid("a file's name of letters, digits and `.-_`"))
    });
    let mut parameters = Values::new();
    for (name, value) in DEFAULTS {
        let value = pieces(value).expect("the defaults have known variables");
        parameters.insert(name.to_owned(), value);
    }
    if let Some((namespace, name)) = parser.refusing(MAP, reference) {
        let namespace = namespace.unwrap_or_else(|| parser.lookup.namespace.to_owned());
        match own(parser, &namespace, &name) {
            Ok(own) => parameters.extend(own),
            Err(why) => parser.deny(MAP, &format!("ConfigMap {namespace}/{name} {why}")),
        }
    }
    let parameter = |(name, value): (String, Box<[FastCgiPiece]>)| {
        let optional = name == OPTIONAL;
        FastCgiParameter { name: name.into(), value, optional }
    };
    let parameters = parameters.into_iter().map(parameter).collect();
    Some(Arc::new(FastCgi { index, parameters }))
}

/// Those of the ConfigMap; they replace the defaults of their names.
fn own(parser: &mut Parser<'_, '_>, namespace: &str, name: &str) -> Result<Values, String> {
    if namespace != parser.lookup.namespace && !parser.config.cross_namespace {
        return Err("is of another namespace".to_owned());
    }
    let map = parser.lookup.stores.config_maps.get(namespace, name);
    let map = map.ok_or("does not exist")?;
    let mut own = Values::new();
    for (name, value) in map.data.iter().flatten() {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_allowed) {
            return Err(format!("has `{name}`; names are of letters, digits and underscores"));
        }
        let value = value.trim();
        if name == LENGTH {
            if !matches!(value, "$content_length" | "${content_length}") {
                let why = format!("`{LENGTH}` is always that of the request's body");
                parser.warn(MAP, &why);
            }
            continue;
        }
        // PHP_VALUE has several lines.
        if value.chars().any(|char| char.is_control() && !matches!(char, '\n' | '\t')) {
            return Err(format!("has a control character in `{name}`"));
        }
        let value = pieces(value).map_err(|why| format!("has a variable in `{name}`: {why}"))?;
        own.insert(name.clone(), value);
    }
    Ok(own)
}

/// A value, cut into pieces. Says which variable is not known.
fn pieces(value: &str) -> Result<Box<[FastCgiPiece]>, String> {
    let mut pieces = Vec::new();
    text::cut(value, |part| {
        let piece = match part {
            Part::Text(text) => FastCgiPiece::Text(text.into()),
            Part::Name(name) => match name {
                "document_root" | "realpath_root" => FastCgiPiece::Text(ROOT.into()),
                // Nothing splits it off: ingress-nginx has no `fastcgi_split_path_info`.
                "fastcgi_path_info" => return Ok(()),
                _ => FastCgiPiece::Variable(variable(name)?),
            },
        };
        pieces.push(piece);
        Ok(())
    })?;
    Ok(pieces.into())
}

fn variable(name: &str) -> Result<FastCgiVariable, String> {
    const MORE: &str = "`$fastcgi_script_name`, `$fastcgi_path_info`, `$document_root`, \
                        `$content_type`, `$server_protocol`, `$https`, `$remote_user`, ";
    Ok(match name {
        "fastcgi_script_name" => FastCgiVariable::ScriptName,
        "uri" | "document_uri" => FastCgiVariable::Uri,
        "server_protocol" => FastCgiVariable::ServerProtocol,
        "https" => FastCgiVariable::Https,
        "remote_user" => FastCgiVariable::RemoteUser,
        "content_type" => FastCgiVariable::Request(Variable::Header("content-type".into())),
        _ => match Variable::named(name) {
            Some(variable) => FastCgiVariable::Request(variable),
            None => return Err(text::unknown(name, MORE)),
        },
    })
}
