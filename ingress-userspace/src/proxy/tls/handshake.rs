//! From a TCP connection on the TLS port to a stream of bytes, or to an end that the client
//! understands.

use std::{
    borrow::Cow, future::poll_fn, io, pin::pin, rc::Rc, sync::Arc, task::Poll, time::Duration,
};

use rustls::{HandshakeKind, ProtocolVersion, pki_types::UnixTime, server::Acceptor};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server::TlsStream};

use super::{FirstByte, HandshakeFailure};
use crate::{
    proxy::{
        client::Client, deadline::before, message::Version, pipeline, respond, sides::Traffic,
        stream::Stream,
    },
    tls::{Agreed, Answer, Identity, Verifier},
};

/// How long a refused client may go on sending.
const LINGER: Duration = Duration::from_secs(2);
/// A fatal alert `unrecognized_name` (RFC 8446, section 6), in a record of its own.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// The same, `internal_error`.
const INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

/// A client whose handshake is done.
pub(in crate::proxy) struct Established {
    pub(in crate::proxy) stream: Stream,
    /// ALPN chose it.
    pub(in crate::proxy) http2: bool,
}

/// A client whose handshake came to nothing.
struct Failed {
    reason: HandshakeFailure,
    /// What it is told, where rustls has not told it already.
    last_words: Option<(TcpStream, Cow<'static, [u8]>)>,
}

impl Failed {
    fn telling(reason: HandshakeFailure, tcp: TcpStream, words: &'static [u8]) -> Self {
        Self { reason, last_words: Some((tcp, Cow::Borrowed(words))) }
    }
}

/// Ends TLS. `None`: the connection is over, the client was told why, and it is counted. What was
/// found out about the client is in [`Client::identity`].
pub(in crate::proxy) async fn handshake(
    client: &Rc<Client>,
    tcp: TcpStream,
) -> Option<Established> {
    let late = Failed { reason: HandshakeFailure::Timeout, last_words: None };
    let mut established = pin!(establish(client, tcp));
    let outcome = poll_fn(|cx| match established.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => client.poll_late(cx).map(|()| None),
    });
    match outcome.await.unwrap_or(Err(late)) {
        Ok(tls) => {
            let (_, session) = tls.get_ref();
            let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
            let newest = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
            client.worker.counters.handshake(newest, resumed);
            let http2 = session.alpn_protocol() == Some(b"h2");
            client.expect_first();
            Some(Established { stream: Stream::Tls(tls), http2 })
        }
        Err(Failed { reason, last_words }) => {
            client.worker.counters.handshake_failed(reason);
            let is_request = reason == HandshakeFailure::PlainHttp;
            if let Some((tcp, words)) = last_words {
                say(client, tcp, &words).await;
                if is_request {
                    told_to_use_tls(client, &words);
                }
            }
            None
        }
    }
}

async fn establish(
    client: &Rc<Client>,
    tcp: TcpStream,
) -> Result<Box<TlsStream<FirstByte>>, Failed> {
    let start = hello(client, tcp).await?;
    // The hello borrows from `start`, which the handshake consumes.
    let server_name = start.client_hello().server_name().map(Box::<str>::from);
    let view = client.worker.view();
    let (config, verifier) = match view.snapshot.handshakes.answer(server_name.as_deref()) {
        Answer::Go(config, verifier) => (config, verifier),
        Answer::UnknownName => {
            let reason = HandshakeFailure::UnknownName;
            return Err(Failed::telling(reason, start.io.tcp, &UNRECOGNIZED_NAME));
        }
        Answer::Refuse => {
            let reason = HandshakeFailure::Other;
            return Err(Failed::telling(reason, start.io.tcp, &INTERNAL_ERROR));
        }
    };
    // A snapshot is not kept alive by clients that take their time.
    drop(view);
    let tls = start.into_stream(config).await.map_err(|error| failed(client, &error))?;
    let _first = client.identity.set(identity(&tls, server_name, verifier.as_ref()));
    Ok(Box::new(tls))
}

/// Reads the client's hello.
async fn hello(client: &Rc<Client>, tcp: TcpStream) -> Result<StartHandshake<FirstByte>, Failed> {
    let mut acceptor =
        pin!(LazyConfigAcceptor::new(Acceptor::default(), FirstByte::new(tcp, client)));
    let error = match acceptor.as_mut().await {
        Ok(start) => return Ok(start),
        Err(error) => error,
    };
    Err(match acceptor.take_io() {
        Some(first) if first.plain => {
            let last_words = Some((first.tcp, respond::plain_to_tls().into()));
            Failed { reason: HandshakeFailure::PlainHttp, last_words }
        }
        _ => failed(client, &error),
    })
}

fn identity(
    tls: &TlsStream<FirstByte>,
    server_name: Option<Box<str>>,
    verifier: Option<&Arc<Verifier>>,
) -> Identity {
    let server_name = server_name.map(|mut name| {
        name.make_ascii_lowercase();
        match name.strip_suffix('.') {
            Some(rest) => rest.into(),
            None => name,
        }
    });
    let (_, session) = tls.get_ref();
    let identity = match verifier {
        Some(verifier) => {
            let certificates = session.peer_certificates().unwrap_or_default();
            verifier.judge(server_name, certificates, UnixTime::now())
        }
        None => Identity { server_name, ..Identity::default() },
    };
    Identity { session: Agreed::of(session), ..identity }
}

fn failed(client: &Client, error: &io::Error) -> Failed {
    let reason = HandshakeFailure::of(error);
    tracing::debug!(%error, ?reason, client.address = %client.peer, "TLS handshake failed");
    Failed { reason, last_words: None }
}

/// Plain HTTP on this port is a request that is answered, as for nginx.
fn told_to_use_tls(client: &Rc<Client>, answer: &[u8]) {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |end| end + 4);
    let traffic = Traffic {
        head_sent: u32::try_from(head).unwrap_or(u32::MAX),
        body_sent: answer.len().saturating_sub(head) as u64,
        ..Traffic::default()
    };
    pipeline::note(client, Version::Http11, 400, traffic);
}

/// The last words to a client.
async fn say(client: &Client, mut tcp: TcpStream, words: &[u8]) {
    client.deadline().set(LINGER);
    let sent = async {
        tcp.write_all(words).await?;
        tcp.shutdown().await?;
        // Closing with unread bytes would reset the connection and take the answer with it.
        let mut rest = [0; 1024];
        while tcp.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _either_way = before(client.deadline(), sent).await;
}
