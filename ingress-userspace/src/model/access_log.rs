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
    pub destination: LogDestination,
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
        let mut pieces = Vec::new();
        let mut nothing = Vec::new();
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
            let variable = LogVariable::named(name)
                .ok_or_else(|| format!("has the variable `${name}`, which is not known"))?;
            if variable == LogVariable::Nothing {
                nothing.push(name.into());
            }
            pieces.push(LogPiece::Variable(variable));
        }
        // A line ends where it is written, and nowhere else.
        if text.contains(['\n', '\r']) {
            return Err("has more than one line".to_owned());
        }
        if !rest.is_empty() {
            pieces.push(LogPiece::Text(rest.into()));
        }
        Ok(Self { pieces: pieces.into(), escape: LogEscape::Text, nothing: nothing.into() })
    }
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPiece {
    /// Itself.
    Text(Arc<str>),
    /// What the request has for it.
    Variable(LogVariable),
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
    /// `$realip_remote_addr`, `$proxy_protocol_addr`: who connected.
    PeerAddress,
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
    /// `$ssl_protocol`.
    TlsVersion,
    /// `$ssl_cipher`.
    TlsCipher,
    /// `$ssl_server_name`.
    TlsServerName,
    /// `$ssl_session_reused`: `r`, or `.` for a full handshake.
    TlsResumed,
    /// `$hostname`: the machine's.
    Hostname,
    /// `$pid`.
    Pid,
    /// A variable that no request has a value for here, so that formats that name it are obeyed.
    Nothing,
}

impl LogVariable {
    /// The variable of this name, without the dollar sign.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "request" => Self::RequestLine,
            "server_protocol" => Self::Protocol,
            "remote_user" => Self::RemoteUser,
            "realip_remote_addr" | "proxy_protocol_addr" => Self::PeerAddress,
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
            "ssl_protocol" => Self::TlsVersion,
            "ssl_cipher" => Self::TlsCipher,
            "ssl_server_name" => Self::TlsServerName,
            "ssl_session_reused" => Self::TlsResumed,
            "hostname" => Self::Hostname,
            "pid" => Self::Pid,
            "content_length" => Self::Request(Variable::Header("content-length".into())),
            "content_type" => Self::Request(Variable::Header("content-type".into())),
            // Of caches, compression, and modules that are not here.
            "upstream_cache_status"
            | "gzip_ratio"
            | "connection"
            | "connection_requests"
            | "pipe"
            | "upstream_queue_time"
            | "ssl_client_s_dn"
            | "ssl_client_verify"
            | "ssl_client_fingerprint"
            | "ssl_client_serial"
            | "ssl_client_i_dn"
            | "server_addr"
            | "proxy_host"
            | "proxy_port"
            | "request_body"
            | "geoip_country_code"
            | "geoip2_country_code"
            | "connection_time"
            | "http2"
            | "limit_req_status"
            | "nginx_version"
            | "proxy_protocol_port"
            | "realip_remote_port"
            | "request_filename"
            | "ssl_client_cert"
            | "ssl_curve"
            | "ssl_early_data"
            | "ssl_session_id"
            | "tcpinfo_rtt"
            | "upstream_bytes_sent"
            | "geoip2_city_country_code"
            | "geoip2_city" => Self::Nothing,
            _ => {
                let field = |rest: &str| rest.to_ascii_lowercase().replace('_', "-").into();
                let family =
                    |prefix| name.strip_prefix(prefix).filter(|rest: &&str| !rest.is_empty());
                match (family("sent_http_"), family("upstream_http_")) {
                    (Some(rest), _) => Self::SentHeader(field(rest)),
                    (_, Some(rest)) => Self::UpstreamHeader(field(rest)),
                    _ => Self::Request(Variable::named(name)?),
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
