//! The kernel tier within the agent: started once the objects are known, told of their nodes, asked
//! for its counters. Absent where it is off.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use ingress_common::{Counters, HashKey, Reason};
use k8s_openapi::api::core::v1::Service;

use super::Addresses;
use crate::{
    config::{Config, L4, L4Mode},
    kubernetes::Publish,
    l4::{self, L4Error, Services},
    model::{Member, Model},
    stores::{Key, Stores},
};

/// The key of the flow hash where none is configured. It spreads connections as well as any; what
/// it lacks is secrecy, so that a client could aim at one node.
const KNOWN_KEY: HashKey = HashKey([0x7065_6e73_746f_636b, 0x666c_6f77_2068_6173]);
/// The field of the key's Secret.
const KEY_FIELD: &str = "key";
/// Its length in bytes.
const KEY_LENGTH: usize = 16;

/// Why the kernel tier cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// The machine or the build cannot do it.
    #[error("the kernel tier cannot start (--l4=off serves without it)")]
    L4(#[from] L4Error),
    /// All nodes must have the same key, so a missing one is not replaced by another.
    #[error("--l4-key-secret {namespace}/{name}: {problem}")]
    Key {
        /// The Secret's namespace.
        namespace: String,
        /// The Secret's name.
        name: String,
        /// What is wrong and what is needed.
        problem: String,
    },
}

impl SteeringError {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::L4(error) => l4_exit_code(error),
            Self::Key { .. } => 2,
        }
    }
}

/// 2 for a name that the user got wrong, 3 for what this machine cannot do.
#[must_use]
pub fn l4_exit_code(error: &L4Error) -> u8 {
    match error {
        L4Error::UnknownInterface { .. }
        | L4Error::Stacked { .. }
        | L4Error::NotLoaded { .. }
        | L4Error::Unknown { .. } => 2,
        _ => 3,
    }
}

/// The maximum segment size for connections that may be steered; `None` where nothing is.
pub(super) fn largest_segment(flags: &L4) -> Option<u32> {
    (flags.mode != L4Mode::Off && !flags.interfaces.is_empty())
        .then(|| l4::largest_segment(&flags.interfaces))
        .flatten()
}

/// The class of the Services that get their addresses from `--vip-pool`.
const CLASS: &str = "penstock.dev/xdp";

/// The kernel tier, or its absence. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Steering(Arc<Inner>);

#[derive(Default)]
struct Inner {
    handle: OnceLock<l4::Handle>,
    /// As told last; locked while it is passed on, so that the last wins.
    wanted: Mutex<Wanted>,
}

/// What is to be steered, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    members: Vec<Member>,
    services: Services,
}

/// What never changes of what is served.
#[derive(Clone, Debug, Default)]
pub(super) struct Fixed {
    /// `--vip`.
    vips: Vec<IpAddr>,
    /// The Service that clients find Penstock by (`--publish-service`).
    own: Option<Key>,
    /// The ports of HTTP and HTTPS.
    ports: Vec<u16>,
    /// `--l4-affinity=client`.
    by_client: bool,
}

impl Fixed {
    pub(super) fn new(config: &Config, addresses: &Addresses) -> Self {
        let port = |list: &[SocketAddr]| list.first().map(SocketAddr::port);
        let ports = [port(&addresses.http), port(&addresses.https)].into_iter().flatten();
        let own = match &config.writes.publish {
            Publish::Service { namespace, name } => {
                Some(Key::new(namespace.as_str(), name.as_str()))
            }
            _ => None,
        };
        let (vips, by_client) = (config.l4.vips.clone(), config.l4.by_client);
        Self { vips, own, ports: ports.collect(), by_client }
    }

    /// What is served with these objects and this model.
    pub(super) fn services(&self, stores: &Stores, model: &Model) -> Services {
        let mut addresses = self.vips.clone();
        let own = self.own.as_ref().and_then(|key| stores.services.get(&key.namespace, &key.name));
        for address in own.into_iter().flat_map(|service| given(service)) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let mut tcp = self.ports.clone();
        tcp.extend(model.streams.tcp.iter().map(|service| service.port));
        let udp = model.streams.udp.iter().map(|service| service.port).collect();
        Services { addresses, tcp, udp, by_client: self.by_client }
    }
}

