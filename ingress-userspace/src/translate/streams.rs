//! The ConfigMaps of TCP and UDP services (reference section 9.2).

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::ConfigMap;

use super::{
    backends::{Found, World, find},
    options::Options,
    report::Report,
};
use crate::{
    model::{
        BackendKey, Diagnostic, ObjectRef, PortRef, ProxyVersion, Severity, TcpService, Transport,
        UdpService,
    },
    stores::{Key, Stores},
};

const FORM: &str = "`namespace/service:port`";

/// What both ConfigMaps ask for, sorted by transport and port, no two equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Services(Vec<Asked>);

/// A port and the Service that it leads to, whose endpoints are found apart.
#[derive(Clone, Debug)]
struct Asked {
    transport: Transport,
    port: u16,
    object: ObjectRef,
    backend: BackendKey,
    accept_proxy: bool,
    send_proxy: Option<ProxyVersion>,
}

impl Services {
    /// Reads both ConfigMaps. What is no `port: namespace/service:port`, for TCP followed by
    /// `[:PROXY][:PROXY]`, keeps its port closed.
    pub(super) fn read(
        options: &Options,
        stores: &Stores,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut all = Vec::new();
        let source = options.tcp_services.as_ref();
        each(source, "--tcp-services-configmap", stores, diagnostics, |object, port, value| {
            let (backend, rest) = backend(value)?;
            let (accept_proxy, send_proxy) = proxy_headers(&rest)?;
            let (transport, object) = (Transport::Tcp, object.clone());
            all.push(Asked { transport, port, object, backend, accept_proxy, send_proxy });
            Ok(())
        });
        let source = options.udp_services.as_ref();
        each(source, "--udp-services-configmap", stores, diagnostics, |object, port, value| {
            let (backend, rest) = backend(value)?;
            if !rest.is_empty() {
                return Err(format!("has more than {FORM}"));
            }
            let (transport, object) = (Transport::Udp, object.clone());
            let (accept_proxy, send_proxy) = (false, None);
            all.push(Asked { transport, port, object, backend, accept_proxy, send_proxy });
            Ok(())
        });
        all.sort_by_key(|one| (one.transport, one.port));
        Self(all)
    }

    /// The endpoints of each, in this order.
    pub(super) fn resolve(&self, world: &World<'_>) -> Vec<Found> {
        self.0.iter().map(|one| one.resolve(world)).collect()
    }

    /// Looks again at those whose Service is among `services` or whose name among `names`; `found`
    /// is of these same services.
    pub(super) fn resolve_again(
        &self,
        world: &World<'_>,
        services: &HashSet<Key>,
        names: &HashSet<Arc<str>>,
        found: &mut [Found],
    ) {
        for (one, found) in self.0.iter().zip(found) {
            let key =
                Key::new(Arc::clone(&one.backend.namespace), Arc::clone(&one.backend.service));
            let is_named = found.name.as_ref().is_some_and(|name| names.contains(name));
            if is_named || services.contains(&key) {
                *found = one.resolve(world);
            }
        }
    }

    /// The services with their endpoints. One without keeps its port closed, which is told.
    pub(super) fn finish(
        &self,
        found: &[Found],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> (Vec<TcpService>, Vec<UdpService>) {
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        for (one, found) in self.0.iter().zip(found) {
            if let Some((severity, why)) = &found.fault {
                let field = format!("data.{}", one.port);
                let mut report = Report::on(one.object.clone(), diagnostics);
                match severity {
                    Severity::Warning => report.warning(field, why.clone()),
                    Severity::Error => report.error(field, format!("{why}; the port is closed")),
                }
            }
            if found.endpoints.is_empty() {
                continue;
            }
            let endpoints = found.endpoints.iter().map(|endpoint| endpoint.address).collect();
            let Asked { transport, port, object, backend, accept_proxy, send_proxy } = one.clone();
            match transport {
                Transport::Tcp => tcp.push(TcpService {
                    port,
                    object,
                    backend,
                    endpoints,
                    is_name: found.name.is_some(),
                    accept_proxy,
                    send_proxy,
                }),
                Transport::Udp => udp.push(UdpService { port, object, backend, endpoints }),
            }
        }
        (tcp, udp)
    }
}

impl Asked {
    fn resolve(&self, world: &World<'_>) -> Found {
        find(&self.backend, self.transport, false, world)
    }
}

/// The names that the services stand for.
pub(super) fn names(found: &[Found]) -> BTreeSet<Arc<str>> {
    found.iter().filter_map(|found| found.name.clone()).collect()
}

/// Whether a header must come in, and which one goes out.
fn proxy_headers(words: &[&str]) -> Result<(bool, Option<ProxyVersion>), String> {
    // Either may be empty. `PROXY-V2` is an addition of ours.
    let accept = match words.first() {
        None | Some(&"") => false,
        Some(&"PROXY") => true,
        Some(other) => return Err(format!("`{other}` is not `PROXY`")),
    };
    let send = match words.get(1) {
        None | Some(&"") => None,
        Some(&"PROXY") => Some(ProxyVersion::V1),
        Some(&"PROXY-V2") => Some(ProxyVersion::V2),
        Some(other) => return Err(format!("`{other}` is not `PROXY` or `PROXY-V2`")),
    };
    if words.len() > 2 {
        return Err(format!("has more than {FORM}, `:PROXY` and `:PROXY`"));
    }
    Ok((accept, send))
}

/// Calls `add` for every entry of the ConfigMap whose key is a port, and reports what it refuses.
fn each(
    source: Option<&(String, String)>,
    flag: &str,
    stores: &Stores,
    diagnostics: &mut Vec<Diagnostic>,
    mut add: impl FnMut(&ObjectRef, u16, &str) -> Result<(), String>,
) {
    let Some((namespace, name)) = source else { return };
    let object = ObjectRef::new("ConfigMap", namespace.as_str(), name.as_str());
    let mut report = Report::on(object.clone(), diagnostics);
    let Some(map) = stores.config_maps.get(namespace, name) else {
        return report.warning(flag, "does not exist; no such port is open");
    };
    let ConfigMap { data, .. } = &**map;
    for (key, value) in data.iter().flatten() {
        // Written as the kernel would, so that no two keys are one port.
        let port = key.parse::<u16>().ok().filter(|port| *port != 0 && port.to_string() == *key);
        let outcome = match port {
            Some(port) => add(&object, port, value.trim()),
            None => Err("is no port, 1 to 65535".to_owned()),
        };
        if let Err(why) = outcome {
            report.error(format!("data.{key}"), format!("{why}; the port is closed"));
        }
    }
}

/// The Service and its port, and what follows behind further colons.
fn backend(value: &str) -> Result<(BackendKey, Vec<&str>), String> {
    let mut parts = value.split(':');
    let service = parts.next().and_then(|service| service.split_once('/'));
    let port = parts.next().filter(|port| !port.is_empty());
    let (Some((namespace, service)), Some(port)) = (service, port) else {
        return Err(format!("`{value}` is not {FORM}"));
    };
    if namespace.is_empty() || service.is_empty() || service.contains('/') {
        return Err(format!("`{value}` is not {FORM}"));
    }
    let port = match port.parse::<u16>() {
        Ok(0) => return Err("port 0 is not between 1 and 65535".to_owned()),
        Ok(number) => PortRef::Number(number),
        Err(_) => PortRef::Name(port.into()),
    };
    Ok((BackendKey { namespace: namespace.into(), service: service.into(), port }, parts.collect()))
}
