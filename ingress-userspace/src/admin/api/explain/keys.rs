//! Which objects and keys have a stage say what it says: those that are about it, and are there.

use std::sync::Arc;

use k8s_openapi::api::{core::v1::ConfigMap, networking::v1::Ingress};
use serde_json::{Value, json};

use super::object;
use crate::{
    admin::Board,
    model::ObjectRef,
    proxy::trial::{Explanation, Noted, Stage},
};

/// Annotations without prefix, and keys of the ConfigMap, that a stage goes by. `*` at the end stands
/// for any rest.
fn about(stage: Stage) -> (&'static [&'static str], &'static [&'static str]) {
    match stage {
        Stage::Handshake => (&[], &["ssl-reject-handshake"]),
        Stage::Request => (&[], &["large-client-header-buffers"]),
        Stage::Host => (&["server-alias"], &[]),
        Stage::ClientCertificate => (&["auth-tls-*"], &[]),
        Stage::Blocked => (&[], &["block-user-agents", "block-referers"]),
        Stage::Health | Stage::Service => (&[], &[]),
        Stage::ServerSnippet => (&["server-snippet"], &["server-snippet"]),
        Stage::Route => (&["use-regex", "rewrite-target"], &[]),
        Stage::BodySize => (&["proxy-body-size"], &["proxy-body-size"]),
        Stage::Preflight => (&["enable-cors", "cors-*"], &[]),
        Stage::Target => (
            &["permanent-redirect*", "temporal-redirect*", "app-root", "from-to-www-redirect"],
            &[],
        ),
        Stage::Snippet => (&["configuration-snippet"], &["location-snippet"]),
        Stage::Rewrite => (&["rewrite-target", "use-regex"], &[]),
        Stage::HttpsRedirect => {
            (&["ssl-redirect", "force-ssl-redirect"], &["ssl-redirect", "force-ssl-redirect"])
        }
        Stage::Canary => (&["canary", "canary-*"], &[]),
        Stage::Limits => (
            &[
                "limit-rps",
                "limit-rpm",
                "limit-connections",
                "limit-burst-multiplier",
                "limit-allowlist",
                "limit-whitelist",
            ],
            &[],
        ),
        Stage::SnippetAccess => (&["configuration-snippet", "server-snippet"], &[]),
        Stage::Sources => (
            &[
                "whitelist-source-range",
                "allowlist-source-range",
                "denylist-source-range",
                "satisfy",
            ],
            &["whitelist-source-range", "denylist-source-range"],
        ),
        Stage::Login => {
            (&["auth-type", "auth-secret", "auth-secret-type", "auth-realm", "satisfy"], &[])
        }
        Stage::ExternalAuth => (
            &["auth-url", "auth-signin*", "auth-method", "auth-cache-*", "satisfy"],
            &["global-auth-*"],
        ),
        Stage::Firewall => (
            &["enable-modsecurity", "enable-owasp-core-rules", "modsecurity-snippet"],
            &["enable-modsecurity", "enable-owasp-modsecurity-crs", "modsecurity-snippet"],
        ),
        Stage::Mirror => (&["mirror-*"], &[]),
        Stage::Upstream => (
            &["upstream-vhost", "x-forwarded-prefix", "connection-proxy-header"],
            &["proxy-set-headers", "use-forwarded-headers", "compute-full-forwarded-for"],
        ),
        Stage::Endpoint => (
            &["affinity*", "session-cookie-*", "upstream-hash-by*", "load-balance"],
            &["load-balance"],
        ),
        Stage::ErrorPages => (&["custom-http-errors", "default-backend"], &["custom-http-errors"]),
    }
}

/// The objects that a request has to do with.
pub(super) struct Keys {
    ingress: Option<(ObjectRef, Arc<Ingress>)>,
    config_map: Option<(ObjectRef, Arc<ConfigMap>)>,
    /// With its slash.
    prefix: String,
}

impl Keys {
    pub(super) fn new(board: &Board, explained: &Explanation) -> Self {
        let stores = board.stores();
        let route = explained.route.as_deref();
        let own = route.map(|route| &route.ingress).filter(|own| own.kind == "Ingress");
        let ingress = own.and_then(|own| {
            Some((own.clone(), Arc::clone(stores.ingresses.get(&own.namespace, &own.name)?)))
        });
        let config_map = board.configmap.as_ref().and_then(|(namespace, name)| {
            let found = Arc::clone(stores.config_maps.get(namespace, name)?);
            Some((ObjectRef::new("ConfigMap", namespace.as_str(), name.as_str()), found))
        });
        Self { ingress, config_map, prefix: format!("{}/", board.annotations_prefix) }
    }

    /// Objects with the key or field in each.
    pub(super) fn of(&self, noted: &Noted) -> Vec<Value> {
        let mut causes = Vec::new();
        let mut add = |own: &ObjectRef, key: &str| {
            causes.push(json!({ "object": object(own), "key": key }));
        };
        if let Some((own, field)) = &noted.cause {
            add(own, field);
        }
        let (annotations, settings) = about(noted.stage);
        let mut found = false;
        if let Some((own, ingress)) = &self.ingress {
            for key in ingress.metadata.annotations.iter().flatten().map(|(key, _)| key) {
                let name = key.strip_prefix(&self.prefix);
                if name.is_some_and(|name| annotations.iter().any(|one| is_meant(one, name))) {
                    add(own, key);
                    found = true;
                }
            }
        }
        // What the Ingress says precedes it.
        if let (false, Some((own, config_map))) = (found, &self.config_map) {
            for key in config_map.data.iter().flatten().map(|(key, _)| key) {
                if settings.iter().any(|one| is_meant(one, key)) {
                    add(own, key);
                }
            }
        }
        causes
    }
}

fn is_meant(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_go_by_keys_that_exist() {
        let annotations = include_str!("../../../../../docs/annotations.md");
        let settings = include_str!("../../../translate/config/mod.rs");
        for stage in Stage::ALL {
            let (own, shared) = about(stage);
            for pattern in own {
                let name = pattern.trim_end_matches('*');
                assert!(annotations.contains(&format!("`{name}")), "{stage:?}: {pattern}");
            }
            for pattern in shared {
                let name = pattern.trim_end_matches('*');
                assert!(settings.contains(&format!("\"{name}")), "{stage:?}: {pattern}");
            }
        }
    }
}
