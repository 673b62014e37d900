//! What precedes HTTP or TLS on a connection: the header of the PROXY protocol, and the choice
//! whether the connection is for us at all or passed on below HTTP (reference section 2, step 1).

use std::{future::poll_fn, net::SocketAddr, rc::Rc, task::Poll};

use tokio::{io::ReadBuf, net::TcpStream};

use super::{
    accept::Door,
    client::LAST_CALL,
    deadline::{Deadline, before},
    passthrough,
    proxy_protocol::{self, Arrival},
    tcp::{self, Course},
    tls::HandshakeFailure,
    worker::Worker,
};

/// What is done before HTTP or TLS; nothing for most connections.
pub(super) fn is_needed(worker: &Worker, door: Door) -> bool {
    let view = worker.view();
    let model = &view.snapshot.model;
    match door {
        Door::Http => model.settings.proxy_protocol,
        Door::Https => model.settings.proxy_protocol || !model.streams.passthrough.is_empty(),
        Door::Service => true,
    }
}

/// Takes the PROXY header where there must be one, and passes the connection on if it is not for
/// us. `None`: it has come to its end.
pub(super) async fn take(
    worker: &Rc<Worker>,
    tcp: TcpStream,
    peer: SocketAddr,
    door: Door,
    port: u16,
) -> Option<(TcpStream, Arrival)> {
    let mut arrival = Arrival::direct(peer);
    let (mut course, expected, patience) = {
        let view = worker.view();
        let model = &view.snapshot.model;
        let settings = &model.settings;
        let service = model.streams.tcp(port).filter(|_| door == Door::Service);
        let course = service.map(|service| Course {
            backend: service.backend.clone(),
            endpoints: service.endpoints.clone(),
            is_name: service.is_name,
            send_proxy: service.send_proxy,
            settings: settings.stream.clone(),
            server_name: None,
        });
        let expected = match door {
            Door::Service => service.is_some_and(|service| service.accept_proxy),
            Door::Http | Door::Https => settings.proxy_protocol,
        };
        (course, expected, settings.proxy_protocol_timeout)
    };
    let deadline = worker.deadlines.deadline();
    if expected {
        deadline.set(patience);
        if !begins(worker, &tcp, &deadline).await && worker.draining() {
            return None;
        }
        let outcome = before(&deadline, proxy_protocol::receive(&tcp)).await;
        match outcome {
            Some(Ok(proxied)) => arrival.proxied = proxied,
            failed => {
                let error = failed.and_then(Result::err);
                let error = error.map_or_else(|| "too late".to_owned(), |error| error.to_string());
                tracing::debug!(error, client.address = %peer, port, "no PROXY header");
                worker.counters.proxy_header_failed();
                return None;
            }
        }
    }
    match door {
        Door::Http => {}
        Door::Https => {
            if !worker.view().snapshot.model.streams.passthrough.is_empty() {
                deadline.set(worker.limits.get().header_timeout);
                if !begins(worker, &tcp, &deadline).await && worker.draining() {
                    return None;
                }
                match before(&deadline, passthrough::choose(worker, &tcp)).await {
                    Some(Ok(found)) => course = found,
                    failed => {
                        let reason = match failed {
                            None => HandshakeFailure::Timeout,
                            Some(_) => HandshakeFailure::Closed,
                        };
                        worker.counters.handshake_failed(reason);
                        return None;
                    }
                }
            }
        }
        // The service went away while the connection waited.
        Door::Service if course.is_none() => return None,
        Door::Service => {}
    }
    drop(deadline);
    let Some(course) = course else { return Some((tcp, arrival)) };
    worker.counters.passed();
    tcp::pass(worker, tcp, arrival, course).await;
    None
}

/// Waits for the first byte; while draining not for long. False: it did not come in time.
async fn begins(worker: &Worker, tcp: &TcpStream, deadline: &Deadline) -> bool {
    let mut called = false;
    poll_fn(|cx| {
        // The runtime takes what was just accepted to be readable, so it is not asked.
        if tcp.poll_peek(cx, &mut ReadBuf::new(&mut [0])).is_ready() {
            return Poll::Ready(true);
        }
        if worker.draining() && !called {
            called = true;
            deadline.shorten(LAST_CALL);
        }
        deadline.poll(cx).map(|()| false)
    })
    .await
}
