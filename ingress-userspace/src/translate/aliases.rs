//! The other names of hosts: `server-alias` and `from-to-www-redirect` (reference sections 1.2, 1.7,
//! 3.1).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{annotations::AliasRequest, host::HostParts, report::Report, tls::Certificates};
use crate::{
    expression::{Case, Expressions},
    model::{
        Alias, AliasName, CertificateId, Diagnostic, HostName, ObjectRef, PathKind, Route, Target,
    },
};

/// What hosts are to be called too, in the order of the Ingresses.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    ingress: ObjectRef,
    host: HostName,
    names: Arc<[AliasRequest]>,
}

/// What is needed to settle names.
pub(super) struct Settling<'a> {
    pub(super) certificates: &'a Certificates,
    pub(super) expressions: &'a mut Expressions,
    /// Where people find `server-alias`.
    pub(super) alias_field: String,
    /// Where they find `from-to-www-redirect`.
    pub(super) www_field: String,
    /// What the route of a redirecting host is like.
    pub(super) template: &'a Route,
}

impl Aliases {
    /// The names that an Ingress asks for one of its hosts. The oldest that asks for some gets
    /// them.
    pub(super) fn add(
        &mut self,
        name: &HostName,
        host: &mut HostParts,
        names: &Arc<[AliasRequest]>,
        field: &str,
        report: &mut Report<'_>,
    ) {
        if names.is_empty() {
            return;
        }
        match &host.aliased_by {
            Some(own) if *own == report.object => {}
            Some(older) => {
                let message = format!("the aliases of this host are those of {older}");
                report.warning(field, message);
            }
            None => {
                host.aliased_by = Some(report.object.clone());
                let (ingress, names) = (report.object.clone(), Arc::clone(names));
                self.asked.push(Asked { ingress, host: name.clone(), names });
            }
        }
    }

    /// Gives hosts their aliases, and adds the hosts that redirect to others.
    pub(super) fn settle(
        self,
        hosts: &mut BTreeMap<HostName, HostParts>,
        settling: &mut Settling<'_>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let mut taken: HashMap<String, HostName> = HashMap::new();
        for Asked { ingress, host, names } in self.asked {
            let mut report = Report::on(ingress, diagnostics);
            for request in names.iter() {
                match settling.alias(&host, request, hosts, &mut taken) {
                    Ok(Some(alias)) => {
                        if let Some(host) = hosts.get_mut(&host) {
                            host.aliases.push(alias);
                        }
                    }
                    Ok(None) => {}
                    Err(why) => report.warning(&*settling.alias_field, why),
                }
            }
        }
        settling.add_redirecting(hosts, &taken, diagnostics);
    }
}

impl Settling<'_> {
    /// The alias; `None` where the host has it already. An existing host wins over an alias.
    fn alias(
        &mut self,
        host: &HostName,
        request: &AliasRequest,
        hosts: &BTreeMap<HostName, HostParts>,
        taken: &mut HashMap<String, HostName>,
    ) -> Result<Option<Alias>, String> {
        let text = request.text();
        let as_host = match request {
            AliasRequest::Exact(name) => Some(HostName::Exact(Arc::clone(name))),
            AliasRequest::Beneath(suffix) => Some(HostName::Wildcard(Arc::clone(suffix))),
            AliasRequest::Before(_) | AliasRequest::Matching(_) => None,
        };
        if as_host.as_ref() == Some(host) {
            return Ok(None);
        }
        if as_host.as_ref().is_some_and(|name| hosts.contains_key(name)) {
            return Err(format!("`{text}` is a host of its own, and no alias"));
        }
        match taken.get(&text) {
            Some(own) if own == host => return Ok(None),
            Some(_) => return Err(format!("`{text}` is the alias of another host already")),
            None => {}
        }
        let name = match request {
            AliasRequest::Exact(name) => AliasName::Exact(Arc::clone(name)),
            AliasRequest::Beneath(suffix) => AliasName::Beneath(Arc::clone(suffix)),
            AliasRequest::Before(prefix) => AliasName::Before(Arc::clone(prefix)),
            AliasRequest::Matching(pattern) => {
                let pattern = self.expressions.get(pattern, Case::Ignored);
                AliasName::Matching(
                    pattern.map_err(|why| format!("`{text}` is no regular expression: {why}"))?,
                )
            }
        };
        let covered = || self.certificate(hosts.get(host)?, &text);
        let tls = match &name {
            // Names beneath a TLS wildcard are looked up there, as those of hosts are.
            AliasName::Exact(name) => covered().is_some() || has_tls_above(name, hosts),
            AliasName::Beneath(_) => covered().is_some(),
            AliasName::Before(_) | AliasName::Matching(_) => false,
        };
        taken.insert(text, host.clone());
        Ok(Some(Alias { name, tls }))
    }

    /// The host's certificate, if it covers this name too.
    fn certificate(&self, host: &HostParts, name: &str) -> Option<CertificateId> {
        host.tls.flatten().filter(|id| self.certificates.covers(*id, name))
    }

    /// Adds `www.name` for `name`, and the other way round, where hosts ask for it.
    fn add_redirecting(
        &self,
        hosts: &mut BTreeMap<HostName, HostParts>,
        taken: &HashMap<String, HostName>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let mut added = Vec::new();
        for (name, host) in &*hosts {
            let Some(ingress) = &host.www else { continue };
            let mut report = Report::on(ingress.clone(), diagnostics);
            let HostName::Exact(to) = name else {
                report.warning(&*self.www_field, "has no effect on a host that is no single name");
                continue;
            };
            let from = match to.strip_prefix("www.") {
                Some(bare) => Arc::from(bare),
                None => Arc::from(format!("www.{to}")),
            };
            let is_alias = taken.contains_key(&*from);
            let from_host = HostName::Exact(Arc::clone(&from));
            if is_alias || hosts.contains_key(&from_host) {
                let what = if is_alias { "an alias" } else { "a host" };
                let message =
                    format!("`{from}` is {what} already, and does not redirect to `{to}`");
                report.warning(&*self.www_field, message);
                continue;
            }
            let route = Route {
                ingress: ingress.clone(),
                field: self.www_field.clone(),
                kind: PathKind::Prefix,
                path: "/".into(),
                target: Target::OtherHost(Arc::clone(to)),
                ..self.template.clone()
            };
            let mut parts = HostParts::new(from_host.clone(), route);
            parts.tls = self.certificate(host, &from).map(Some);
            added.push((from_host, parts));
        }
        hosts.extend(added);
    }
}

fn has_tls_above(name: &str, hosts: &BTreeMap<HostName, HostParts>) -> bool {
    let above = name.split_once('.').map(|(_, suffix)| HostName::Wildcard(suffix.into()));
    above.and_then(|above| hosts.get(&above)).is_some_and(|host| host.tls.is_some())
}