fn warn_without(members: &[Member]) {
    if members.is_empty() {
        tracing::warn!("no node to steer to is known: this node keeps all connections to itself");
    }
}

/// The addresses of a Service of our class, as its status has them.
fn given(service: &Service) -> Vec<IpAddr> {
    let class = service.spec.as_ref().and_then(|spec| spec.load_balancer_class.as_deref());
    let ours = class == Some(CLASS) && service.metadata.deletion_timestamp.is_none();
    let status = service.status.as_ref().filter(|_| ours);
    let points = status.and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let addresses =
        points.into_iter().flatten().filter_map(|point| point.ip.as_ref()?.parse().ok());
    addresses.collect()
}

impl Steering {
    /// Attaches, if there is something to attach to.
    pub(super) fn start(
        &self,
        config: &Config,
        addresses: &Addresses,
        stores: &Stores,
    ) -> Result<(), SteeringError> {
        let flags = &config.l4;
        if flags.mode == L4Mode::Off || flags.interfaces.is_empty() {
            return Ok(());
        }
        let begun = self.wanted().clone();
        warn_without(&begun.members);
        let options = l4::Options {
            mode: match flags.mode {
                L4Mode::Off => l4::Mode::Off,
                L4Mode::Auto => l4::Mode::Auto,
                L4Mode::Xdp => l4::Mode::Xdp,
                L4Mode::Tc => l4::Mode::Tc,
            },
            interfaces: flags.interfaces.clone(),
            services: begun.services.clone(),
            node_name: flags.node_name.clone(),
            bpf_dir: flags.bpf_dir.clone(),
            tunnel_port: flags.tunnel_port,
            health_port: addresses.admin.first().map_or(config.admin.port, SocketAddr::port),
            key: key(flags, stores)?,
            members: begun.members.clone(),
            candidates: flags.candidates,
            settings: flags.settings,
            announce: flags.announce,
        };
        if let Some(handle) = l4::start(options)? {
            // They may have changed meanwhile.
            let wanted = self.wanted();
            if wanted.members != begun.members {
                handle.update(&wanted.members);
            }
            if wanted.services != begun.services {
                handle.serve(wanted.services.clone());
            }
            let _only_once = self.0.handle.set(handle);
        }
        Ok(())
    }

    /// Tells what to steer, and to whom. Does not wait.
    pub(super) fn update(&self, members: &[Member], services: Services) {
        let mut known = self.wanted();
        let handle = self.0.handle.get();
        if known.members != members {
            known.members = members.to_vec();
            if let Some(handle) = handle {
                warn_without(members);
                handle.update(members);
            }
        }
        if known.services != services {
            known.services = services.clone();
            if let Some(handle) = handle {
                handle.serve(services);
            }
        }
    }

    /// Sends new connections to other nodes. How long they may take until all know; `None` where
    /// nothing is steered.
    pub(super) fn drain(&self) -> Option<Duration> {
        let handle = self.0.handle.get()?;
        handle.drain();
        Some(l4::SETTLED)
    }

