//! Fields that the ConfigMap sets, hides or adds (reference section 9.1). A request for which it
//! says nothing pays for looking at empty lists.

use crate::{
    model::{FieldPolicy, FieldSetting},
    proxy::message::{Fields, Known},
};

/// What we say that we are, where `server-tokens` has us say it.
const SERVER: &[u8] = b"penstock";

/// `proxy-add-original-uri-header`, then `proxy-set-headers`: written last.
pub(super) fn to_upstream(fields: &mut Fields, policy: &FieldPolicy, target: &str) {
    if policy.original_uri {
        fields.set(Known::XOriginalUri, target.as_bytes());
    }
    set(fields, &policy.to_upstream);
}

/// `hide-headers`, of endpoints' answers.
pub(super) fn hide(fields: &mut Fields, policy: &FieldPolicy) {
    for name in policy.hidden.iter() {
        fields.remove_named(name.as_bytes());
    }
}

/// `server-tokens` and `add-headers`, of all answers.
pub(super) fn to_client(fields: &mut Fields, policy: &FieldPolicy) {
    if policy.server {
        fields.set(Known::Server, SERVER);
    }
    set(fields, &policy.to_client);
}

fn set(fields: &mut Fields, settings: &[FieldSetting]) {
    for FieldSetting { name, value } in settings {
        if value.is_empty() {
            fields.remove_named(name.as_bytes());
        } else {
            fields.set_named(name.as_bytes(), value.as_bytes());
        }
    }
}
