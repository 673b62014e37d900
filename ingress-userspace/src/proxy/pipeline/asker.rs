//! What balancing asks of a request.

use std::{net::IpAddr, rc::Rc};

use http::Method;

use crate::{
    model::{Backend, HostName, Policy, Variable},
    proxy::{
        balance::Asker,
        client::Client,
        message::{Fields, Known, RequestHead},
    },
};

/// A request as the policies see it.
pub(super) struct Asked {
    pub(super) client: Rc<Client>,
    /// Empty where nothing is asked of it.
    pub(super) fields: Fields,
    pub(super) method: Method,
    /// As the client sent it.
    pub(super) target: String,
    /// As the upstream is asked.
    pub(super) path: String,
    pub(super) host: String,
    /// The name of the host that answers, as the Ingress has it.
    pub(super) server: String,
}

impl Asked {
    /// The request as balancing sees it; without what costs where nothing will be asked of it.
    /// `path` is the one that the upstream is asked for.
    pub(super) fn new(
        client: &Rc<Client>,
        service: &Backend,
        head: &RequestHead,
        target: &str,
        host: &HostName,
    ) -> Self {
        let balancing = &service.balancing;
        let is_asked = balancing.affinity.is_some() || matches!(balancing.policy, Policy::Hash(_));
        let text = |text: &str| if is_asked { text.to_owned() } else { String::new() };
        Self {
            client: Rc::clone(client),
            fields: if is_asked { head.fields.clone() } else { Fields::default() },
            method: head.method.clone(),
            target: text(target),
            path: text(head.path()),
            host: text(&head.authority),
            server: match host {
                HostName::Exact(name) => text(name),
                HostName::Wildcard(suffix) if is_asked => format!("*.{suffix}"),
                HostName::Wildcard(_) | HostName::CatchAll => text("_"),
            },
        }
    }

    fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

impl Asker for Asked {
    fn variable(&self, variable: &Variable, take: &mut dyn FnMut(&[u8])) {
        let peer = self.client.peer;
        match variable {
            Variable::RequestUri => take(self.target.as_bytes()),
            Variable::Uri => take(self.path.as_bytes()),
            Variable::Args => take(self.query().as_bytes()),
            Variable::Host => take(self.host.as_bytes()),
            Variable::RemoteAddr => take(self.client.peer_text.as_bytes()),
            Variable::BinaryRemoteAddr => match peer.ip() {
                IpAddr::V4(address) => take(&address.octets()),
                IpAddr::V6(address) => take(&address.octets()),
            },
            Variable::RemotePort => take(peer.port().to_string().as_bytes()),
            Variable::Scheme => take(if self.client.https { b"https" } else { b"http" }),
            Variable::ServerName => take(self.server.as_bytes()),
            Variable::ServerPort => take(self.client.port.as_bytes()),
            Variable::RequestMethod => take(self.method.as_str().as_bytes()),
            Variable::Header(name) => {
                let named = self.fields.iter().filter(|field| field.is_named(name.as_bytes()));
                for (index, field) in named.enumerate() {
                    if index > 0 {
                        take(b", ");
                    }
                    take(field.value);
                }
            }
            Variable::Cookie(name) => take(self.cookie(name).unwrap_or_default()),
            Variable::Argument(name) => {
                let is_it = |(key, _): &(&str, &str)| key.eq_ignore_ascii_case(name);
                let mut pairs = self.query().split('&').filter_map(|pair| pair.split_once('='));
                take(pairs.find(is_it).map_or("", |(_, value)| value).as_bytes());
            }
        }
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        let lines = self.fields.get_all(Known::Cookie);
        let mut pairs = lines.flat_map(|line| line.split(|byte| *byte == b';'));
        pairs.find_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    fn now(&self) -> u64 {
        self.client.worker.deadlines.now()
    }
}
