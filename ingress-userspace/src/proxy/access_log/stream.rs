//! What is remembered of a connection below HTTP, or of a session of datagrams; its line is written
//! when it is dropped, whatever ended it.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Clock, line::Writing};
use crate::{
    model::{BackendKey, LogPiece, StreamLog, StreamVariable},
    proxy::worker::Worker,
};

/// Bytes of one direction.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Way {
    pub(in crate::proxy) read: Cell<u64>,
    pub(in crate::proxy) written: Cell<u64>,
}

impl Way {
    pub(in crate::proxy) fn read(&self, bytes: usize) {
        self.read.set(self.read.get() + bytes as u64);
    }

    pub(in crate::proxy) fn wrote(&self, bytes: usize) {
        self.written.set(self.written.get() + bytes as u64);
    }
}

/// Both directions.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Ways {
    /// From the client to the endpoint.
    pub(in crate::proxy) up: Way,
    /// The other one.
    pub(in crate::proxy) down: Way,
}

/// Who talks to whom.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Ends {
    /// `TCP`, `UDP`.
    pub(in crate::proxy) protocol: &'static str,
    pub(in crate::proxy) client: SocketAddr,
    /// Who connected.
    pub(in crate::proxy) peer: SocketAddr,
    /// Where the client came to.
    pub(in crate::proxy) server: Option<SocketAddr>,
}

/// A connection or session of which a line is to be written.
pub(in crate::proxy) struct Session {
    /// Its worker may know of it: no circle.
    worker: Weak<Worker>,
    log: Arc<StreamLog>,
    ends: Ends,
    backend: BackendKey,
    /// Of TLS that is passed through.
    server_name: Option<Box<str>>,
    number: u64,
    begun: Instant,
    /// Which endpoint took it, and after how long.
    upstream: Cell<Option<(SocketAddr, Duration)>>,
    status: Cell<u16>,
    pub(in crate::proxy) ways: Ways,
}

impl Session {
    /// Begins with a connection as it came. `None`: nothing is to be written about it.
    pub(in crate::proxy) fn begin(
        worker: &Rc<Worker>,
        ends: impl FnOnce() -> Ends,
        backend: &BackendKey,
        server_name: Option<Box<str>>,
    ) -> Option<Self> {
        let log = worker.view().snapshot.model.settings.stream_log.clone()?;
        Some(Self {
            worker: Rc::downgrade(worker),
            log,
            ends: ends(),
            backend: backend.clone(),
            server_name,
            number: worker.next_number(),
            begun: Instant::now(),
            upstream: Cell::new(None),
            status: Cell::new(200),
            ways: Ways::default(),
        })
    }

    /// This endpoint took it.
    pub(in crate::proxy) fn connected(&self, address: SocketAddr) {
        self.upstream.set(Some((address, self.begun.elapsed())));
    }

    /// No endpoint took it.
    pub(in crate::proxy) fn failed(&self) {
        self.status.set(502);
    }

    fn write(&self, worker: &Worker, to: &mut Writing<'_>) {
        let now = Clock::now();
        for piece in &self.log.format.pieces {
            match piece {
                LogPiece::Text(text) => to.plain(text.as_bytes()),
                LogPiece::Variable(variable) => self.variable(*variable, worker, now, to),
            }
        }
    }

    fn variable(
        &self,
        variable: StreamVariable,
        worker: &Worker,
        now: Duration,
        to: &mut Writing<'_>,
    ) {
        use StreamVariable as Its;
        let Ends { protocol, client, peer, server } = self.ends;
        let Ways { up, down } = &self.ways;
        let upstream = self.upstream.get();
        match variable {
            Its::RemoteAddress => to.plain(client.ip().to_string().as_bytes()),
            Its::RemotePort => to.number(u64::from(client.port())),
            Its::PeerAddress => to.plain(peer.ip().to_canonical().to_string().as_bytes()),
            Its::ServerAddress => {
                let address = server.map(|own| own.ip().to_canonical().to_string());
                to.value(address.as_deref().map(str::as_bytes));
            }
            Its::ServerPort => match server {
                Some(own) => to.number(u64::from(own.port())),
                None => to.value(None),
            },
            Its::Protocol => to.plain(protocol.as_bytes()),
            Its::Status => to.number(u64::from(self.status.get())),
            Its::BytesSent => to.number(down.written.get()),
            Its::BytesReceived => to.number(up.read.get()),
            Its::SessionTime => to.seconds(self.begun.elapsed()),
            Its::UpstreamAddress => match upstream {
                Some((address, _)) => to.plain(address.to_string().as_bytes()),
                None => to.value(None),
            },
            Its::UpstreamConnectTime => match upstream {
                Some((_, time)) => to.seconds(time),
                None => to.value(None),
            },
            Its::UpstreamBytesSent => to.number(up.written.get()),
            Its::UpstreamBytesReceived => to.number(down.read.get()),
            Its::Upstream => to.key(&self.backend),
            // A client may have made it up.
            Its::ServerName => to.value(self.server_name.as_deref().map(str::as_bytes)),
            Its::Number => to.number(self.number),
            Its::TimeLocal => worker.log_clock.local(now, |text| to.plain(text.as_bytes())),
            Its::TimeIso => worker.log_clock.iso(now, |text| to.plain(text.as_bytes())),
            Its::Msec => to.seconds(now),
            Its::Hostname => to.plain(worker.hostname.as_bytes()),
            Its::Pid => to.number(u64::from(std::process::id())),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(worker) = self.worker.upgrade() else { return };
        worker.stream_log.line(&self.log.destination, |line| {
            self.write(&worker, &mut Writing { line, escape: self.log.format.escape });
        });
    }
}
