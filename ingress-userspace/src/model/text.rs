//! Texts with variables of NGINX in them, cut into pieces once.

use std::sync::Arc;

use super::Propagator;

/// A text with variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    /// In their order; no two texts in a row, none empty.
    pub pieces: Box<[Piece]>,
}

impl Text {
    /// The text if it has no variable.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match &*self.pieces {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The variables in it.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(variable) => Some(variable),
            Piece::Text(_) => None,
        })
    }
}

/// A part of a text with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Itself.
    Text(Arc<str>),
    /// What the request has for it; nothing if it has none.
    Variable(Variable),
}

/// A variable of NGINX that a request has a value for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `$request_uri`: the target as the client sent it.
    RequestUri,
    /// `$uri`, `$document_uri`: the path as it is asked of the upstream, decoded, without query.
    Uri,
    /// `$args`, `$query_string`: the query without its question mark.
    Args,
    /// `$host`, `$best_http_host` and their like: the host that was routed by, lower case.
    Host,
    /// `$remote_addr`, `$the_real_ip`: the client's address as text.
    RemoteAddr,
    /// `$binary_remote_addr`: the same in 4 or 16 bytes.
    BinaryRemoteAddr,
    /// `$remote_port`.
    RemotePort,
    /// `$scheme`, `$pass_access_scheme`: `http` or `https`.
    Scheme,
    /// `$server_name`: the host of the Ingress.
    ServerName,
    /// `$server_port`.
    ServerPort,
    /// `$request_method`.
    RequestMethod,
    /// `$escaped_request_uri`: the target as the client sent it, escaped as one parameter of a query.
    EscapedRequestUri,
    /// `$proxy_add_x_forwarded_for`: `X-Forwarded-For` as the client sent it, with its address behind.
    ForwardedFor,
    /// `$request_id`, `$req_id`: what tells requests apart.
    RequestId,
    /// `$namespace`: of the Ingress.
    Namespace,
    /// `$ingress_name`.
    IngressName,
    /// `$service_name`: the Service that the path leads to.
    ServiceName,
    /// `$service_port`: its port, as the Ingress names it.
    ServicePort,
    /// `$location_path`: the path of the Ingress.
    LocationPath,
    /// `$opentelemetry_trace_id`.
    TraceId,
    /// `$opentelemetry_span_id`: of the request's own span.
    SpanId,
    /// `$opentelemetry_context_traceparent` and `$opentelemetry_context_b3`.
    TraceContext(Propagator),
    /// `$http_*`: a header of the request; lower case, with dashes. Several lines are one list.
    Header(Arc<str>),
    /// `$cookie_*`.
    Cookie(Arc<str>),
    /// `$arg_*`: a parameter of the query.
    Argument(Arc<str>),
    /// `$is_args`: `?` if there is a query.
    QuestionMark,
    /// What a `set` of the `configuration-snippet` makes; only balancing asks for it.
    Snippet(Arc<str>),
    /// What is the same for all requests of a connection.
    Connection(ConnectionVariable),
}

/// What is known of a client's connection, whatever it asks for, and of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionVariable {
    /// `$https`: `on` over TLS that is ended here.
    Https,
    /// `$server_addr`: the address that the client reached.
    ServerAddress,
    /// `$realip_remote_addr`, `$proxy_protocol_addr`: who connected.
    PeerAddress,
    /// `$realip_remote_port`, `$proxy_protocol_port`.
    PeerPort,
    /// `$connection`: its number in this process.
    Number,
    /// `$connection_requests`: how many came over it so far.
    Requests,
    /// `$connection_time`: seconds since it was accepted, in steps of 0.1 s.
    Time,
    /// `$ssl_protocol`.
    TlsVersion,
    /// `$ssl_cipher`.
    TlsCipher,
    /// `$ssl_server_name`.
    TlsServerName,
    /// `$ssl_session_reused`: `r`, or `.` for a full handshake.
    TlsResumed,
    /// `$ssl_client_verify`: `SUCCESS`, `FAILED:` and why, or `NONE`, also where the certificate was
    /// shown to another host.
    ClientVerified,
    /// `$ssl_client_s_dn`.
    ClientSubject,
    /// `$ssl_client_i_dn`.
    ClientIssuer,
    /// `$hostname`: the machine's.
    Hostname,
    /// `$pid`.
    Pid,
    /// `$msec`: now, seconds since 1970 with milliseconds.
    Msec,
    /// `$time_local`.
    TimeLocal,
    /// `$time_iso8601`.
    TimeIso,
}

impl ConnectionVariable {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "https" => Self::Https,
            "server_addr" => Self::ServerAddress,
            "realip_remote_addr" | "proxy_protocol_addr" => Self::PeerAddress,
            "realip_remote_port" | "proxy_protocol_port" => Self::PeerPort,
            "connection" => Self::Number,
            "connection_requests" => Self::Requests,
            "connection_time" => Self::Time,
            "ssl_protocol" => Self::TlsVersion,
            "ssl_cipher" => Self::TlsCipher,
            "ssl_server_name" => Self::TlsServerName,
            "ssl_session_reused" => Self::TlsResumed,
            "ssl_client_verify" => Self::ClientVerified,
            "ssl_client_s_dn" => Self::ClientSubject,
            "ssl_client_i_dn" => Self::ClientIssuer,
            "hostname" => Self::Hostname,
            "pid" => Self::Pid,
            "msec" => Self::Msec,
            "time_local" => Self::TimeLocal,
            "time_iso8601" => Self::TimeIso,
            _ => return None,
        })
    }
}

impl Variable {
    /// The variable of this name, without the dollar sign.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "request_uri" => Self::RequestUri,
            "uri" | "document_uri" => Self::Uri,
            "args" | "query_string" => Self::Args,
            "host" | "best_http_host" | "this_host" => Self::Host,
            "remote_addr" | "the_real_ip" => Self::RemoteAddr,
            "binary_remote_addr" => Self::BinaryRemoteAddr,
            "remote_port" => Self::RemotePort,
            "scheme" | "pass_access_scheme" => Self::Scheme,
            "server_name" => Self::ServerName,
            "server_port" | "pass_server_port" => Self::ServerPort,
            "request_method" => Self::RequestMethod,
            "escaped_request_uri" => Self::EscapedRequestUri,
            "proxy_add_x_forwarded_for" => Self::ForwardedFor,
            "request_id" | "req_id" => Self::RequestId,
            "namespace" => Self::Namespace,
            "ingress_name" => Self::IngressName,
            "service_name" => Self::ServiceName,
            "service_port" => Self::ServicePort,
            "location_path" => Self::LocationPath,
            "opentelemetry_trace_id" => Self::TraceId,
            "opentelemetry_span_id" => Self::SpanId,
            "opentelemetry_context_traceparent" => Self::TraceContext(Propagator::TraceContext),
            "opentelemetry_context_b3" => Self::TraceContext(Propagator::B3),
            "is_args" => Self::QuestionMark,
            "content_type" => Self::Header("content-type".into()),
            "content_length" => Self::Header("content-length".into()),
            _ => {
                if let Some(own) = ConnectionVariable::named(name) {
                    return Some(Self::Connection(own));
                }
                let (family, rest) = name.split_once('_').filter(|(_, rest)| !rest.is_empty())?;
                match family {
                    "http" => Self::Header(rest.to_ascii_lowercase().replace('_', "-").into()),
                    "cookie" => Self::Cookie(rest.into()),
                    "arg" => Self::Argument(rest.into()),
                    _ => return None,
                }
            }
        })
    }
}
