//! The kernel tier within the agent: started once the objects are known, told of their nodes, asked
//! for its counters. Absent where it is off.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ingress_common::{Counters, HashKey, Reason};

use super::Addresses;
use crate::{
    config::{Config, L4, L4Mode},
    l4::{self, L4Error},
    model::Member,
    stores::Stores,
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
        L4Error::UnknownInterface { .. } | L4Error::NotLoaded { .. } => 2,
        _ => 3,
    }
}

/// The maximum segment size for connections that may be steered; `None` where nothing is.
pub(super) fn largest_segment(flags: &L4) -> Option<u32> {
    (flags.mode != L4Mode::Off && !flags.vips.is_empty())
        .then(|| l4::largest_segment(&flags.interfaces))
        .flatten()
}

/// The kernel tier, or its absence. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Steering(Arc<Inner>);

#[derive(Default)]
struct Inner {
    handle: OnceLock<l4::Handle>,
    /// The nodes as told last; locked while they are passed on, so that the last ones win.
    members: Mutex<Vec<Member>>,
}

impl Steering {
    /// Attaches, if there is anything to steer.
    pub(super) fn start(
        &self,
        config: &Config,
        addresses: &Addresses,
        stores: &Stores,
    ) -> Result<(), SteeringError> {
        let flags = &config.l4;
        if flags.mode == L4Mode::Off || flags.vips.is_empty() {
            return Ok(());
        }
        let port = |list: &[std::net::SocketAddr]| list.first().map(std::net::SocketAddr::port);
        let ports = [port(&addresses.http), port(&addresses.https)].into_iter().flatten();
        let options = l4::Options {
            mode: match flags.mode {
                L4Mode::Off => l4::Mode::Off,
                L4Mode::Auto => l4::Mode::Auto,
                L4Mode::Xdp => l4::Mode::Xdp,
                L4Mode::Tc => l4::Mode::Tc,
            },
            interfaces: flags.interfaces.clone(),
            vips: flags.vips.clone(),
            ports: ports.collect(),
            node_name: flags.node_name.clone(),
            bpf_dir: flags.bpf_dir.clone(),
            tunnel_port: flags.tunnel_port,
            health_port: port(&addresses.admin).unwrap_or(config.admin.port),
            key: key(flags, stores)?,
            members: self.members().clone(),
        };
        if let Some(handle) = l4::start(options)? {
            // They may have changed meanwhile.
            let members = self.members();
            handle.update(&members);
            let _only_once = self.0.handle.set(handle);
        }
        Ok(())
    }

    /// Tells the nodes to steer to. Does not wait.
    pub(super) fn update(&self, members: &[Member]) {
        let mut known = self.members();
        if *known != members {
            known.clear();
            known.extend_from_slice(members);
            if let Some(handle) = self.0.handle.get() {
                handle.update(members);
            }
        }
    }

    fn members(&self) -> MutexGuard<'_, Vec<Member>> {
        self.0.members.lock().unwrap_or_else(PoisonError::into_inner)
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

    use super::*;
    use crate::stores::Key;

    fn flags(secret: Option<&str>) -> L4 {
        L4 {
            mode: L4Mode::Auto,
            interfaces: Vec::new(),
            vips: Vec::new(),
            node_name: String::new(),
            bpf_dir: "/nowhere".into(),
            tunnel_port: 1,
            key_secret: secret.map(|name| ("penstock".to_owned(), name.to_owned())),
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
}
