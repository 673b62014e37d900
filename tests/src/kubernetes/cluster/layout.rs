//! What everything is called.

use std::{
    env, fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::{Result, bail};

/// Where all clusters keep what they have in files; `PENSTOCK_CLUSTERS` names another place. Neither
/// in `/var/lib`, `/var/log` nor `/run`, for nodes have those of their own.
const STATE: &str = "/var/cache/penstock-clusters";
/// Where virtual addresses are to come from, which the router sends to the nodes: those that RFC 5737
/// keeps for documentation.
pub const VIRTUAL: &str = "203.0.113.0/24";
/// The most nodes that the addresses are laid out for.
pub(crate) const NODES: u8 = 9;

/// A cluster's names and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    name: String,
}

/// One of the cluster's network namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The switch that connects the others, and the router to virtual addresses.
    Switch,
    /// The API server and what goes with it.
    ControlPlane,
    /// Somebody outside the cluster.
    Client,
    /// A node, counted from one.
    Node(u8),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => f.write_str("switch"),
            Self::ControlPlane => f.write_str("control"),
            Self::Client => f.write_str("client"),
            Self::Node(number) => write!(f, "n{number}"),
        }
    }
}

impl Place {
    /// The place of that name, but for the switch, where nothing runs.
    pub fn parse(name: &str) -> Option<Self> {
        let nodes = (1..=NODES).map(Self::Node);
        nodes.chain([Self::ControlPlane, Self::Client]).find(|place| place.to_string() == name)
    }

    /// Its address on the switch.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(
            10,
            99,
            0,
            match self {
                Self::Switch => 1,
                Self::ControlPlane => 10,
                Self::Node(number) => 10 + number,
                Self::Client => 100,
            },
        )
    }
}

impl Layout {
    /// The cluster of this name: a letter, then up to nine letters and digits.
    ///
    /// # Errors
    /// When it is not such a name.
    pub fn new(name: &str) -> Result<Self> {
        let good = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.len() <= 10
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !good {
            bail!("{name:?} is no name for a cluster: a-z, then up to nine of a-z and 0-9");
        }
        Ok(Self { name: name.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory with everything that it keeps in files.
    pub fn directory(&self) -> PathBuf {
        let root = env::var_os("PENSTOCK_CLUSTERS").map_or_else(|| STATE.into(), PathBuf::from);
        root.join(&self.name)
    }

    /// What the names of its namespaces begin with. No box in the tests has such names: theirs begin
    /// with a process's number and have one part more.
    pub(super) fn prefix(&self) -> String {
        format!("penstock-{}-", self.name)
    }

    /// The network namespace of a place.
    pub fn namespace(&self, place: Place) -> String {
        format!("{}{place}", self.prefix())
    }

    /// The control group above those of its pods.
    pub(super) fn cgroup(&self) -> String {
        format!("penstock-{}", self.name)
    }

    pub(super) fn node_directory(&self, number: u8) -> PathBuf {
        self.directory().join(Place::Node(number).to_string())
    }

    /// What was mounted on the machine when the cluster was made: a copy of `/proc/mounts`.
    pub(super) fn mounts(&self) -> PathBuf {
        self.directory().join("mounts")
    }

    pub(super) fn credentials(&self) -> PathBuf {
        self.directory().join("pki")
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.directory().join("log").join(format!("{name}.log"))
    }

    /// Where the API server answers, inside the cluster's namespaces.
    pub fn server(&self) -> SocketAddr {
        SocketAddr::from((Place::ControlPlane.address(), 6443))
    }

    /// The kubeconfig of one who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.credentials().join("admin.kubeconfig")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_be_a_path_or_a_boxs_is_refused() {
        assert!(Layout::new("penstock").is_ok());
        for name in ["", "1a", "a-0", "../a", "A", "abcdefghijk"] {
            assert!(Layout::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn places_are_found_by_their_names() {
        for place in [Place::ControlPlane, Place::Client, Place::Node(1), Place::Node(NODES)] {
            assert_eq!(Place::parse(&place.to_string()), Some(place));
        }
        assert_eq!(Place::parse("n10"), None);
        assert_eq!(Place::parse("switch"), None);
    }
}
