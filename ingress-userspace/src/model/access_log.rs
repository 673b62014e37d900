//! What is written down about every request (reference sections 9.1 and 10).

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use super::Variable;
use crate::expression::Expression;

/// The access log. ingress-nginx's by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLog {
    /// `log-format-upstream`.
    pub format: Arc<LogFormat>,
    /// Where lines go.
    pub destination: Arc<LogDestination>,
    /// `skip-access-log-urls`: requests of which nothing is written.
    pub skipped: Box<[Skipped]>,
}

/// Where lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogDestination {
    /// Standard output.
    #[default]
    Stdout,
    /// `access-log-path`: a file, which is opened again where somebody moved it away.
    File(PathBuf),
    /// `syslog-host` and `syslog-port`, over UDP. A name is looked up when the log begins.
    Syslog(SyslogServer),
}

/// A server that takes RFC 3164's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogServer {
    /// By its address.
    Address(SocketAddr),
    /// By its name, and its port.
    Name(Arc<str>, u16),
}

/// One of `skip-access-log-urls`; all look at the target as the client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// This target, whatever its case, as keys of NGINX's `map` are.
    Target(Box<str>),
    /// Those that a regular expression finds (`~` and `~*`).
    Matching(Expression),
}

/// A line, cut into pieces once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFormat {
    /// In their order.
    pub pieces: Box<[LogPiece]>,
    /// How values are kept from breaking the line.
    pub escape: LogEscape,
    /// The names of variables in it that NGINX has values for and Penstock has not.
    pub nothing: Box<[Box<str>]>,
}

/// ingress-nginx's `log-format-upstream`.
const FORMAT: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status \
                      $body_bytes_sent \"$http_referer\" \"$http_user_agent\" $request_length \
                      $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] \
                      $upstream_addr $upstream_response_length $upstream_response_time \
                      $upstream_status $req_id";

impl Default for LogFormat {
    /// ingress-nginx's.
    fn default() -> Self {
        Self::parse(FORMAT).expect("a test parses it")
    }
}

impl LogFormat {
    /// Cuts a text with `$name` and `${name}` in it into pieces.
    ///
    /// # Errors
    /// Says which variable is not known, or what else is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut nothing = Vec::new();
        let pieces = pieces(text, |name| {
            let variable = LogVariable::named(name)?;
            if variable == LogVariable::Nothing {
                nothing.push(name.into());
            }
            Some(variable)
        })?;
        Ok(Self { pieces, escape: LogEscape::Text, nothing: nothing.into() })
    }
}

/// Cuts a text with `$name` and `${name}` in it into pieces. Says which variable is not known, or
/// what else is wrong.
pub(super) fn pieces<V>(
    text: &str,
    mut named: impl FnMut(&str) -> Option<V>,
) -> Result<Box<[LogPiece<V>]>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        if !before.is_empty() {
            pieces.push(LogPiece::Text(before.into()));
        }
        let name;
        (name, rest) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').ok_or("has a `${` without `}`")?,
            None => {
                let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_';
                after.split_at(after.find(|char| !is_part(char)).unwrap_or(after.len()))
            }
        };
        let variable =
            named(name).ok_or_else(|| format!("has the variable `${name}`, which is not known"))?;
        pieces.push(LogPiece::Variable(variable));
    }
    // A line ends where it is written, and nowhere else.
    if text.contains(['\n', '\r']) {
        return Err("has more than one line".to_owned());
    }
    if !rest.is_empty() {
        pieces.push(LogPiece::Text(rest.into()));
    }
    Ok(pieces.into())
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPiece<V = LogVariable> {
    /// Itself.
    Text(Arc<str>),
    /// What the request has for it.
    Variable(V),
}

/// How values are kept from breaking a line (NGINX's `log_format`, `escape=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogEscape {
    /// `\xXX` for quotes, backslashes, and what is not printable ASCII; `-` for what is missing.
    #[default]
    Text,
    /// `log-format-escape-json`: as in a string of JSON; nothing for what is missing.
    Json,
}

/// A variable of NGINX that lines have. Times are seconds with three decimals, lengths bytes; what
/// is about attempts lists all of them, in their order, with `, ` between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogVariable {
    /// What other texts have too, of the request as it came.
    Request(Variable),
    /// `$request`: the request line.
    RequestLine,
    /// `$server_protocol`.
    Protocol,
    /// `$remote_user`: the name that the request gives with a password, right or not.
    RemoteUser,
    /// `$time_local`.
    TimeLocal,
    /// `$time_iso8601`.
    TimeIso,
    /// `$msec`: now, since 1970.
    Msec,
    /// `$status`.
    Status,
    /// `$body_bytes_sent`.
    BodyBytesSent,
    /// `$bytes_sent`: with the head.
    BytesSent,
    /// `$request_length`: head and body.
    RequestLength,
    /// `$request_time`: from the end of the request's head to that of the answer.
    RequestTime,
    /// `$request_completion`: `OK` where the answer reached its end.
    Completion,
    /// `$proxy_upstream_name`: namespace, Service and port, with dashes.
    Upstream,
    /// `$proxy_alternative_upstream_name`: the canary's.
    AlternativeUpstream,
    /// `$upstream_addr`.
    UpstreamAddress,
    /// `$upstream_status`.
    UpstreamStatus,
    /// `$upstream_connect_time`: zero on a connection that was there.
    UpstreamConnectTime,
    /// `$upstream_header_time`.
    UpstreamHeaderTime,
    /// `$upstream_response_time`.
    UpstreamResponseTime,
    /// `$upstream_response_length`: of the bodies.
    UpstreamResponseLength,
    /// `$sent_http_*`: a field of the answer as the client gets it.
    SentHeader(Arc<str>),
    /// `$upstream_http_*`: a field of the answer as the endpoint gave it.
    UpstreamHeader(Arc<str>),
    /// `$upstream_cookie_*`: a cookie that the endpoint's answer sets.
    UpstreamCookie(Arc<str>),
    /// `$http2`: `h2` over TLS, `h2c` without, and empty for HTTP/1.
    Http2,
    /// `$limit_req_status`: `PASSED` or `REJECTED`.
    LimitRequests,
    /// `$limit_conn_status`: likewise.
    LimitConnections,
    /// A variable that no request has a value for here, so that formats that name it are obeyed.
    Nothing,
}

