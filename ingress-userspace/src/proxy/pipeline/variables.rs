//! What a request has for the variables of a [`Text`].

use std::{cell::OnceCell, net::IpAddr};

use http::Method;

use super::{authority::without_port, connection};
use crate::{
    model::{BackendKey, HostName, Piece, Route, Text, Variable},
    proxy::{
        client::Client,
        message::{Fields, Known},
        spans::Trace,
    },
};

/// A request as texts with variables see it.
pub(in crate::proxy) struct Seen<'r> {
    pub(in crate::proxy) client: &'r Client,
    pub(in crate::proxy) fields: &'r Fields,
    pub(in crate::proxy) method: &'r Method,
    /// As the client sent it.
    pub(in crate::proxy) target: &'r str,
    /// As the upstream is asked, without query.
    pub(in crate::proxy) path: &'r str,
    /// The host that was routed by.
    pub(in crate::proxy) host: &'r str,
    /// The client's address (reference section 5.2).
    pub(in crate::proxy) address: &'r str,
    /// The host of the Ingress.
    pub(in crate::proxy) server: &'r HostName,
    pub(in crate::proxy) route: Option<&'r Route>,
    pub(in crate::proxy) service: Option<&'r BackendKey>,
    /// `$request_id` of a request that has none: made when first asked for.
    pub(in crate::proxy) request_id: OnceCell<[u8; 32]>,
    /// Its part in a trace, if that is known.
    pub(in crate::proxy) trace: Option<&'r Trace>,
}

impl Seen<'_> {
    /// The text with what the request has for its variables.
    pub(in crate::proxy) fn text(&self, text: &Text) -> Vec<u8> {
        let mut whole = Vec::new();
        for piece in &text.pieces {
            match piece {
                Piece::Text(text) => whole.extend_from_slice(text.as_bytes()),
                Piece::Variable(variable) => {
                    self.variable(variable, &mut |bytes| whole.extend_from_slice(bytes));
                }
            }
        }
        whole
    }

    /// Hands over what the request has for this variable, in one piece or several; nothing if it
    /// has nothing for it.
    pub(in crate::proxy) fn variable(&self, variable: &Variable, take: &mut dyn FnMut(&[u8])) {
        match variable {
            Variable::RequestUri => take(self.target.as_bytes()),
            Variable::EscapedRequestUri => escape(self.target, take),
            Variable::Uri => take(self.path.as_bytes()),
            Variable::Args => take(self.query().as_bytes()),
            // Perhaps with a port and in capitals, as the client wrote it.
            Variable::Host => {
                let host = without_port(self.host);
                match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    true => take(host.to_ascii_lowercase().as_bytes()),
                    false => take(host.as_bytes()),
                }
            }
            Variable::RemoteAddr => take(self.address.as_bytes()),
            Variable::BinaryRemoteAddr => match self.address.parse() {
                Ok(IpAddr::V4(address)) => take(&address.octets()),
                Ok(IpAddr::V6(address)) => take(&address.octets()),
                Err(_no_address) => {}
            },
            Variable::ForwardedFor => {
                for value in self.fields.get_all(Known::XForwardedFor) {
                    take(value);
                    take(b", ");
                }
                take(self.address.as_bytes());
            }
            Variable::RemotePort => take(self.client.peer.port().to_string().as_bytes()),
            Variable::Scheme => take(if self.client.tls { b"https" } else { b"http" }),
            Variable::ServerName => match self.server {
                HostName::Exact(name) => take(name.as_bytes()),
                HostName::Wildcard(suffix) => {
                    take(b"*.");
                    take(suffix.as_bytes());
                }
                HostName::CatchAll => take(b"_"),
            },
            Variable::ServerPort => take(self.client.port.as_bytes()),
            Variable::RequestMethod => take(self.method.as_str().as_bytes()),
            Variable::RequestId => match self.fields.get(Known::XRequestId) {
                Some(id) if !id.is_empty() => take(id),
                _ => take(
                    self.request_id.get_or_init(|| super::forwarded::new_request_id(self.client)),
                ),
            },
            Variable::Namespace => {
                take(self.route.map_or("", |route| &route.ingress.namespace).as_bytes());
            }
            Variable::IngressName => {
                take(self.route.map_or("", |route| &route.ingress.name).as_bytes());
            }
            Variable::ServiceName => take(self.service.map_or("", |key| &key.service).as_bytes()),
            Variable::ServicePort => {
                if let Some(key) = self.service {
                    take(key.port.to_string().as_bytes());
                }
            }
            Variable::TraceId | Variable::SpanId | Variable::TraceContext(_) => {
                self.tracing(variable, take);
            }
            Variable::LocationPath => take(self.route.map_or("", |route| &route.path).as_bytes()),
            Variable::Header(name) => {
                let named = self.fields.iter().filter(|field| field.is_named(name.as_bytes()));
                for (index, field) in named.enumerate() {
                    if index > 0 {
                        take(b", ");
                    }
                    take(field.value);
                }
            }
            Variable::QuestionMark => take(match self.query() {
                "" => b"",
                _ => b"?",
            }),
            // Known where the snippet ran alone.
            Variable::Snippet(_) => {}
            Variable::Connection(own) => connection::variable(self.client, self.host, *own, take),
            Variable::Cookie(name) => take(cookie(self.fields, name).unwrap_or_default()),
            Variable::Argument(name) => {
                let is_it = |(key, _): &(&str, &str)| key.eq_ignore_ascii_case(name);
                let mut pairs = self.query().split('&').filter_map(|pair| pair.split_once('='));
                take(pairs.find(is_it).map_or("", |(_, value)| value).as_bytes());
            }
        }
    }

    fn tracing(&self, variable: &Variable, take: &mut dyn FnMut(&[u8])) {
        let Some(trace) = self.trace else { return };
        let value = match variable {
            Variable::TraceId => trace.trace_id().map(String::into_bytes),
            Variable::SpanId => trace.span_id().map(String::into_bytes),
            Variable::TraceContext(propagator) => trace.context_as(*propagator),
            _ => None,
        };
        if let Some(value) = value {
            take(&value);
        }
    }

    fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// The value of the first cookie of this name.
pub(super) fn cookie<'f>(fields: &'f Fields, name: &str) -> Option<&'f [u8]> {
    let lines = fields.get_all(Known::Cookie);
    let mut pairs = lines.flat_map(|line| line.split(|byte| *byte == b';'));
    pairs.find_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

/// Everything but what RFC 3986, section 2.3, calls unreserved, as `%` and two digits; `/` too, as
/// ingress-nginx does.
fn escape(text: &str, take: &mut dyn FnMut(&[u8])) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            take(&[byte]);
        } else {
            take(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}
