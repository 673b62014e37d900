//! The ConfigMaps of TCP and UDP services (reference section 9.2).

use k8s_openapi::api::core::v1::ConfigMap;

use super::{
    backend::{Slices, endpoints_of},
    report::Report,
};
use crate::{
    model::{BackendKey, Diagnostic, ObjectRef, PortRef, ProxyVersion, TcpService, UdpService},
    stores::Stores,
};

const FORM: &str = "`namespace/service:port`";

/// The TCP services. What is no `port: namespace/service:port[:PROXY][:PROXY]`, and a Service
/// without endpoints, keeps its port closed.
pub(super) fn tcp(
    source: Option<&(String, String)>,
    stores: &Stores,
    slices: &Slices<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<TcpService> {
    let mut services = Vec::new();
    each(source, "--tcp-services-configmap", stores, diagnostics, |object, port, value| {
        let (backend, rest) = backend(value)?;
        let mut words = rest.into_iter();
        // The first is about what comes in, the second about what goes out, and either may be
        // empty. `PROXY-V2` is an addition of ours.
        let accept_proxy = match words.next() {
            None | Some("") => false,
            Some("PROXY") => true,
            Some(other) => return Err(format!("`{other}` is not `PROXY`")),
        };
        let send_proxy = match words.next() {
            None | Some("") => None,
            Some("PROXY") => Some(ProxyVersion::V1),
            Some("PROXY-V2") => Some(ProxyVersion::V2),
            Some(other) => return Err(format!("`{other}` is not `PROXY` or `PROXY-V2`")),
        };
        if words.next().is_some() {
            return Err(format!("has more than {FORM}, `:PROXY` and `:PROXY`"));
        }
        let found = endpoints_of(&backend, "TCP", stores, slices)?;
        let endpoints = found.iter().map(|endpoint| endpoint.address).collect();
        let object = object.clone();
        services.push(TcpService { port, object, backend, endpoints, accept_proxy, send_proxy });
        Ok(())
    });
    services.sort_by_key(|service| service.port);
    services
}

/// The UDP services, likewise.
pub(super) fn udp(
    source: Option<&(String, String)>,
    stores: &Stores,
    slices: &Slices<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<UdpService> {
    let mut services = Vec::new();
    each(source, "--udp-services-configmap", stores, diagnostics, |object, port, value| {
        let (backend, rest) = backend(value)?;
        if !rest.is_empty() {
            return Err(format!("has more than {FORM}"));
        }
        let found = endpoints_of(&backend, "UDP", stores, slices)?;
        let endpoints = found.iter().map(|endpoint| endpoint.address).collect();
        services.push(UdpService { port, object: object.clone(), backend, endpoints });
        Ok(())
    });
    services.sort_by_key(|service| service.port);
    services
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
