use std::sync::Arc;

use super::{HostTable, Names};
use crate::model::{AliasName, Diagnostic, Host, HostName, Model};

/// How long a name can be in the DNS. Bytes (RFC 1035, section 2.3.4).
const LONGEST_NAME: usize = 255;

/// All hosts and their routes, ready to be searched.
#[derive(Clone, Debug)]
pub struct RouteTable {
    names: Names<Arc<HostTable>>,
    catch_all: Arc<HostTable>,
    /// The first number that no host or route of this table or one before it has.
    next_number: u64,
}

impl Default for RouteTable {
    /// No host but a catch-all without routes.
    fn default() -> Self {
        let host = Arc::new(Host {
            name: HostName::CatchAll,
            aliases: Box::default(),
            certificate: None,
            tls: false,
            handshake: None,
            regex: false,
            snippet: None,
            app_root: None,
            routes: Vec::new(),
        });
        // 0 is the number of what belongs to no host.
        let catch_all = HostTable::new(&host, None, 1);
        let next_number = catch_all.next_number();
        Self { names: Names::default(), catch_all: Arc::new(catch_all), next_number }
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
        let mut next = Self {
            names: Names::with_room(model.hosts.len()),
            next_number: self.next_number,
            ..Self::default()
        };
        let mut diagnostics = Vec::new();
        for host in model.hosts.iter() {
            let table = match self.table(&host.name) {
                Some(earlier) if Arc::ptr_eq(earlier.model(), host) => Arc::clone(earlier),
                earlier => {
                    let earlier = earlier.map(|earlier| &**earlier);
                    let table = HostTable::new(host, earlier, next.next_number);
                    next.next_number = table.next_number();
                    Arc::new(table)
                }
            };
            diagnostics.extend_from_slice(table.diagnostics());
            next.insert_aliases(host, &table);
            match &host.name {
                HostName::CatchAll => next.catch_all = table,
                name => next.names.insert(name, table),
            }
        }
        (next, diagnostics)
    }

    /// What is served under a host's own name.
    pub(crate) fn table(&self, name: &HostName) -> Option<&Arc<HostTable>> {
        match name {
            HostName::CatchAll => Some(&self.catch_all),
            name => self.names.get(name),
        }
    }

    /// A host is the same under all its names but for TLS, which it has where its certificate covers
    /// the name.
    fn insert_aliases(&mut self, host: &Host, table: &Arc<HostTable>) {
        let mut other = None;
        for alias in &host.aliases {
            let mut of = |tls| match tls == host.tls {
                true => Arc::clone(table),
                false => Arc::clone(other.get_or_insert_with(|| Arc::new(table.with_tls(tls)))),
            };
            match &alias.name {
                // A certificate covers one label.
                AliasName::Beneath(suffix) if alias.tls => {
                    self.names.insert_one_beneath(suffix, of(true));
                    self.names.insert_alias(&alias.name, of(false));
                }
                name => self.names.insert_alias(name, of(alias.tls)),
            }
        }
    }

    /// The host that answers for this `Host` header or server name: see [`Names::find`], else the
    /// catch-all (reference section 3.1).
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
        self.names.find(name).unwrap_or(&self.catch_all)
    }
}

/// A `Host` header without its port. An IPv6 address is in brackets, which stay.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}
