//! Which endpoints a Service port has (reference sections 3.5 and 5.6).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{external, slices::Slices};
use crate::{
    model::{BackendKey, Endpoint, PortRef, Severity},
    names::Names,
    stores::Stores,
    translate::Options,
};

/// What endpoints are found in.
#[derive(Clone, Copy)]
pub(in crate::translate) struct World<'a> {
    pub(in crate::translate) options: &'a Options,
    pub(in crate::translate) stores: &'a Stores,
    pub(in crate::translate) slices: &'a Slices,
    pub(in crate::translate) names: &'a Names,
}

/// The endpoints of a Service port as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::translate) struct Found {
    /// Sorted by address.
    pub(in crate::translate) endpoints: Vec<Endpoint>,
    /// The name that they are the addresses of: they change with it.
    pub(in crate::translate) name: Option<Arc<str>>,
    /// Why there are none (an error) or not those that were asked for (a warning).
    pub(in crate::translate) fault: Option<(Severity, String)>,
}

impl Found {
    pub(super) fn none(why: String) -> Self {
        Self { fault: Some((Severity::Error, why)), ..Self::default() }
    }
}

/// The first port of a Service, which default backends are asked on.
pub(in crate::translate) fn first_port(service: &Service) -> Option<PortRef> {
    let port = service.spec.as_ref()?.ports.as_ref()?.first()?;
    u16::try_from(port.port).ok().map(PortRef::Number)
}

/// The endpoints of a Service port. `service_upstream`: the Service's own address, whatever is
/// behind it.
pub(in crate::translate) fn find(
    key: &BackendKey,
    service_upstream: bool,
    world: &World<'_>,
) -> Found {
    let name = format!("Service {}/{}", key.namespace, key.service);
    let Some(service) = world.stores.services.get(&key.namespace, &key.service) else {
        return Found::none(format!("{name} does not exist"));
    };
    let nothing = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&nothing);
    if spec.type_.as_deref() == Some("ExternalName") {
        return external::find(&name, key, spec, world);
    }
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(port) = ports.iter().find(|port| is_meant(port, &key.port)) else {
        let has: Vec<_> = ports.iter().map(|port| port.port.to_string()).collect();
        return Found::none(format!("{name} has no port {} (it has {})", key.port, has.join(", ")));
    };
    if port.protocol.as_deref().is_some_and(|protocol| protocol != "TCP") {
        return Found::none(format!("port {} of {name} is not TCP", key.port));
    }
    let mut fault = None;
    if service_upstream {
        if let Some(address) = cluster_address(spec, port) {
            return Found { endpoints: vec![Endpoint::at(address)], ..Found::default() };
        }
        // As in ingress-nginx.
        let message = format!("{name} has no cluster IP for service-upstream; its endpoints serve");
        fault = Some((Severity::Warning, message));
    }
    let endpoints = behind(key, port, world.slices);
    if endpoints.is_empty() {
        return Found::none(format!("{name} has no ready endpoint for port {}", key.port));
    }
    Found { endpoints, name: None, fault }
}

/// Where the cluster's own balancing takes connections for this port.
fn cluster_address(spec: &ServiceSpec, port: &ServicePort) -> Option<SocketAddr> {
    let address = spec.cluster_ip.as_deref()?.parse::<IpAddr>().ok()?;
    let port = u16::try_from(port.port).ok().filter(|port| *port != 0)?;
    Some(SocketAddr::new(address, port))
}

/// The ready endpoints in all slices of the Service, of both families.
fn behind(key: &BackendKey, port: &ServicePort, slices: &Slices) -> Vec<Endpoint> {
    let wanted = port.name.as_deref().unwrap_or_default();
    let mut endpoints: Vec<_> = slices
        .of(key)
        .iter()
        .filter(|slice| matches!(&*slice.address_type, "IPv4" | "IPv6"))
        .flat_map(|slice| of_slice(slice, wanted))
        .collect();
    endpoints.sort();
    endpoints.dedup_by(|one, two| one.address == two.address);
    endpoints
}

/// By the port's number or name, or by its targetPort.
fn is_meant(port: &ServicePort, wanted: &PortRef) -> bool {
    match (wanted, &port.target_port) {
        (PortRef::Number(number), _) if port.port == i32::from(*number) => true,
        (PortRef::Name(name), _) if port.name.as_deref() == Some(name) => true,
        (PortRef::Number(number), Some(IntOrString::Int(target))) => *target == i32::from(*number),
        (PortRef::Number(number), Some(IntOrString::String(target))) => {
            *target == number.to_string()
        }
        (PortRef::Name(name), Some(IntOrString::String(target))) => **target == **name,
        _ => false,
    }
}

fn of_slice<'s>(slice: &'s EndpointSlice, wanted: &'s str) -> impl Iterator<Item = Endpoint> + 's {
    let is_wanted = |port: &&k8s_openapi::api::discovery::v1::EndpointPort| {
        port.name.as_deref().unwrap_or_default() == wanted
            && port.protocol.as_deref().unwrap_or("TCP") == "TCP"
    };
    let port = slice.ports.iter().flatten().find(is_wanted).and_then(|port| port.port);
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    let endpoints = slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint));
    endpoints.flat_map(move |endpoint| {
        let target = endpoint.target_ref.as_ref();
        let pod = target.filter(|target| target.kind.as_deref() == Some("Pod"));
        let pod: Option<Arc<str>> = pod.and_then(|pod| pod.name.as_deref()).map(Arc::from);
        // The API fixes that all addresses of an endpoint are one pod, the first to be used.
        let address = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok());
        let address = port.zip(address).map(|(port, address)| SocketAddr::new(address, port));
        address.map(|address| Endpoint { pod, ..Endpoint::at(address) })
    })
}

/// `ready` as the EndpointSlice API defines it: unset counts as true. It is never true for a pod
/// that terminates, except where the Service publishes addresses that are not ready.
fn is_ready(endpoint: &SliceEndpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|conditions| conditions.ready);
    let terminating = conditions.and_then(|conditions| conditions.terminating);
    ready.unwrap_or(terminating != Some(true))
}
