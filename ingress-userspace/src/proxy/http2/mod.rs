//! HTTP/2 (RFC 9113), to clients. Bytes become requests and answers become bytes in `connection`,
//! which does no I/O; `serve` moves the bytes.
//!
//! ```text
//! serve ─ pump ─ connection ─ frame, hpack, head, flow, flood
//!    └→ Http2Stream: one per request ─→ connection
//! ```

mod connection;
mod downstream;
mod error;
mod flood;
mod flow;
mod frame;
mod head;
mod hpack;
mod output;
mod pump;
mod serve;
mod setup;
mod stream;
#[cfg(test)]
mod tests;

use std::rc::Rc;

pub(crate) use downstream::Http2Stream;
pub(crate) use serve::serve;
pub(crate) use setup::{Limits, Setup, Timeouts};

use super::message::RequestHead;

/// What a connection belongs to.
pub(crate) trait Environment: 'static {
    /// What the connections of the worker share.
    fn setup(&self) -> &Rc<Setup>;

    /// Connections are to be left when their requests are answered. Whoever changes this wakes all
    /// deadlines.
    fn draining(&self) -> bool;

    /// Clients count as gone. Likewise.
    fn cut(&self) -> bool;

    /// A request was answered with this status, without anyone's work.
    fn refused(self: &Rc<Self>, status: u16);

    /// Answers a request. Each runs as a task of its own on the worker's thread.
    fn answer(
        self: &Rc<Self>,
        head: Box<RequestHead>,
        stream: Http2Stream,
    ) -> impl Future<Output = ()> + 'static;
}
