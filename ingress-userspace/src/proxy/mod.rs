//! The request path: accepts connections, terminates TLS, routes requests and forwards them. One
//! thread per worker, each with sockets, upstream pools and counters of its own; what they share is
//! the snapshot, which they only read. Knows no Kubernetes object and no BPF map.
//!
//! ```text
//! listen ─ accept ─ preface ─ tls ─ serve ─→ http1 | http2 ─→ pipeline ─→ exchange ─→ balance ─→ upstream
//! (ports)              └→ tcp     (client)     (message)      └→ respond   (sides)
//! ports ─ udp
//! ```

mod accept;
pub(crate) mod access_log;
pub(crate) mod balance;
mod buffer;
mod client;
mod client_hello;
pub(crate) mod counters;
mod credentials;
mod date;
mod deadline;
mod endpoints;
mod exchange;
mod fastcgi;
mod firewall;
mod held;
mod http1;
mod http2;
pub(crate) mod inquiry;
pub(crate) mod limits;
mod listen;
mod message;
mod mirror;
mod passthrough;
mod peek;
mod pipeline;
mod ports;
mod preface;
mod proxy_protocol;
mod respond;
mod serve;
mod sides;
pub(crate) mod spans;
mod stream;
pub(crate) mod taps;
mod tcp;
mod tls;
pub(crate) mod trial;
mod turns;
mod udp;
mod upstream;
mod worker;

pub use listen::ListenError;
pub(crate) use listen::open_single;
pub(crate) use ports::Ports;
pub(crate) use tls::HandshakeFailure;
pub(crate) use worker::Phase;

use std::{net::SocketAddr, sync::Arc, thread};

use tokio::sync::watch;

use crate::{
    config::{Listen, Timeouts},
    resolve::Asking,
    snapshot::Reader,
};
use counters::Registry;
use listen::Sockets;

/// The listeners of all workers, bound and not yet served: connections wait in the kernel.
pub(crate) struct Bound {
    sockets: Vec<Sockets>,
}

/// What all workers count in and ask.
pub(crate) struct Shared {
    pub(crate) registry: Arc<Registry>,
    pub(crate) zones: Arc<limits::Registry>,
    pub(crate) asking: Asking,
    pub(crate) access_log: access_log::Inlet,
    pub(crate) spans: spans::Inlet,
    pub(crate) inquiries: inquiry::Inquiries,
    pub(crate) taps: taps::Taps,
}

/// The workers at work.
pub(crate) struct Running {
    threads: Vec<thread::JoinHandle<()>>,
}

impl Bound {
    /// Opens all listeners; `segment` as in [`listen::open`].
    pub(crate) fn open(
        listen: &Listen,
        workers: usize,
        segment: Option<u32>,
    ) -> Result<Self, ListenError> {
        Ok(Self { sockets: listen::open(listen, workers, segment)? })
    }

    /// Where HTTP and where HTTPS is listened for.
    pub(crate) fn addresses(&self) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let of = |sockets: &[std::net::TcpListener]| {
            sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
        };
        self.sockets
            .first()
            .map_or_else(Default::default, |worker| (of(&worker.http), of(&worker.https)))
    }

    /// Starts one thread per worker.
    pub(crate) fn start(
        self,
        reader: &Reader,
        shared: &Shared,
        timeouts: &Timeouts,
        phase: &watch::Receiver<Phase>,
        ports: &watch::Receiver<ports::Open>,
    ) -> std::io::Result<Running> {
        let credentials = credentials::Shared::new()?;
        let firewall = firewall::Shared::new();
        let memory = Arc::<held::Memory>::default();
        let threads = self
            .sockets
            .into_iter()
            .enumerate()
            .map(|(index, sockets)| {
                let setup = worker::Setup {
                    index,
                    sockets,
                    reader: reader.clone(),
                    registry: Arc::clone(&shared.registry),
                    zones: Arc::clone(&shared.zones),
                    timeouts: timeouts.clone(),
                    asking: shared.asking.clone(),
                    phase: phase.clone(),
                    ports: ports.clone(),
                    credentials: Arc::clone(&credentials),
                    access_log: shared.access_log.clone(),
                    spans: shared.spans.clone(),
                    inquiries: shared.inquiries.take(index),
                    taps: shared.taps.clone(),
                    firewall: Arc::clone(&firewall),
                    memory: Arc::clone(&memory),
                };
                thread::Builder::new()
                    .name(format!("worker-{index}"))
                    .spawn(move || worker::run(setup))
            })
            .collect::<Result<_, _>>()?;
        Ok(Running { threads })
    }
}

impl Running {
    /// All workers are done.
    pub(crate) fn is_finished(&self) -> bool {
        self.threads.iter().all(thread::JoinHandle::is_finished)
    }

    /// One of the workers is done, at least.
    pub(crate) fn any_finished(&self) -> bool {
        self.threads.iter().any(thread::JoinHandle::is_finished)
    }

    /// Waits until all workers are done, which they are when drained or stopped. False if one of
    /// them ended by a bug.
    pub(crate) fn join(self) -> bool {
        let outcomes: Vec<_> = self.threads.into_iter().map(thread::JoinHandle::join).collect();
        outcomes.iter().all(Result::is_ok)
    }
}
