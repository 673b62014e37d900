//! The floor: forwards bytes and parses nothing. Each client has a connection to the backend of its
//! own, so that a request costs one wait, one read and one write each way.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::Result;
use slab::Slab;

use crate::poll::{Interest, Poll, listen};

/// The number that stands for the listener.
const LISTENER: usize = usize::MAX;

/// A client and its connection to the backend.
struct Pair([TcpStream; 2]);

/// Forwards until it is killed.
pub(crate) fn forward(address: SocketAddr, backend: SocketAddr) -> Result<()> {
    let listener = listen(address)?;
    let mut poll = Poll::new()?;
    poll.add(&listener, LISTENER, Interest::Read)?;
    let mut pairs: Slab<Pair> = Slab::new();
    let mut buffer = vec![0; 16 * 1024];
    let mut ready = Vec::new();
    loop {
        poll.wait(None, &mut ready)?;
        for &token in &ready {
            if token == LISTENER {
                let Ok((client, _)) = listener.accept() else { continue };
                let pair = Pair([client, TcpStream::connect(backend)?]);
                let entry = pairs.vacant_entry();
                for (side, stream) in pair.0.iter().enumerate() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    poll.add(stream, entry.key() * 2 + side, Interest::Read)?;
                }
                entry.insert(pair);
                continue;
            }
            let Some(Pair([client, upstream])) = pairs.get_mut(token / 2) else { continue };
            let good = if token % 2 == 0 {
                pass(client, upstream, &mut buffer)
            } else {
                pass(upstream, client, &mut buffer)
            };
            if !good {
                pairs.remove(token / 2);
            }
        }
    }
}

/// Passes on what has come. False where one of the two has ended, or takes less than is to be
/// written: messages are small here.
fn pass(from: &mut TcpStream, to: &mut TcpStream, buffer: &mut [u8]) -> bool {
    match from.read(buffer) {
        Ok(0) => false,
        Ok(count) => buffer.get(..count).is_some_and(|bytes| to.write_all(bytes).is_ok()),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
