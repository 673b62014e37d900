//! Which endpoints a Service port has (reference sections 3.5 and 5.6).

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort},
        discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{
    model::{Backend, BackendId, BackendKey, Diagnostic, Endpoint, ObjectRef, PortRef, Severity},
    stores::Stores,
};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The backends that routes lead to, and where in which Ingress each is named first.
#[derive(Clone, Debug, Default)]
pub(super) struct Backends {
    keys: Vec<BackendKey>,
    ids: HashMap<BackendKey, BackendId>,
    /// Who to tell what is wrong with a backend: the first place of every Ingress.
    places: Vec<BTreeMap<ObjectRef, String>>,
}

impl Backends {
    /// The id of this backend, which is named in this place.
    pub(super) fn id(&mut self, key: BackendKey, object: &ObjectRef, field: &str) -> BackendId {
        let next = BackendId(u32::try_from(self.keys.len()).expect("paths are fewer than 2^32"));
        let id = *self.ids.entry(key).or_insert_with_key(|key| {
            self.keys.push(key.clone());
            self.places.push(BTreeMap::new());
            next
        });
        let place = &mut self.places[id.0 as usize];
        place.entry(object.clone()).or_insert_with(|| field.to_owned());
        id
    }

    /// The endpoints of all backends as they are now. What did not change is the same allocation as
    /// in `previous`.
    pub(super) fn resolve(
        &self,
        stores: &Stores,
        slices: &Slices<'_>,
        previous: &[Arc<Backend>],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Vec<Arc<Backend>> {
        let resolve = |(index, key): (usize, &BackendKey)| {
            let endpoints = endpoints(key, stores, slices).unwrap_or_else(|why| {
                let tell = |(object, field): (&ObjectRef, &String)| Diagnostic {
                    severity: Severity::Error,
                    object: object.clone(),
                    field: field.clone(),
                    message: format!("{why}; the answer is 503"),
                };
                diagnostics.extend(self.places[index].iter().map(tell));
                Vec::new()
            });
            match previous.get(index) {
                Some(same) if same.key == *key && same.endpoints == endpoints => Arc::clone(same),
                _ => Arc::new(Backend { key: key.clone(), endpoints }),
            }
        };
        self.keys.iter().enumerate().map(resolve).collect()
    }
}

/// The EndpointSlices by namespace and Service.
pub(super) struct Slices<'s>(HashMap<(&'s str, &'s str), Vec<&'s EndpointSlice>>);

impl<'s> Slices<'s> {
    pub(super) fn new(stores: &'s Stores) -> Self {
        let mut slices: HashMap<_, Vec<_>> = HashMap::new();
        for (key, slice) in stores.endpoint_slices.iter() {
            let labels = slice.metadata.labels.as_ref();
            // By its label alone; ingress-nginx also asks for the name to begin like the Service's,
            // a defect.
            if let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME)) {
                slices.entry((&*key.namespace, &**service)).or_default().push(&**slice);
            }
        }
        Self(slices)
    }
}

/// The first port of a Service, which default backends are asked on.
pub(super) fn first_port(service: &Service) -> Option<PortRef> {
    let port = service.spec.as_ref()?.ports.as_ref()?.first()?;
    u16::try_from(port.port).ok().map(PortRef::Number)
}

/// The ready endpoints of a Service's TCP port, sorted; or why there are none.
pub(super) fn endpoints(
    key: &BackendKey,
    stores: &Stores,
    slices: &Slices<'_>,
) -> Result<Vec<Endpoint>, String> {
    endpoints_of(key, "TCP", stores, slices)
}

/// The ready endpoints of a Service port of this protocol, sorted; or why there are none.
pub(super) fn endpoints_of(
    key: &BackendKey,
    protocol: &str,
    stores: &Stores,
    slices: &Slices<'_>,
) -> Result<Vec<Endpoint>, String> {
    let name = format!("Service {}/{}", key.namespace, key.service);
    let Some(service) = stores.services.get(&key.namespace, &key.service) else {
        return Err(format!("{name} does not exist"));
    };
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        return Err(format!("{name} is of type ExternalName, which is not supported yet"));
    }
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    // A Service may have one number for TCP and for UDP.
    let speaks = |port: &&ServicePort| port.protocol.as_deref().unwrap_or("TCP") == protocol;
    let meant = || ports.iter().filter(|port| is_meant(port, &key.port));
    let Some(port) = meant().find(speaks).or_else(|| meant().next()) else {
        let has: Vec<_> = ports.iter().map(|port| port.port.to_string()).collect();
        return Err(format!("{name} has no port {} (it has {})", key.port, has.join(", ")));
    };
    if !speaks(&port) {
        return Err(format!("port {} of {name} is not {protocol}", key.port));
    }
    let wanted = port.name.as_deref().unwrap_or_default();
    let mut endpoints: Vec<_> = slices
        .0
        .get(&(&*key.namespace, &*key.service))
        .into_iter()
        .flatten()
        .filter(|slice| matches!(&*slice.address_type, "IPv4" | "IPv6"))
        .flat_map(|slice| of_slice(slice, wanted, protocol))
        .collect();
    endpoints.sort();
    endpoints.dedup_by(|one, two| one.address == two.address);
    if endpoints.is_empty() {
        return Err(format!("{name} has no ready endpoint for port {}", key.port));
    }
    Ok(endpoints)
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

fn of_slice<'s>(
    slice: &'s EndpointSlice,
    wanted: &str,
    protocol: &str,
) -> impl Iterator<Item = Endpoint> + use<'s> {
    let is_wanted = |port: &&k8s_openapi::api::discovery::v1::EndpointPort| {
        port.name.as_deref().unwrap_or_default() == wanted
            && port.protocol.as_deref().unwrap_or("TCP") == protocol
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
        address.map(|address| Endpoint { address, pod })
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
