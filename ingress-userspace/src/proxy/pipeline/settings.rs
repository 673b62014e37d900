//! Fields that the ConfigMap and `custom-headers` set, hide or add (reference sections 1.7 and 9.1).
//! A request for which they say nothing pays for looking at empty lists.

use super::variables::Seen;
use crate::{
    model::{FieldPolicy, FieldSetting},
    proxy::message::{Fields, Known},
};

/// What we say that we are, where `server-tokens` has us say it.
const SERVER: &[u8] = b"penstock";

/// What values with variables come to, in the order of the settings that have some.
pub(super) type Values = Vec<Vec<u8>>;

/// Some value has variables: the request is to be looked at.
pub(super) fn have_variables(settings: &[FieldSetting]) -> bool {
    settings.iter().any(|setting| setting.value.literal().is_none())
}

/// What they come to for this request.
pub(super) fn values(settings: &[FieldSetting], seen: &Seen<'_>) -> Values {
    let varying = settings.iter().filter(|setting| setting.value.literal().is_none());
    varying.map(|setting| seen.text(&setting.value)).collect()
}

/// `proxy-add-original-uri-header`, then `proxy-set-headers`: written last.
pub(super) fn to_upstream(fields: &mut Fields, policy: &FieldPolicy, target: &str, values: Values) {
    if policy.original_uri {
        fields.set(Known::XOriginalUri, target.as_bytes());
    }
    for setting in policy.to_upstream.iter() {
        fields.remove_alike(setting.name.as_bytes());
    }
    set(fields, &policy.to_upstream, values);
}

/// `hide-headers`, of endpoints' answers.
pub(super) fn hide(fields: &mut Fields, policy: &FieldPolicy) {
    for name in policy.hidden.iter() {
        fields.remove_named(name.as_bytes());
    }
}

/// `server-tokens`, of all answers.
pub(super) fn server(fields: &mut Fields, policy: &FieldPolicy) {
    if policy.server {
        fields.set(Known::Server, SERVER);
    }
}

/// Writes the fields, or removes those that are to say nothing. What comes out of variables and
/// cannot stand in a field counts as nothing.
pub(super) fn set(fields: &mut Fields, settings: &[FieldSetting], values: Values) {
    let mut values = values.into_iter();
    for FieldSetting { name, value } in settings {
        let evaluated;
        let value = match value.literal() {
            Some(text) => text.as_bytes(),
            None => {
                evaluated = values.next().unwrap_or_default();
                &evaluated
            }
        };
        let is_control = |byte: &u8| *byte < b' ' && *byte != b'\t' || *byte == 0x7F;
        if value.is_empty() || value.iter().any(is_control) {
            fields.remove_named(name.as_bytes());
        } else {
            fields.set_named(name.as_bytes(), value);
        }
    }
}
