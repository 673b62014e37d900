//! TLS that is not ended here (reference section 4.5): by the server name of the ClientHello, to
//! the ready endpoints of the Service behind the host's path `/`. The bytes are only looked at, so
//! that whoever gets the connection, endpoint or our own handshake, reads it from its beginning.

use std::{io, rc::Rc};

use tokio::net::TcpStream;

use super::{
    client_hello::{self, Hello},
    peek,
    tcp::Course,
    worker::Worker,
};

/// Where the connection is to be passed to; `None`: its handshake is ours. Waits for the
/// ClientHello without a time limit of its own.
///
/// # Errors
/// The connection's.
pub(crate) async fn choose(worker: &Rc<Worker>, stream: &TcpStream) -> io::Result<Option<Course>> {
    let mut buffer = worker.buffers.take();
    let room = buffer.room();
    let length = room.len().min(client_hello::LARGEST);
    let room = room.get_mut(..length).unwrap_or_default();
    let hello = peek::until(stream, room, client_hello::read).await?;
    let Some(Hello::Name(name)) = hello else { return Ok(None) };
    let view = worker.view();
    let model = &view.snapshot.model;
    let Some(passthrough) = model.streams.passthrough.get(&*name) else { return Ok(None) };
    let backend = usize::try_from(passthrough.backend.0).ok();
    let Some(backend) = backend.and_then(|place| model.backends.get(place)) else {
        return Err(io::Error::other("the snapshot has no such backend"));
    };
    Ok(Some(Course {
        backend: backend.key.clone(),
        endpoints: backend.endpoints.iter().map(|endpoint| endpoint.address).collect(),
        is_name: backend.is_name,
        send_proxy: passthrough.send_proxy,
        settings: model.settings.stream.clone(),
        server_name: Some((&*name).into()),
    }))
}
