//! Asks a server: finds its addresses, has a connection to one of them, and waits for the head of
//! its answer. What comes behind the head is of no interest.

use std::{
    collections::VecDeque,
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::Method;

use super::lookups::Lookups;
use crate::{
    model::{AuthHost, AuthScheme, ExternalAuth, Proxying, UpstreamTls, Variable},
    names::is_own,
    proxy::{
        balance::{Asker, Attempts, Choice, View},
        client::Client,
        message::{Known, RequestHead, ResponseHead},
        sides::{Read, Upstream, UpstreamError},
        upstream::{self, Candidates, Connection, Way},
    },
};

/// How long a server may take for all of it, to look up its name included.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Addresses that are tried until one takes the connection.
const TRIES: usize = 3;

/// Interim answers before the final one.
const INTERIM: usize = 16;

/// As much of an answer's body is read so that its connection can be used again. Bytes.
const LEFTOVER: usize = 64 * 1024;
/// How long that may take; nobody waits for it.
const LEFTOVER_TIME: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// There is no address to ask.
    Nobody,
    /// It was asked, or could not be.
    Server(UpstreamError),
}

/// The name or address of the server, which is also the `Host` that it sees. `host`: the request's.
pub(super) fn name(auth: &ExternalAuth, host: &str) -> Rc<str> {
    match &auth.server.host {
        AuthHost::Name(name) | AuthHost::Service(_, name) => Rc::from(&**name),
        AuthHost::Address(address) => address.to_string().into(),
        AuthHost::OfRequest => host.into(),
    }
}

/// Asks, and has the head of the answer in `answer`.
pub(super) async fn ask(
    client: &Rc<Client>,
    view: &Rc<View>,
    auth: &ExternalAuth,
    name: &Rc<str>,
    question: &mut RequestHead,
    answer: &mut ResponseHead,
) -> Result<(), NoAnswer> {
    question.fields.set(Known::Host, name.as_bytes());
    let asked = tokio::time::timeout(PATIENCE, asked(client, view, auth, name, question, answer));
    let connection = asked.await.unwrap_or(Err(NoAnswer::Server(UpstreamError::Late)))?;
    // Whatever a 101 begins, it is no answer.
    if answer.status != 101 {
        keep(client, connection);
    }
    Ok(())
}

async fn asked(
    client: &Rc<Client>,
    view: &Rc<View>,
    auth: &ExternalAuth,
    name: &Rc<str>,
    question: &RequestHead,
    answer: &mut ResponseHead,
) -> Result<Connection, NoAnswer> {
    let worker = &client.worker;
    let tls = match auth.server.scheme {
        AuthScheme::Https => true,
        AuthScheme::Http => false,
        AuthScheme::Client => client.tls,
    };
    let port = auth.server.port.unwrap_or(if tls { 443 } else { 80 });
    let tls: Option<Arc<UpstreamTls>> = tls.then(|| worker.judges.lookups.tls(name));
    let way = Way::own(&worker.judges.proxying, tls.as_ref());
    let repeatable = ![Method::POST, Method::PATCH].contains(&question.method);
    let mut place = Place::of(client, view, auth, name, port).await?;
    let mut last = NoAnswer::Nobody;
    for _ in 0..TRIES {
        let Some(address) = place.next(|address| worker.pool.has(address, &way)) else { break };
        if let Some(connection) = worker.pool.take(address, &way, repeatable) {
            match exchange(connection, &worker.judges.proxying, question, answer).await {
                // It may have idled for too long; a new one tells.
                Err(UpstreamError::Closed | UpstreamError::Refused) if repeatable => {}
                outcome => return outcome.map_err(NoAnswer::Server),
            }
        }
        let connect = |address| upstream::connect(worker, address, &way);
        match upstream::race(address, &mut place, connect).await {
            Ok((_address, connection)) => {
                let outcome = exchange(connection, &worker.judges.proxying, question, answer).await;
                return outcome.map_err(NoAnswer::Server);
            }
            Err(error) => last = NoAnswer::Server(error),
        }
    }
    Err(last)
}

