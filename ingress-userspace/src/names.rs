//! What names outside the cluster stand for, as `resolve` last found it: one of the things that
//! `translate` makes the model of.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

/// Names, lower case as their Services have them, and what is known of each. A name that is not
/// there was not looked up yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(HashMap<Arc<str>, Known>);

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It stands for these.
    Addresses {
        /// Sorted, no two equal, never empty.
        addresses: Vec<IpAddr>,
        /// Why they are older than they should be, if they are.
        late: Option<String>,
    },
    /// It stands for nothing, for this reason.
    Nothing(String),
}

impl Names {
    /// What is known of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Known> {
        self.0.get(name)
    }
}

impl FromIterator<(Arc<str>, Known)> for Names {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Known)>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

/// The address is this node, whatever network one is in: a Service that leads there would give
/// away what only programs on the node may reach.
#[must_use]
pub fn is_own(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}
