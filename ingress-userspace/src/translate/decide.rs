//! What an Ingress decides for the whole of a host, and not for its own paths alone (reference section
//! 3.5): the oldest that has something to say is heard.

use std::sync::Arc;

use super::{
    annotations::{Annotations, Client},
    host::deny,
    ingress::{Assembly, Current, base},
    report::Report,
};
use crate::{
    model::{
        ClientAuth, ClientRule, Denial, HostName, HostTls, HttpsRedirect, PathKind, RedirectForm,
        RedirectPort, Route, Target,
    },
    stores::Key,
};

impl Assembly<'_> {
    /// The oldest Ingress with TLS decides for each of its hosts, listed there or not.
    pub(super) fn decide_tls(
        &mut self,
        name: &HostName,
        current: &Current<'_>,
        report: &mut Report<'_>,
    ) {
        let text = match name {
            HostName::Exact(name) => name.to_string(),
            HostName::Wildcard(suffix) => format!("*.{suffix}"),
            // Always has the default certificate and never redirects.
            HostName::CatchAll => return,
        };
        let has_tls = current.spec.tls.as_ref().is_some_and(|entries| !entries.is_empty());
        let Some(host) = self.hosts.get_mut(name) else { return };
        if has_tls && host.tls.is_none() {
            let secrets = &self.stores.secrets;
            let namespace = &current.key.namespace;
            let ingress = current.ingress;
            host.tls = Some(self.certificates.of_host(secrets, namespace, ingress, &text, report));
        }
    }

    /// What the annotations of an Ingress ask of its hosts' handshakes.
    pub(super) fn handshake(
        &mut self,
        key: &Key,
        annotations: &Annotations,
        report: &mut Report<'_>,
    ) -> HostTls {
        let asked = &annotations.handshake;
        HostTls {
            suites: asked.suites.clone(),
            prefer_own_suites: asked.prefer_own_suites,
            client_auth: asked.client.as_ref().map(|client| self.client_auth(key, client, report)),
        }
    }

    /// A Secret that is missing, of another namespace or without authority closes the host. (Of
    /// one without `ca.crt` ingress-nginx makes a host that lets everybody in.)
    pub(super) fn client_auth(
        &mut self,
        key: &Key,
        asked: &Client,
        report: &mut Report<'_>,
    ) -> ClientAuth {
        let Some((namespace, name)) = &asked.secret else { return ClientAuth::Broken };
        let secret = Key::new(namespace.as_str(), name.as_str());
        let found = if self.config.cross_namespace || *namespace == *key.namespace {
            self.authorities.of_secret(&self.stores.secrets, &secret)
        } else {
            Err("is of another namespace than the Ingress".into())
        };
        match found {
            Ok(authority) => ClientAuth::Rule(Arc::new(ClientRule {
                authority,
                verify: asked.verify,
                depth: asked.depth,
                error_page: asked.error_page.clone(),
                pass_certificate: asked.pass_certificate,
                subject: asked.subject.clone(),
            })),
            Err(why) => {
                let field = self.field("auth-tls-secret");
                let message = format!(
                    "Secret {namespace}/{name} {why}; all paths of the hosts of this Ingress are \
                     refused, those of other Ingresses too"
                );
                report.error(field, message);
                ClientAuth::Broken
            }
        }
    }

    pub(super) fn ask_of_handshakes(&mut self, name: &HostName, current: &Current<'_>) {
        if current.handshake == HostTls::default() {
            return;
        }
        let key = format!("{}/auth-tls-secret", self.options.annotations_prefix).into();
        if let Some(host) = self.hosts.get_mut(name) {
            host.ask(current.handshake.clone(), &Denial { key });
        }
    }

    pub(super) fn set_app_root(&mut self, name: &HostName, current: &Current<'_>, path: &Arc<str>) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        host.app_root.get_or_insert_with(|| {
            let location = Arc::clone(path);
            let target = Target::Redirect(crate::model::Redirect { status: 302, location });
            let mut route = Route { target, ..base(current, "metadata.annotations", "/") };
            route.kind = PathKind::Exact;
            route.redirect_form = RedirectForm { port: RedirectPort::AsAsked, relative: false };
            // Precedes the redirect to HTTPS, and whatever else there is of a path.
            route.policies = None;
            route.https_redirect = HttpsRedirect::Never;
            if let Some(denial) = &self.config.denial {
                deny(&mut route, denial);
            }
            route
        });
    }

    pub(super) fn deny_host(&mut self, name: &HostName, current: &Current<'_>) {
        if let Some(denial) = &current.annotations.host_denial
            && let Some(host) = self.hosts.get_mut(name)
        {
            host.denial.get_or_insert_with(|| denial.clone());
        }
    }

    /// The oldest Ingress with `proxy-ssl-secret` decides for all of the host.
    pub(super) fn decide_upstream_tls(&mut self, name: &HostName, current: &Current<'_>) {
        if !self.config.upstream_tls_per_ingress
            && let Some(policy) = &current.upstream_tls
            && let Some(host) = self.hosts.get_mut(name)
        {
            host.upstream_tls.get_or_insert_with(|| policy.clone());
        }
    }

    /// The oldest Ingress with a `server-snippet` decides for all of the host.
    pub(super) fn decide_snippet(
        &mut self,
        name: &HostName,
        current: &Current<'_>,
        report: &mut Report<'_>,
    ) {
        let Some(own) = &current.annotations.snippets.server else { return };
        let field = self.field("server-snippet");
        let Some(host) = self.hosts.get_mut(name) else { return };
        match &host.snippet {
            Some((older, _)) if *older != current.object => {
                let message = format!("{older} has one for this host, which counts: it is older");
                report.warning(field, message);
            }
            _ => host.snippet = Some((current.object.clone(), Arc::clone(own))),
        }
    }
}
