//! What is measured, and what is held against it.

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Case {
    /// HTTP/1.1 keep-alive, bodies of 1 kB.
    KeepAlive,
    /// HTTP/1.1, a connection for each request.
    NewConnection,
    /// HTTP/2 without TLS, 100 streams on each of 4 connections.
    H2,
    /// HTTP/2 over TLS, 100 streams on each of 4 connections.
    H2Tls,
    /// Full TLS 1.3 handshakes with a P-256 key.
    HandshakeEcdsa,
    /// Full TLS 1.3 handshakes with an RSA key of 2048 bits.
    HandshakeRsa,
    /// Resumed TLS 1.3 handshakes, with a request each.
    Resumed,
    /// Responses of 1 MiB.
    #[value(name = "download-1m")]
    Download,
    /// Requests of 1 MiB.
    #[value(name = "upload-1m")]
    Upload,
    /// 10 000 Ingresses with 5 paths each, asked at random, against one with one path.
    Routes,
    /// Memory per idle WebSocket.
    Websockets,
    /// Latency at a fixed rate: half of what the best peer can do.
    Latency,
}

/// Hosts and paths of each of the case `routes`.
pub(super) const ROUTES: (usize, usize) = (10_000, 5);
/// WebSockets of the case `websockets`.
pub(super) const WEBSOCKETS: usize = 5_000;

/// What is measured of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// CPU µs per request; columns: user, system, requests per second.
    Cpu,
    /// KiB per connection.
    Memory,
    /// The 99th percentile in µs; columns: 50th, 99.9th, CPU µs per request.
    Latency,
}

impl Measure {
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "CPU µs",
            Self::Memory => "KiB",
            Self::Latency => "p99 µs",
        }
    }

    /// What [`super::turn::Turn::columns`] holds.
    pub(super) fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Cpu => &["user", "system", "per second"],
            Self::Memory => &[],
            Self::Latency => &["p50 µs", "p99.9 µs", "CPU µs"],
        }
    }
}

impl Case {
    pub(super) fn measure(self) -> Measure {
        match self {
            Self::Websockets => Measure::Memory,
            Self::Latency => Measure::Latency,
            _ => Measure::Cpu,
        }
    }

    /// What our median may be at most, as a multiple of the best peer's.
    pub(super) fn bar(self) -> f64 {
        match self {
            Self::KeepAlive => 0.9,
            Self::H2 | Self::H2Tls => 0.8,
            Self::Routes => 1.1,
            _ => 1.0,
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::KeepAlive => "HTTP/1.1 keep-alive, 1 kB",
            Self::NewConnection => "HTTP/1.1, new connection each",
            Self::H2 => "HTTP/2 clear, 100 streams",
            Self::H2Tls => "HTTP/2 over TLS, 100 streams",
            Self::HandshakeEcdsa => "TLS 1.3 full handshake, ECDSA P-256",
            Self::HandshakeRsa => "TLS 1.3 full handshake, RSA 2048",
            Self::Resumed => "TLS 1.3 resumed, one request each",
            Self::Download => "1 MiB response",
            Self::Upload => "1 MiB request",
            Self::Routes => "10 000 Ingresses × 5 paths, random hosts",
            Self::Websockets => "5 000 idle WebSockets, memory of each",
            Self::Latency => "p99 at half of the best peer's most",
        }
    }
}
