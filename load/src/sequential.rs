//! One request after the other, for counting instructions: the same order each time.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned, pki_types::ServerName};

use crate::{PATIENCE, response, tls};

/// Arguments of `sequential`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    address: SocketAddr,
    /// The host that is asked for; `{}` in it is replaced by a number.
    #[arg(long)]
    host: String,
    /// The path that is asked for; `{}` in it is replaced by a number.
    #[arg(long, default_value = "/")]
    path: String,
    /// The numbers are below this.
    #[arg(long, default_value_t = 1)]
    hosts: usize,
    /// The numbers of paths are below this.
    #[arg(long, default_value_t = 1)]
    paths: usize,
    #[arg(long)]
    requests: usize,
    /// Each request on a connection of its own, with TLS sessions that are resumed.
    #[arg(long)]
    resume: bool,
    /// Each request on a connection of its own, which it says is to be closed.
    #[arg(long, conflicts_with = "resume")]
    close: bool,
}

/// Asks; every answer must be a 200.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    if arguments.resume {
        return resumed(arguments, &tls::client(true)?);
    }
    if arguments.close {
        return closing(arguments);
    }
    // The same numbers each time.
    let mut random = fastrand::Rng::with_seed(1);
    let mut stream = connect(arguments.address)?;
    let mut buffer = Vec::new();
    for _ in 0..arguments.requests {
        let host = arguments.host.replace("{}", &random.usize(..arguments.hosts).to_string());
        let path = arguments.path.replace("{}", &random.usize(..arguments.paths).to_string());
        ask(&mut stream, &host, &path, &mut buffer)?;
    }
    Ok(())
}

fn closing(arguments: &Arguments) -> Result<()> {
    let request = response::request(&arguments.host, &arguments.path);
    let request = request.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    for _ in 0..arguments.requests {
        let mut stream = connect(arguments.address)?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).context("no answer")?;
        if response::length(&answer)? != Some(answer.len()) {
            bail!("the connection ended before the answer did");
        }
    }
    Ok(())
}

fn resumed(arguments: &Arguments, client: &Arc<ClientConfig>) -> Result<()> {
    let name = ServerName::try_from(arguments.host.clone()).context("no name for TLS")?;
    let mut buffer = Vec::new();
    for number in 0..=arguments.requests {
        let tls = ClientConnection::new(Arc::clone(client), name.clone())?;
        let mut stream = StreamOwned::new(tls, connect(arguments.address)?);
        ask(&mut stream, &arguments.host, "/", &mut buffer)?;
        // The first has nothing to resume.
        if number > 0 && stream.conn.handshake_kind() != Some(HandshakeKind::Resumed) {
            bail!("session {number} was not resumed");
        }
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
    Ok(())
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One request and its answer. `buffer` is kept between calls, for its memory.
pub(crate) fn ask(
    stream: &mut (impl Read + Write),
    host: &str,
    path: &str,
    buffer: &mut Vec<u8>,
) -> Result<()> {
    stream.write_all(response::request(host, path).as_bytes())?;
    stream.flush()?;
    buffer.clear();
    let mut piece = [0; 16 * 1024];
    loop {
        if response::length(buffer)?.is_some_and(|length| buffer.len() >= length) {
            return Ok(());
        }
        let count = stream.read(&mut piece).context("no answer")?;
        if count == 0 {
            bail!("the connection ended before the answer did");
        }
        buffer.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
}
