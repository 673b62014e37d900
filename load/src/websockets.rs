//! Idle WebSockets: for what a connection costs in memory.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context, Result, bail};

use crate::{
    PATIENCE,
    backend::{WEBSOCKET_KEY, end_of_head},
    say,
};

/// Opens them, prints `open`, and returns when the input ends.
pub(crate) fn hold(address: SocketAddr, host: &str, connections: usize) -> Result<()> {
    let mut open = Vec::new();
    for number in 1..=connections {
        let socket = one(address, host).with_context(|| format!("WebSocket {number}"))?;
        open.push(socket);
    }
    say("open")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn one(address: SocketAddr, host: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    let mut piece = [0; 2048];
    while end_of_head(&head).is_none() {
        let count = stream.read(&mut piece).context("no answer")?;
        if count == 0 {
            bail!("the connection ended: {}", String::from_utf8_lossy(&head));
        }
        head.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
    if !head.starts_with(b"HTTP/1.1 101 ") {
        bail!("refused: {}", String::from_utf8_lossy(&head));
    }
    Ok(stream)
}
