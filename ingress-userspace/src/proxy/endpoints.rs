//! Whose turn it is among the endpoints of what is passed on below HTTP, and connecting to it.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::net::TcpStream;

use super::{
    deadline::before,
    udp,
    upstream::{Candidates, interleave, race},
    worker::Worker,
};
use crate::model::{BackendKey, StreamSettings};

/// How long an endpoint may take to accept: what `proxy-connect-timeout` is for HTTP by default.
const CONNECT: Duration = Duration::from_secs(5);

/// What a worker keeps for connections and datagrams that are passed on.
#[derive(Default)]
pub(crate) struct State {
    /// Whose turn it is at each backend, in the snapshot of this generation.
    turns: RefCell<(u64, HashMap<BackendKey, usize>)>,
    pub(crate) datagrams: udp::Table,
}

impl State {
    /// The place among `count` endpoints whose turn it is: round robin, from a place of the
    /// worker's own so that workers do not march in step. `None`: there are none.
    pub(crate) fn turn(
        &self,
        worker: &Worker,
        backend: &BackendKey,
        count: usize,
    ) -> Option<usize> {
        let generation = worker.view().snapshot.generation;
        let mut turns = self.turns.borrow_mut();
        let (of, turns) = &mut *turns;
        if *of != generation {
            *of = generation;
            turns.clear();
        }
        let turn = match turns.get_mut(backend) {
            Some(turn) => turn,
            None => {
                let start = worker.random.borrow_mut().usize(..);
                turns.entry(backend.clone()).or_insert(start)
            }
        };
        let place = turn.checked_rem(count)?;
        *turn = place + 1;
        Some(place)
    }
}

/// A connection to one of the endpoints: the one whose turn it is, then, where that is wanted, the
/// ones after it. `is_name`: they are the addresses of one name.
///
/// # Errors
/// That of the last endpoint tried.
pub(crate) async fn connect(
    worker: &Rc<Worker>,
    backend: &BackendKey,
    endpoints: &[SocketAddr],
    is_name: bool,
    settings: &StreamSettings,
) -> io::Result<TcpStream> {
    let first = worker.streams.turn(worker, backend, endpoints.len());
    let first = first.ok_or_else(|| io::Error::other("no endpoint is ready"))?;
    if is_name && endpoints.len() > 1 {
        return Box::pin(connect_to_name(worker, backend, endpoints, first)).await;
    }
    let tries = match (settings.next_upstream, settings.next_upstream_tries) {
        (false, _) => 1,
        (true, 0) => endpoints.len(),
        (true, tries) => usize::try_from(tries).unwrap_or(usize::MAX),
    };
    let started = Instant::now();
    let mut failure = None;
    for address in endpoints.iter().cycle().skip(first).take(tries.min(endpoints.len())) {
        let limit = settings.next_upstream_timeout;
        if failure.is_some() && !limit.is_zero() && started.elapsed() >= limit {
            break;
        }
        match open(worker, backend, *address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| io::Error::other("no endpoint is ready")))
}

/// The addresses of a name are one place: whichever takes the connection first.
async fn connect_to_name(
    worker: &Rc<Worker>,
    backend: &BackendKey,
    endpoints: &[SocketAddr],
    first: usize,
) -> io::Result<TcpStream> {
    /// What nobody has asked yet.
    struct Rest(VecDeque<SocketAddr>);

    impl Candidates for Rest {
        fn another(&mut self) -> Option<SocketAddr> {
            self.0.pop_front()
        }

        fn lost(&mut self, _address: SocketAddr) {}
    }

    let mut addresses: Vec<_> =
        endpoints.iter().cycle().skip(first).take(endpoints.len()).copied().collect();
    interleave(&mut addresses);
    let mut rest = Rest(addresses.into());
    let first = rest.another().ok_or_else(|| io::Error::other("no endpoint is ready"))?;
    let (_, stream) = race(first, &mut rest, |address| open(worker, backend, address)).await?;
    Ok(stream)
}

async fn open(worker: &Worker, backend: &BackendKey, address: SocketAddr) -> io::Result<TcpStream> {
    match in_time(worker, CONNECT, TcpStream::connect(address)).await {
        Ok(stream) => {
            worker.counters.upstream_connected();
            stream.set_nodelay(true)?;
            Ok(stream)
        }
        Err(error) => {
            tracing::debug!(%error, %address, %backend, "cannot connect to an endpoint");
            worker.counters.upstream_failed();
            Err(error)
        }
    }
}

/// The outcome, or `TimedOut` after this long.
pub(crate) async fn in_time<T>(
    worker: &Worker,
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let deadline = worker.deadlines.deadline();
    deadline.set(limit);
    before(&deadline, work).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}
