//! `global-auth-url` and what goes with it (reference section 8.1): for every Ingress without an
//! `auth-url` of its own that is not exempt.

use super::{Config, Reader};
use crate::{
    model::{AuthCache, AuthHost, AuthServer, ExternalAuth},
    translate::{
        annotations::{Invalid, boolean},
        external_auth::{self as parts, ExternalRequest},
    },
};

impl Reader<'_, '_> {
    /// A value that authentication depends on and that cannot be read denies every Ingress that
    /// would be protected by it; ingress-nginx serves them without.
    pub(super) fn external_auth(&mut self, config: &mut Config) {
        let Some(value) = self.get("global-auth-url").filter(|value| !value.is_empty()) else {
            return;
        };
        let url = match parts::url(value) {
            Ok(url) => Some(url),
            Err(why) => {
                self.deny_global(config, "global-auth-url", &why);
                None
            }
        };
        let response_headers =
            self.insist_global(config, "global-auth-response-headers", parts::response_headers);
        let durations = self.insist_global(config, "global-auth-cache-duration", parts::durations);
        let mut method = None;
        self.value("global-auth-method", &mut method, |value| parts::method(value).map(Some));
        let mut redirect = None;
        self.value("global-auth-request-redirect", &mut redirect, |value| match value {
            "" => Ok(None),
            value => parts::request_redirect(value).map(Some),
        });
        let mut always_set_cookie = false;
        self.value("global-auth-always-set-cookie", &mut always_set_cookie, boolean);
        let mut parameter = None;
        self.value("global-auth-signin-redirect-param", &mut parameter, |value| match value {
            "" => Ok(None),
            value => parts::parameter(value).map(Some),
        });
        let signin = self.get("global-auth-signin").filter(|value| !value.is_empty());
        let signin = signin.and_then(|value| {
            let signin = parts::signin(value, parameter.as_deref());
            let complain = |why| {
                let message = format!("{why}; the answer stays 401");
                self.report.error("data.global-auth-signin", message);
            };
            signin.map_err(complain).ok()
        });
        let cache = self.get("global-auth-cache-key").filter(|value| !value.is_empty());
        let cache = cache.and_then(|value| match parts::cache_key(value) {
            Ok(key) => {
                let durations = durations.unwrap_or_else(parts::usual_durations);
                Some(AuthCache { key, durations })
            }
            Err(why) => {
                let message = format!("{why}; nothing is kept");
                self.report.error("data.global-auth-cache-key", message);
                None
            }
        });
        let Some(url) = url else { return };
        let auth = ExternalAuth {
            server: AuthServer { scheme: url.scheme, host: AuthHost::OfRequest, port: url.port },
            target: url.target,
            method,
            signin,
            response_headers: response_headers.unwrap_or_default(),
            request_headers: Box::default(),
            noted: Box::default(),
            request_redirect: redirect,
            cache,
            always_set_cookie,
            only_200: false,
        };
        let field = "data.global-auth-url".to_owned();
        let key = "global-auth-url".into();
        config.global_auth = Some(ExternalRequest { auth, host: url.host, field, key });
    }

    fn insist_global<T>(
        &mut self,
        config: &mut Config,
        key: &str,
        parse: fn(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let value = self.get(key).filter(|value| !value.is_empty())?;
        parse(value)
            .map_err(|Invalid(expected)| {
                self.deny_global(config, key, &format!("is not {expected}"));
            })
            .ok()
    }

    fn deny_global(&mut self, config: &mut Config, key: &str, why: &str) {
        let message = format!(
            "{why}; every Ingress answers 503 that has neither `auth-url` nor \
             `enable-global-auth: \"false\"`"
        );
        self.report.error(format!("data.{key}"), message);
        config.global_auth_denial.get_or_insert_with(|| key.into());
    }
}
