use std::sync::Arc;

use super::{
    AddressRange, Cors, ErrorPages, ExternalAuth, FieldSetting, Firewall, Limits, Login, Mirror,
    Program, TracePolicy,
};

/// What the annotations of an Ingress ask for beyond forwarding; one field for each stage of the
/// pipeline that they switch on. Routes of Ingresses that ask for none of it have no such value at
/// all and pay for finding that out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// How much one client may have.
    pub limits: Option<Limits>,
    /// Who may ask, by address.
    pub sources: Option<Sources>,
    /// What browsers are told about other origins.
    pub cors: Option<Cors>,
    /// `custom-headers`: fields that clients get, instead of any others of their names.
    pub headers: Option<Arc<[FieldSetting]>>,
    /// Who answers in the place of errors.
    pub errors: Option<ErrorPages>,
    /// `configuration-snippet`, and what the host's `server-snippet` says for all paths.
    pub snippet: Option<Arc<Program>>,
    /// Who may ask, by name and password.
    pub login: Option<Login>,
    /// Who is asked whether a request may pass.
    pub external: Option<Arc<ExternalAuth>>,
    /// `satisfy: any`: what admits one way is enough; else all must.
    pub satisfy_any: bool,
    /// `enable-access-log: "false"`: nothing is written about requests.
    pub silent: bool,
    /// What the Ingress says about spans otherwise than the ConfigMap.
    pub tracing: Option<TracePolicy>,
    /// What rules judge requests, after they were admitted.
    pub firewall: Option<Firewall>,
    /// Who gets copies of requests.
    pub mirror: Option<Mirror>,
}

impl Policies {
    /// Without what asks for authentication: what is left of them on a path that
    /// `no-auth-locations` exempts.
    #[must_use]
    pub fn without_authentication(&self) -> Self {
        Self { login: None, external: None, satisfy_any: false, ..self.clone() }
    }
}

/// `denylist-source-range` and `whitelist-source-range`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Who may not. Precedes `allowed`.
    pub denied: Box<[AddressRange]>,
    /// Who alone may; empty: everyone.
    pub allowed: Box<[AddressRange]>,
}
