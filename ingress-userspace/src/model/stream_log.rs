//! What is written down about every connection and session that is passed on below HTTP (reference
//! section 9.1).

use std::sync::Arc;

use super::{LogDestination, LogEscape, LogPiece, access_log::pieces};

/// The log of TCP and UDP services and of passed-through TLS. ingress-nginx's by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamLog {
    /// `log-format-stream`.
    pub format: StreamFormat,
    /// Where lines go.
    pub destination: Arc<LogDestination>,
}

/// A line, cut into pieces once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFormat {
    /// In their order.
    pub pieces: Box<[LogPiece<StreamVariable>]>,
    /// How values are kept from breaking the line.
    pub escape: LogEscape,
}

/// ingress-nginx's `log-format-stream`.
const FORMAT: &str = "[$remote_addr] [$time_local] $protocol $status $bytes_sent $bytes_received \
                      $session_time";

impl Default for StreamFormat {
    /// ingress-nginx's.
    fn default() -> Self {
        Self::parse(FORMAT).expect("a test parses it")
    }
}

impl StreamFormat {
    /// Cuts a text with `$name` and `${name}` in it into pieces.
    ///
    /// # Errors
    /// Says which variable is not known, or what else is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pieces = pieces(text, StreamVariable::named)?;
        Ok(Self { pieces, escape: LogEscape::Text })
    }
}

/// A variable of NGINX's stream module. Times are seconds with three decimals, lengths bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamVariable {
    /// `$remote_addr`: the client, as the PROXY protocol says where it is accepted.
    RemoteAddress,
    /// `$remote_port`.
    RemotePort,
    /// `$realip_remote_addr`: who connected.
    PeerAddress,
    /// `$server_addr`.
    ServerAddress,
    /// `$server_port`.
    ServerPort,
    /// `$protocol`: `TCP` or `UDP`.
    Protocol,
    /// `$status`: 200, or 502 where no endpoint took the connection.
    Status,
    /// `$bytes_sent`: to the client.
    BytesSent,
    /// `$bytes_received`: from the client.
    BytesReceived,
    /// `$session_time`.
    SessionTime,
    /// `$upstream_addr`.
    UpstreamAddress,
    /// `$upstream_bytes_sent`: to the endpoint.
    UpstreamBytesSent,
    /// `$upstream_bytes_received`: from the endpoint.
    UpstreamBytesReceived,
    /// `$upstream_connect_time`.
    UpstreamConnectTime,
    /// `$proxy_upstream_name`: namespace, Service and port, with dashes.
    Upstream,
    /// `$ssl_preread_server_name`: of TLS that is passed through.
    ServerName,
    /// `$connection`: its number in this process.
    Number,
    /// `$time_local`.
    TimeLocal,
    /// `$time_iso8601`.
    TimeIso,
    /// `$msec`: now, since 1970.
    Msec,
    /// `$hostname`.
    Hostname,
    /// `$pid`.
    Pid,
}

impl StreamVariable {
    /// The variable of this name, without the dollar sign.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "remote_addr" => Self::RemoteAddress,
            "remote_port" => Self::RemotePort,
            "realip_remote_addr" => Self::PeerAddress,
            "server_addr" => Self::ServerAddress,
            "server_port" => Self::ServerPort,
            "protocol" => Self::Protocol,
            "status" => Self::Status,
            "bytes_sent" => Self::BytesSent,
            "bytes_received" => Self::BytesReceived,
            "session_time" => Self::SessionTime,
            "upstream_addr" => Self::UpstreamAddress,
            "upstream_bytes_sent" => Self::UpstreamBytesSent,
            "upstream_bytes_received" => Self::UpstreamBytesReceived,
            "upstream_connect_time" => Self::UpstreamConnectTime,
            "proxy_upstream_name" => Self::Upstream,
            "ssl_preread_server_name" => Self::ServerName,
            "connection" => Self::Number,
            "time_local" => Self::TimeLocal,
            "time_iso8601" => Self::TimeIso,
            "msec" => Self::Msec,
            "hostname" => Self::Hostname,
            "pid" => Self::Pid,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_format_is_understood() {
        assert_eq!(StreamFormat::default().pieces.len(), 14);
        assert_eq!(
            StreamFormat::parse("$protocol $request"),
            Err("has the variable `$request`, which is not known".to_owned())
        );
    }
}
