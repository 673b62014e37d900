//! Serves one connection with hyper, and ends it when it is idle, late or to be drained.

use std::{convert::Infallible, future::poll_fn, pin::Pin, rc::Rc, task::Poll};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;

use super::{
    body::ResponseBody,
    client::{Client, Phase},
    patience::StreamExecutor,
    pipeline,
    stream::ClientStream,
    upgrade,
};

/// The largest request head: nginx's `large-client-header-buffers`, 4 of 8 KiB.
const HEAD: usize = 32 * 1024;
/// The largest chunk of a body that is read or written at once.
const CHUNK: usize = 64 * 1024;
/// More header fields than this are answered 431.
const FIELDS: usize = 200;

/// How HTTP/1 is served. Timeouts are the client's deadline, not hyper's timers.
pub(super) fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_header_size(HEAD).max_headers(FIELDS).max_buf_size(CHUNK);
    builder
}

/// How HTTP/2 is served (reference section 4.3).
pub(super) fn http2(executor: StreamExecutor) -> http2::Builder<StreamExecutor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .max_concurrent_streams(128)
        .max_header_list_size(u32::try_from(HEAD).expect("it is 32 KiB"))
        .max_send_buf_size(CHUNK)
        .initial_stream_window_size(Some(u32::try_from(CHUNK).expect("it is 64 KiB")))
        .initial_connection_window_size(Some(1 << 20));
    builder
}

/// Serves HTTP/1.0 and 1.1, and whatever a request upgrades to.
pub(super) async fn serve_http1(client: Rc<Client>, stream: ClientStream) {
    let service = service_fn({
        let client = Rc::clone(&client);
        move |request| handle(Rc::clone(&client), request)
    });
    let mut connection = client.worker.http1.serve_connection(TokioIo::new(stream), service);
    let mut last_call = false;
    let outcome = poll_fn(|cx| {
        if let Poll::Ready(outcome) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(Some(outcome));
        }
        if client.worker.draining() && !last_call {
            last_call = true;
            client.last_call();
        }
        // Late with its head: closed without an answer, as nginx does. Idle, or not reading:
        // closed.
        client.deadline().poll(cx).map(|()| None)
    })
    .await;
    if let Some(Err(error)) = &outcome {
        tracing::debug!(%error, client.address = %client.peer, "connection ended");
    }
    let tunnel = client.tunnel.borrow_mut().take();
    if let (Some(Ok(())), Some(tunnel)) = (outcome, tunnel) {
        let parts = connection.into_parts();
        upgrade::run(&client, parts.io.into_inner(), parts.read_buf, tunnel).await;
    }
}

/// Serves HTTP/2.
pub(super) async fn serve_http2(client: Rc<Client>, stream: ClientStream) {
    client.speaks_http2();
    let service = service_fn({
        let client = Rc::clone(&client);
        move |request| handle(Rc::clone(&client), request)
    });
    let mut connection =
        std::pin::pin!(client.worker.http2.serve_connection(TokioIo::new(stream), service));
    let mut leaving = false;
    let outcome = poll_fn(|cx| {
        loop {
            if let Poll::Ready(outcome) = connection.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            let late = client.deadline().poll(cx).is_ready();
            if late && (leaving || client.blocked() || client.phase() == Phase::Head) {
                return Poll::Ready(None);
            }
            if !leaving && (late || client.worker.draining()) {
                // GOAWAY: streams that the client opened meanwhile are still answered.
                leaving = true;
                connection.as_mut().graceful_shutdown();
                client.deadline().clear();
                client.last_call();
                continue;
            }
            return Poll::Pending;
        }
    })
    .await;
    if let Some(Err(error)) = outcome {
        tracing::debug!(%error, client.address = %client.peer, "connection ended");
    }
}

async fn handle(
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    Ok(pipeline::answer(client, request).await)
}
