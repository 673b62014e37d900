use std::{collections::HashMap, sync::Arc};

use super::HostTable;
use crate::model::{Diagnostic, Host, HostName, Model};

/// How long a name can be in the DNS. Bytes (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 255;

/// All hosts and their routes, ready to be searched.
#[derive(Clone, Debug)]
pub struct RouteTable {
    exact: HashMap<Box<str>, Arc<HostTable>>,
    /// By what follows `*.`.
    wildcard: HashMap<Box<str>, Arc<HostTable>>,
    catch_all: Arc<HostTable>,
}

impl Default for RouteTable {
    /// No host but a catch-all without routes.
    fn default() -> Self {
        let host = Arc::new(Host {
            name: HostName::CatchAll,
            certificate: None,
            tls: false,
            handshake: None,
            regex: false,
            snippet: None,
            app_root: None,
            routes: Vec::new(),
        });
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            catch_all: Arc::new(HostTable::new(&host, None)),
        }
    }
}

impl RouteTable {
    /// The table of a model, and the regular expressions in it that are none.
    #[must_use]
    pub fn new(model: &Model) -> (Self, Vec<Diagnostic>) {
        Self::default().next(model)
    }

    /// The table of the model after this one's: what did not change is not compiled again.
    #[must_use]
    pub fn next(&self, model: &Model) -> (Self, Vec<Diagnostic>) {
        let mut next = Self::default();
        let mut diagnostics = Vec::new();
        for host in model.hosts.iter() {
            let table = match self.table(&host.name) {
                Some(earlier) if Arc::ptr_eq(earlier.model(), host) => Arc::clone(earlier),
                earlier => Arc::new(HostTable::new(host, earlier.map(|earlier| &**earlier))),
            };
            diagnostics.extend_from_slice(table.diagnostics());
            match &host.name {
                HostName::Exact(name) => drop(next.exact.insert((**name).into(), table)),
                HostName::Wildcard(name) => drop(next.wildcard.insert((**name).into(), table)),
                HostName::CatchAll => next.catch_all = table,
            }
        }
        (next, diagnostics)
    }

    fn table(&self, name: &HostName) -> Option<&Arc<HostTable>> {
        match name {
            HostName::Exact(name) => self.exact.get(&**name),
            HostName::Wildcard(name) => self.wildcard.get(&**name),
            HostName::CatchAll => Some(&self.catch_all),
        }
    }

    /// The host that answers for this `Host` header or server name: the exact one, else the
    /// wildcard one with one label more, else the catch-all (reference section 3.1).
    #[must_use]
    pub fn host(&self, host_header: &str) -> &HostTable {
        let name = without_port(host_header);
        let name = name.strip_suffix('.').unwrap_or(name);
        if !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.host_of(name);
        }
        let mut buffer = [0; LONGEST_NAME];
        let Some(lower) = buffer.get_mut(..name.len()) else { return &self.catch_all };
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        std::str::from_utf8(lower).map_or(&self.catch_all, |name| self.host_of(name))
    }

    fn host_of(&self, name: &str) -> &HostTable {
        if let Some(table) = self.exact.get(name) {
            return table;
        }
        let wildcard = name
            .split_once('.')
            .filter(|(label, _)| is_label(label))
            .and_then(|(_, suffix)| self.wildcard.get(suffix));
        wildcard.unwrap_or(&self.catch_all)
    }
}

fn is_label(label: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !label.is_empty() && label.bytes().all(is_part)
}

/// A `Host` header without its port. An IPv6 address is in brackets, which stay.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}
