//! Services of type ExternalName (reference section 5.6): a name outside the cluster.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::{ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::endpoints::{Found, World, speaks};
use crate::{
    model::{BackendKey, Endpoint, PortRef, Severity, Transport},
    names::{Known, is_own},
};

/// The addresses that the name of this Service stands for. `name`: how to speak of the Service.
pub(super) fn find(
    name: &str,
    key: &BackendKey,
    transport: Transport,
    spec: &ServiceSpec,
    world: &World<'_>,
) -> Found {
    if world.options.disable_svc_external_name {
        return Found::none(format!(
            "{name} is of type ExternalName, which --disable-svc-external-name forbids"
        ));
    }
    let Some(port) = port(key, transport, spec) else {
        return Found::none(format!("{name} has no port {}", key.port));
    };
    let external = spec.external_name.as_deref().unwrap_or_default().to_ascii_lowercase();
    let at = |address: &IpAddr| Endpoint::at(SocketAddr::new(*address, port));
    if let Ok(address) = external.parse::<IpAddr>() {
        if is_own(address) {
            return Found::none(refused(name, &external));
        }
        return Found { endpoints: vec![at(&address)], ..Found::default() };
    }
    let bare = external.trim_end_matches('.');
    if bare == "localhost" || bare.ends_with(".localhost") {
        return Found::none(refused(name, &external));
    }
    if !is_name(bare) {
        return Found::none(format!("the externalName `{external}` of {name} is no DNS name"));
    }
    let external: Arc<str> = external.into();
    // A datagram cannot find out which of two families gets through: IPv4, if there is one.
    let one_family =
        |addresses: &[IpAddr]| transport == Transport::Udp && addresses.iter().any(IpAddr::is_ipv4);
    let of = |addresses: &[IpAddr]| -> Vec<Endpoint> {
        let all = !one_family(addresses);
        addresses.iter().filter(|address| all || address.is_ipv4()).map(at).collect()
    };
    let found = match world.names.get(&external) {
        Some(Known::Addresses { addresses, late: None }) => {
            Found { endpoints: of(addresses), ..Found::default() }
        }
        Some(Known::Addresses { addresses, late: Some(why) }) => {
            let message = format!("`{external}` of {name}: {why}; its last addresses stay");
            Found {
                endpoints: of(addresses),
                fault: Some((Severity::Warning, message)),
                name: None,
            }
        }
        Some(Known::Nothing(why)) => Found::none(format!("`{external}` of {name}: {why}")),
        None => Found::none(format!("`{external}` of {name} is not resolved yet")),
    };
    Found { name: Some(external), ..found }
}

/// A Service can do no more than this node's own programs: their addresses are not for it.
fn refused(name: &str, external: &str) -> String {
    format!("the externalName `{external}` of {name} is this node itself, which is refused")
}

/// By the Service's port of that name or number its targetPort, else the number itself.
fn port(key: &BackendKey, transport: Transport, spec: &ServiceSpec) -> Option<u16> {
    let ports = spec.ports.as_deref().unwrap_or_default();
    let is_meant = |port: &&ServicePort| match &key.port {
        PortRef::Number(number) => port.port == i32::from(*number),
        PortRef::Name(name) => port.name.as_deref() == Some(name),
    };
    let port = ports.iter().find(|port| speaks(port, transport) && is_meant(port));
    let number = match (port, &key.port) {
        (Some(port), _) => match port.target_port {
            Some(IntOrString::Int(target)) if target != 0 => target,
            _ => port.port,
        },
        (None, PortRef::Number(number)) => i32::from(*number),
        (None, PortRef::Name(_)) => return None,
    };
    u16::try_from(number).ok().filter(|port| *port != 0)
}

fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}
