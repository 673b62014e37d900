//! `custom-headers` (reference section 1.7): a ConfigMap of fields that answers get. A field may
//! protect (`X-Frame-Options`), so that nothing is served without one that was asked for.

use std::sync::Arc;

use super::{Parser, value::Invalid};
use crate::{
    model::FieldSetting,
    translate::{
        config::{is_ours, is_token},
        text,
    },
};

const KEY: &str = "custom-headers";

pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Option<Arc<[FieldSetting]>> {
    let (namespace, name) = parser.dropping(KEY, reference)?;
    let own = parser.lookup.namespace;
    match settings(parser, namespace.as_deref().unwrap_or(own), &name) {
        Ok(settings) => Some(settings),
        Err(why) => {
            parser.deny(KEY, &why);
            None
        }
    }
}

/// Namespace and name of a ConfigMap; the Ingress' namespace where there is none.
pub(super) fn reference(value: &str) -> Result<(Option<String>, String), Invalid> {
    const EXPECTED: Invalid = Invalid("`namespace/name` of a ConfigMap");
    let (namespace, name) = match value.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, value),
    };
    let is_name = |text: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        !text.is_empty() && text.bytes().all(is_allowed)
    };
    if !is_name(name) || !namespace.is_none_or(is_name) {
        return Err(EXPECTED);
    }
    Ok((namespace.map(str::to_owned), name.to_owned()))
}

fn settings(
    parser: &Parser<'_, '_>,
    namespace: &str,
    name: &str,
) -> Result<Arc<[FieldSetting]>, String> {
    if namespace != parser.lookup.namespace && !parser.config.cross_namespace {
        return Err(format!("ConfigMap {namespace}/{name} is of another namespace"));
    }
    let map = parser.lookup.stores.config_maps.get(namespace, name);
    let map = map.ok_or_else(|| format!("ConfigMap {namespace}/{name} does not exist"))?;
    let mut settings = Vec::new();
    for (field, value) in map.data.iter().flatten() {
        let bad = |why: &str| format!("`{field}` of ConfigMap {namespace}/{name} {why}");
        if !is_token(field) {
            return Err(bad("is no name of a header"));
        }
        if is_ours(field) {
            return Err(bad("is written by the proxy itself"));
        }
        let allowed = &parser.config.allowed_response_headers;
        if !allowed.iter().any(|allowed| allowed == field) {
            return Err(bad("is not in the ConfigMap's global-allowed-response-headers"));
        }
        let value = value.trim();
        if value.chars().any(char::is_control) {
            return Err(bad("has a control character"));
        }
        let value = text::parse(value).map_err(|why| bad(&format!("has a variable: {why}")))?;
        settings.push(FieldSetting { name: field.as_str().into(), value });
    }
    Ok(settings.into())
}