/// Variables of NGINX that are about what is not here (caches, modules, files), or that nobody
/// remembers.
const NOTHING: [&str; 47] = [
    "ancient_browser",
    "connections_active",
    "connections_reading",
    "connections_waiting",
    "connections_writing",
    "date_gmt",
    "date_local",
    "document_root",
    "gzip_ratio",
    "limit_rate",
    "modern_browser",
    "msie",
    "nginx_version",
    "pipe",
    "proxy_host",
    "proxy_internal_body_length",
    "proxy_port",
    "proxy_protocol_server_addr",
    "proxy_protocol_server_port",
    "realpath_root",
    "request_body",
    "request_body_file",
    "request_filename",
    "ssl_alpn_protocol",
    "ssl_ciphers",
    "ssl_client_cert",
    "ssl_client_escaped_cert",
    "ssl_client_fingerprint",
    "ssl_client_i_dn_legacy",
    "ssl_client_raw_cert",
    "ssl_client_s_dn_legacy",
    "ssl_client_serial",
    "ssl_client_v_end",
    "ssl_client_v_remain",
    "ssl_client_v_start",
    "ssl_curve",
    "ssl_curves",
    "ssl_early_data",
    "ssl_session_id",
    "tcpinfo_rcv_space",
    "tcpinfo_rtt",
    "tcpinfo_rttvar",
    "tcpinfo_snd_cwnd",
    "upstream_bytes_sent",
    "upstream_cache_status",
    "upstream_last_server_name",
    "upstream_queue_time",
];

/// The same of whole families.
const NOTHINGS: [&str; 5] =
    ["geoip_", "geoip2_", "sent_trailer_", "upstream_trailer_", "proxy_protocol_tlv_"];

impl LogVariable {
    /// The variable of this name, without the dollar sign.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "request" => Self::RequestLine,
            "server_protocol" => Self::Protocol,
            "remote_user" => Self::RemoteUser,
            "time_local" => Self::TimeLocal,
            "time_iso8601" => Self::TimeIso,
            "msec" => Self::Msec,
            "status" => Self::Status,
            "body_bytes_sent" => Self::BodyBytesSent,
            "bytes_sent" => Self::BytesSent,
            "request_length" => Self::RequestLength,
            "request_time" => Self::RequestTime,
            "request_completion" => Self::Completion,
            "proxy_upstream_name" => Self::Upstream,
            "proxy_alternative_upstream_name" => Self::AlternativeUpstream,
            "upstream_addr" => Self::UpstreamAddress,
            "upstream_status" => Self::UpstreamStatus,
            "upstream_connect_time" => Self::UpstreamConnectTime,
            "upstream_header_time" => Self::UpstreamHeaderTime,
            "upstream_response_time" => Self::UpstreamResponseTime,
            "upstream_response_length" | "upstream_bytes_received" => Self::UpstreamResponseLength,
            "http2" => Self::Http2,
            "limit_req_status" => Self::LimitRequests,
            "limit_conn_status" => Self::LimitConnections,
            _ if NOTHING.contains(&name) => Self::Nothing,
            _ => {
                let field = |rest: &str| rest.to_ascii_lowercase().replace('_', "-").into();
                let family =
                    |prefix| name.strip_prefix(prefix).filter(|rest: &&str| !rest.is_empty());
                if let Some(rest) = family("sent_http_") {
                    Self::SentHeader(field(rest))
                } else if let Some(rest) = family("upstream_http_") {
                    Self::UpstreamHeader(field(rest))
                } else if let Some(rest) = family("upstream_cookie_") {
                    Self::UpstreamCookie(rest.into())
                } else if NOTHINGS.iter().any(|begin| family(begin).is_some()) {
                    Self::Nothing
                } else {
                    Self::Request(Variable::named(name)?)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_cut_into_pieces() {
        let parsed = LogFormat::parse("$remote_addr ${status}s $http_X_Id$gzip_ratio").unwrap();
        let text = |text: &str| LogPiece::Text(text.into());
        assert_eq!(
            *parsed.pieces,
            [
                LogPiece::Variable(LogVariable::Request(Variable::RemoteAddr)),
                text(" "),
                LogPiece::Variable(LogVariable::Status),
                text("s "),
                LogPiece::Variable(LogVariable::Request(Variable::Header("x-id".into()))),
                LogPiece::Variable(LogVariable::Nothing),
            ]
        );
        assert_eq!(*parsed.nothing, ["gzip_ratio".into()]);
        assert_eq!(
            LogFormat::parse("$nonsense"),
            Err("has the variable `$nonsense`, which is not known".into())
        );
        assert!(LogFormat::parse("${status").is_err());
        assert!(LogFormat::parse("$status\n$status").is_err());
    }

    #[test]
    fn the_default_format_is_understood() {
        assert!(LogFormat::default().nothing.is_empty());
    }
}
