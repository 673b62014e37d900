//! Looks at the first bytes of a connection without taking them, so that whoever serves it
//! afterwards reads it from its beginning.

use std::{io, os::fd::AsRawFd as _};

use nix::sys::socket::{MsgFlags, recv};
use tokio::{io::Interest, net::TcpStream};

/// Calls `decide` with all that has come so far, whenever more has come, until it decides. `None`:
/// the buffer is full and it has not. Has no time limit of its own.
///
/// # Errors
/// What the socket says; `UnexpectedEof` if the other side closed before.
pub(crate) async fn until<T>(
    stream: &TcpStream,
    buffer: &mut [u8],
    mut decide: impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    loop {
        let ended = stream.ready(Interest::READABLE).await?.is_read_closed();
        let mut peeked = 0;
        // An error `WouldBlock` makes tokio forget that the socket is readable, so that the loop
        // goes on when epoll reports more, and does not spin on what it has seen.
        let outcome = stream.try_io(Interest::READABLE, || {
            peeked = receive(stream, buffer, MsgFlags::MSG_PEEK)?;
            if peeked == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match decide(buffer.get(..peeked).unwrap_or_default()) {
                Some(decision) => Ok(Some(decision)),
                None if peeked == buffer.len() => Ok(None),
                None => Err(io::ErrorKind::WouldBlock.into()),
            }
        });
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // The end is seen only by its flag while bytes wait in front of it.
                if ended {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            outcome => return outcome,
        }
    }
}

/// `recv(2)`.
pub(crate) fn receive(stream: &TcpStream, buffer: &mut [u8], flags: MsgFlags) -> io::Result<usize> {
    Ok(recv(stream.as_raw_fd(), buffer, flags)?)
}