    /// Takes back what `--l4-remove-vips-on-exit` asks for. The programs stay, and go on steering.
    pub(super) fn leave(&self, flags: &L4) {
        if flags.leaves
            && self.0.handle.get().is_some()
            && let Err(error) = l4::leave(&flags.bpf_dir)
        {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "the virtual addresses stay");
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The packet counters by reason; `None` where nothing is steered.
    pub(crate) fn counters(&self) -> Option<Result<Vec<(Reason, Counters)>, L4Error>> {
        self.0.handle.get().map(l4::Handle::counters)
    }

    /// What is counted by service and by node; `None` where nothing is steered.
    pub(crate) fn reader(&self) -> Option<&l4::Reader> {
        self.0.handle.get().map(l4::Handle::reader)
    }

    /// The last samples of flows and drops.
    pub(crate) fn events(&self) -> Vec<l4::Event> {
        self.0.handle.get().map(l4::Handle::events).unwrap_or_default()
    }

    /// What it is doing; `None` where nothing is steered.
    pub(crate) fn status(&self) -> Option<l4::Status> {
        self.0.handle.get().map(l4::Handle::status)
    }
}

fn key(flags: &L4, stores: &Stores) -> Result<HashKey, SteeringError> {
    let Some((namespace, name)) = &flags.key_secret else {
        tracing::warn!(
            "--l4-key-secret is not given: connections are spread by a well-known key, and a \
             client can choose its node"
        );
        return Ok(KNOWN_KEY);
    };
    let wrong = |problem: String| SteeringError::Key {
        namespace: namespace.clone(),
        name: name.clone(),
        problem,
    };
    let secret =
        stores.secrets.get(namespace, name).ok_or_else(|| wrong("no such Secret".to_owned()))?;
    let data = secret.data.as_ref().and_then(|data| data.get(KEY_FIELD));
    let data = data.ok_or_else(|| wrong(format!("it has no field {KEY_FIELD:?}")))?;
    let bytes: [u8; KEY_LENGTH] = data.0.as_slice().try_into().map_err(|_other_length| {
        let length = data.0.len();
        wrong(format!("its field {KEY_FIELD:?} must be {KEY_LENGTH} bytes and is {length}"))
    })?;
    let number = u128::from_le_bytes(bytes);
    let low = u64::try_from(number & u128::from(u64::MAX)).expect("64 bits");
    let high = u64::try_from(number >> 64).expect("64 bits");
    Ok(HashKey([low, high]))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{ByteString, api::core::v1::Secret};
    use serde_json::json;

    use super::*;

    fn flags(secret: Option<&str>) -> L4 {
        L4 {
            mode: L4Mode::Auto,
            interfaces: Vec::new(),
            vips: Vec::new(),
            node_name: String::new(),
            bpf_dir: "/nowhere".into(),
            tunnel_port: 1,
            key_secret: secret.map(|name| ("penstock".to_owned(), name.to_owned())),
            members: None,
            candidates: 4,
            settings: true,
            announce: false,
            leaves: false,
            by_client: false,
        }
    }

    fn stores(field: &str, bytes: &[u8]) -> Stores {
        let secret = Secret {
            data: Some([(field.to_owned(), ByteString(bytes.to_vec()))].into()),
            ..Secret::default()
        };
        let key = Key::new("penstock", "flows");
        Stores { secrets: [(key, Arc::new(secret))].into_iter().collect(), ..Stores::default() }
    }

    #[test]
    fn the_key_is_read_from_its_secret() {
        let bytes: Vec<u8> = (0..16).collect();
        let read = key(&flags(Some("flows")), &stores("key", &bytes)).expect("it is right");
        assert_eq!(read.0, [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
    }

    #[test]
    fn a_key_that_is_configured_is_never_replaced_by_another() {
        for (name, field, bytes) in [
            ("missing", "key", &[0; 16][..]),
            ("flows", "other", &[0; 16]),
            ("flows", "key", &[0; 15]),
        ] {
            let error = key(&flags(Some(name)), &stores(field, bytes)).expect_err("it is wrong");
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(key(&flags(None), &Stores::default()).is_ok());
    }

    #[test]
    fn the_addresses_of_the_own_service_are_steered() {
        let service = |class: &str, ips: &[&str]| -> Service {
            serde_json::from_value(json!({
                "spec": {"type": "LoadBalancer", "loadBalancerClass": class},
                "status": {"loadBalancer": {
                    "ingress": ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>()}}
            }))
            .expect("a Service")
        };
        let fixed = Fixed {
            vips: vec![IpAddr::from([192, 0, 2, 1])],
            own: Some(Key::new("edge", "front")),
            ports: vec![80, 443],
            by_client: false,
        };
        let told = |own: Service, other: Service| {
            let services = [("front", own), ("other", other)]
                .map(|(name, service)| (Key::new("edge", name), Arc::new(service)));
            let stores = Stores { services: services.into_iter().collect(), ..Stores::default() };
            fixed.services(&stores, &Model::default())
        };
        let both =
            told(service(CLASS, &["192.0.2.1", "2001:db8::1"]), service(CLASS, &["192.0.2.7"]));
        // What kube-proxy serves is not ours to take.
        let expected = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().expect(text));
        assert_eq!((both.addresses, both.tcp), (expected.to_vec(), vec![80, 443]));
        let foreign = told(service("other.example/lb", &["192.0.2.5"]), service(CLASS, &[]));
        assert_eq!(foreign.addresses, [IpAddr::from([192, 0, 2, 1])]);
    }
}