/// Sends the question over a connection and waits for the head of the answer.
async fn exchange(
    mut connection: Connection,
    proxying: &Proxying,
    question: &RequestHead,
    answer: &mut ResponseHead,
) -> Result<Connection, UpstreamError> {
    connection.obey(proxying);
    connection.start(question);
    connection.finish(None);
    for _ in 0..INTERIM {
        poll_fn(|cx| {
            // One that answered before it closed has answered.
            let sent = connection.poll_flush(cx);
            match (connection.poll_head(cx, answer), sent) {
                (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
                (head, _) => head,
            }
        })
        .await?;
        if !answer.is_interim() {
            return Ok(connection);
        }
    }
    Err(UpstreamError::Malformed)
}

/// Keeps the connection for the next question once the rest of the answer is read: at once where it
/// is there already, else while the request goes on.
fn keep(client: &Rc<Client>, mut connection: Connection) {
    let worker = Rc::clone(&client.worker);
    let mut buffer = worker.buffers.take();
    let mut left = LEFTOVER;
    let mut read = move |cx: &mut Context<'_>, connection: &mut Connection| loop {
        match connection.poll_body(cx, &mut buffer) {
            Poll::Ready(Ok(Read::End)) => return Poll::Ready(true),
            Poll::Ready(Ok(Read::Data)) => {
                let length = buffer.len();
                buffer.consume(length);
                left = left.saturating_sub(length);
                if left == 0 {
                    return Poll::Ready(false);
                }
            }
            Poll::Ready(Err(_)) => return Poll::Ready(false),
            Poll::Pending => return Poll::Pending,
        }
    };
    let mut now = Context::from_waker(Waker::noop());
    match read(&mut now, &mut connection) {
        Poll::Ready(true) => worker.pool.put(connection),
        Poll::Ready(false) => {}
        Poll::Pending => {
            tokio::task::spawn_local(async move {
                let whole = poll_fn(|cx| read(cx, &mut connection));
                if let Ok(true) = tokio::time::timeout(LEFTOVER_TIME, whole).await {
                    worker.pool.put(connection);
                }
            });
        }
    }
}

/// Where a server is.
enum Place<'v> {
    Service(Attempts<'v, Nobody>),
    /// The addresses of a name, in the order in which they are to be asked.
    Addresses {
        left: VecDeque<SocketAddr>,
        lookups: &'v Lookups,
        name: &'v Rc<str>,
        now: u64,
    },
}

impl<'v> Place<'v> {
    async fn of(
        client: &'v Rc<Client>,
        view: &'v Rc<View>,
        auth: &ExternalAuth,
        name: &'v Rc<str>,
        port: u16,
    ) -> Result<Self, NoAnswer> {
        let worker = &client.worker;
        let (lookups, now) = (&worker.judges.lookups, worker.deadlines.now());
        match &auth.server.host {
            AuthHost::Address(address) if is_own(*address) => {
                return Err(NoAnswer::Nobody);
            }
            AuthHost::Address(address) => {
                let left = [SocketAddr::new(*address, port)].into();
                return Ok(Self::Addresses { left, lookups, name, now });
            }
            AuthHost::Service(id, _)
                if view.backend(*id).is_some_and(|backend| !backend.endpoints.is_empty()) =>
            {
                let asker = Nobody { now };
                return Ok(Self::Service(Attempts::new(
                    view,
                    Choice { id: *id, affinity: None },
                    asker,
                )));
            }
            _ => {}
        }
        let found = lookups.addresses(name, now).await.ok_or(NoAnswer::Nobody)?;
        let now = worker.deadlines.now();
        let mut addresses: Vec<_> =
            found.iter().map(|address| SocketAddr::new(*address, port)).collect();
        worker.random.borrow_mut().shuffle(&mut addresses);
        upstream::interleave(&mut addresses);
        // Stable: who refused lately comes last, and only if nobody else is there.
        addresses.sort_by_key(|address| lookups.has_lost(name, address.ip(), now));
        Ok(Self::Addresses { left: addresses.into(), lookups, name, now })
    }

    /// Who is to be asked; of the addresses of a name rather one that `is_open` says there is a
    /// connection to.
    fn next(&mut self, is_open: impl Fn(SocketAddr) -> bool) -> Option<SocketAddr> {
        match self {
            Self::Service(attempts) => attempts.next(),
            Self::Addresses { left, .. } => {
                let open = left.iter().position(|address| is_open(*address));
                left.remove(open.unwrap_or(0))
            }
        }
    }
}

impl Candidates for Place<'_> {
    fn another(&mut self) -> Option<SocketAddr> {
        match self {
            Self::Service(attempts) if attempts.are_one_name() => attempts.another(),
            Self::Service(_) => None,
            Self::Addresses { left, .. } => left.pop_front(),
        }
    }

    fn lost(&mut self, address: SocketAddr) {
        match self {
            Self::Service(attempts) => attempts.lost(address),
            Self::Addresses { lookups, name, now, .. } => lookups.lost(name, address.ip(), *now),
        }
    }
}

/// Questions have no session and no hash: balancing by what clients send is for clients.
struct Nobody {
    now: u64,
}

impl Asker for Nobody {
    fn variable(&self, _variable: &Variable, _take: &mut dyn FnMut(&[u8])) {}

    fn cookie(&self, _name: &str) -> Option<&[u8]> {
        None
    }

    fn now(&self) -> u64 {
        self.now
    }
}
