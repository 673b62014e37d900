//! Handshakes: connect, shake hands, say goodbye, again. Those that resume ask for something too, for
//! some servers (BoringSSL's) send no ticket before they have something else to send.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, pki_types::ServerName};

use crate::{
    PATIENCE,
    poll::{Interest, Poll},
    response, say, tls,
};

/// Arguments of `handshakes`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    address: SocketAddr,
    /// The name that is asked for.
    #[arg(long)]
    host: String,
    /// Resume sessions instead of shaking hands in full, and make a request in each.
    #[arg(long)]
    resume: bool,
    /// Not above 8: rustls remembers so many tickets of a server.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    #[arg(long)]
    seconds: f64,
}

/// Prints how many handshakes there were. With `--resume` every one but the first of each
/// connection must have been resumed.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let client = tls::client(arguments.resume)?;
    let name = ServerName::try_from(arguments.host.clone()).context("no name for TLS")?;
    let request =
        if arguments.resume { response::request(&arguments.host, "/") } else { String::new() };
    let begin = || Session::begin(arguments.address, &client, name.clone(), &request);
    let mut poll = Poll::new()?;
    let mut sessions = Vec::new();
    for token in 0..arguments.connections {
        let session = begin()?;
        poll.add(&session.stream, token, Interest::Read)?;
        sessions.push(session);
    }
    let (mut full, mut resumed) = (0_usize, 0_usize);
    let end = Instant::now() + Duration::from_secs_f64(arguments.seconds);
    let mut ready = Vec::new();
    while Instant::now() < end {
        poll.wait(Some(PATIENCE), &mut ready)?;
        if ready.is_empty() {
            bail!("the server says nothing any more after {} handshakes", full + resumed);
        }
        for &token in &ready {
            let Some(session) = sessions.get_mut(token) else { continue };
            if !session.turn()? {
                continue;
            }
            match session.tls.handshake_kind() {
                Some(HandshakeKind::Resumed) => resumed += 1,
                _ => full += 1,
            }
            *session = begin()?;
            poll.add(&session.stream, token, Interest::Read)?;
        }
    }
    // The first ones have nothing to resume.
    if arguments.resume && full > arguments.connections {
        bail!("{full} handshakes were made in full and only {resumed} resumed");
    }
    say(&(full + resumed).to_string())
}

/// A connection from its handshake to its end.
struct Session {
    stream: TcpStream,
    tls: ClientConnection,
    /// What has come of the answer; none where nothing was asked.
    answer: Option<Vec<u8>>,
    closing: bool,
}

impl Session {
    fn begin(
        address: SocketAddr,
        client: &Arc<ClientConfig>,
        name: ServerName<'static>,
        request: &str,
    ) -> Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut tls = ClientConnection::new(Arc::clone(client), name)?;
        // Kept by rustls until the handshake is over.
        tls.writer().write_all(request.as_bytes())?;
        tls.write_tls(&mut stream)?;
        let answer = (!request.is_empty()).then(Vec::new);
        Ok(Self { stream, tls, answer, closing: false })
    }

    /// Takes what has come; true once the connection has ended as it should.
    fn turn(&mut self) -> Result<bool> {
        match self.tls.read_tls(&mut self.stream) {
            Ok(0) if self.closing => return Ok(true),
            Ok(0) => bail!("the server closed during the handshake"),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::ConnectionReset && self.closing => {
                return Ok(true);
            }
            Err(error) => return Err(error).context("in the handshake"),
        }
        self.tls.process_new_packets().context("in the handshake")?;
        if !self.closing && !self.tls.is_handshaking() && self.answered()? {
            self.closing = true;
            self.tls.send_close_notify();
        }
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.stream).context("in the handshake")?;
        }
        if self.closing {
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        Ok(false)
    }

    /// Whether nothing more is to come: the answer and a ticket.
    fn answered(&mut self) -> Result<bool> {
        let Some(answer) = &mut self.answer else { return Ok(true) };
        match self.tls.reader().read_to_end(answer) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("no answer"),
        }
        let whole = response::length(answer)?.is_some_and(|length| answer.len() >= length);
        Ok(whole && self.tls.tls13_tickets_received() > 0)
    }
}
