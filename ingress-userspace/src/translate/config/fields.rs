//! What is done to the fields of requests and answers (reference sections 5.1 and 9.1).

use std::sync::Arc;

use super::Reader;
use crate::{
    model::{FieldPolicy, FieldSetting, Text},
    translate::text,
};

/// Fields that belong to a connection or to the framing of a message, or that routing has decided
/// by: to set them from outside would break what follows (RFC 9110, section 7.6.1).
pub(in crate::translate) const OURS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Reader<'_, '_> {
    /// What is done to the fields of every request and answer.
    pub(super) fn fields(&mut self) -> FieldPolicy {
        let mut policy = FieldPolicy::default();
        self.boolean("enable-underscores-in-headers", &mut policy.underscores);
        self.boolean("ignore-invalid-headers", &mut policy.drop_invalid);
        self.boolean("generate-request-id", &mut policy.request_id);
        self.boolean("proxy-add-original-uri-header", &mut policy.original_uri);
        self.boolean("server-tokens", &mut policy.server);
        if let Some(value) = self.get("hide-headers") {
            let mut hidden: Vec<Arc<str>> = Vec::new();
            for name in super::list(value) {
                if is_token(&name) {
                    hidden.push(name.to_ascii_lowercase().into());
                } else {
                    let message = format!("`{name}` is no name of a header; it is left out");
                    self.report.error("data.hide-headers", message);
                }
            }
            policy.hidden = hidden.into();
        }
        policy.to_upstream = self.settings_of("proxy-set-headers");
        policy.to_client = self.settings_of("add-headers");
        policy
    }

    /// The entries of the ConfigMap that this key names, sorted by name.
    fn settings_of(&mut self, key: &str) -> Arc<[FieldSetting]> {
        let field = format!("data.{key}");
        let Some(reference) = self.get(key).filter(|value| !value.is_empty()) else {
            return Arc::default();
        };
        let map = match reference.split_once('/') {
            Some((namespace, name)) => self.maps.get(namespace, name),
            None => {
                let message = "is not `namespace/name` of a ConfigMap; no header is set";
                self.report.error(field, message);
                return Arc::default();
            }
        };
        let Some(map) = map else {
            let message = format!("ConfigMap {reference} does not exist; no header is set");
            self.report.error(field, message);
            return Arc::default();
        };
        let mut settings = Vec::new();
        for (name, value) in map.data.iter().flatten() {
            let value = value.trim();
            let ours = is_ours(name);
            if !is_token(name) || ours {
                let why =
                    if ours { "is written by the proxy itself" } else { "is no name of a header" };
                let message = format!("`{name}` of ConfigMap {reference} {why}; it is left out");
                self.report.error(&field, message);
                continue;
            }
            let parsed = if value.chars().any(char::is_control) {
                Err("has a control character".to_owned())
            } else {
                text::parse(value).map_err(|why| format!("has a variable: {why}"))
            };
            // The client's own would be believed where the operator meant to overwrite it.
            let value = parsed.unwrap_or_else(|why| {
                let message =
                    format!("`{name}` of ConfigMap {reference} {why}; the header is removed");
                self.report.error(&field, message);
                Text::default()
            });
            settings.push(FieldSetting { name: name.as_str().into(), value });
        }
        settings.into()
    }
}

/// What only the proxy itself writes.
pub(in crate::translate) fn is_ours(name: &str) -> bool {
    OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

/// A token of HTTP (RFC 9110, section 5.6.2).
pub(in crate::translate) fn is_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}
