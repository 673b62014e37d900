//! The PROXY protocol, versions 1 and 2, in and out, as HAProxy's `proxy-protocol.txt` fixes it.
//! Parsing and writing know no socket; [`receive`] reads a header and not a byte more.

mod checksum;
mod parse;
#[cfg(test)]
mod tests;
mod write;

use std::{io, net::SocketAddr};

use nix::sys::socket::MsgFlags;
use tokio::net::TcpStream;

pub(crate) use parse::{HeaderError, LARGEST, parse};
pub(crate) use write::header;

use super::peek;

/// What a header says about the connection that was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Proxied {
    /// The client.
    pub(crate) source: SocketAddr,
    /// Where the client connected to.
    pub(crate) destination: SocketAddr,
}

/// Who a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Who connected here.
    pub(crate) peer: SocketAddr,
    /// What its header says, if there was one that says something.
    pub(crate) proxied: Option<Proxied>,
}

impl Arrival {
    /// A connection without header.
    pub(crate) fn direct(peer: SocketAddr) -> Self {
        Self { peer, proxied: None }
    }

    /// The client, as far as it is known. A v4 client of a v6 socket is a v4 client.
    pub(crate) fn client(&self) -> SocketAddr {
        let client = self.proxied.map_or(self.peer, |proxied| proxied.source);
        SocketAddr::new(client.ip().to_canonical(), client.port())
    }

    /// The port that the client connected to, if the header says it.
    pub(crate) fn proxied_port(&self) -> Option<u16> {
        self.proxied.map(|proxied| proxied.destination.port())
    }

    /// The header of this version for the next hop; `local` is where the connection came in.
    pub(crate) fn header(&self, version: crate::model::ProxyVersion, local: SocketAddr) -> Vec<u8> {
        let destination = self.proxied.map_or(local, |proxied| proxied.destination);
        header(version, Some(Proxied { source: self.client(), destination }))
    }
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    /// The bytes are none.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The connection.
    #[error("the connection failed before the end of the PROXY header")]
    Io(#[from] io::Error),
}

/// Takes the header from the front of a connection, and leaves all that follows in the socket.
/// `None`: it says nothing about the client (a health check, an unknown family). Has no time limit
/// of its own.
///
/// # Errors
/// [`ReceiveError`]; the connection is to be closed, for whoever speaks is no proxy.
pub(crate) async fn receive(stream: &TcpStream) -> Result<Option<Proxied>, ReceiveError> {
    let mut buffer = vec![0; LARGEST];
    let (proxied, length) = peek::until(stream, &mut buffer, |bytes| parse(bytes).transpose())
        .await?
        .unwrap_or(Err(HeaderError::TooLong))?;
    // It is all there: one read takes it.
    let mut taken = 0;
    while let Some(rest) = buffer.get_mut(taken..length).filter(|rest| !rest.is_empty()) {
        let count = stream
            .async_io(tokio::io::Interest::READABLE, || {
                peek::receive(stream, rest, MsgFlags::empty())
            })
            .await?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        taken += count;
    }
    Ok(proxied)
}
