//! What is handed from stage to stage, and what a connection's task has room for, is copied or kept
//! for each request or connection: it must not grow unnoticed. Whoever needs more room for what few
//! requests have, boxes it. Bytes.

use std::rc::Rc;

use super::{
    Client, RequestHead, answer,
    stages::{Forward, Located, Step},
};
use crate::proxy::{
    http1::Http1,
    http2::{Environment, Http2Stream},
    serve::serve,
    stream::Stream,
};

/// Of the future that answers a request.
fn of_request<'a, F>(
    _answer: impl FnOnce(&'a Rc<Client>, &'a mut RequestHead, &'a mut Http1) -> F,
) -> usize {
    size_of::<F>()
}

/// Of the future that a client's connection is.
fn of_connection<F>(_serve: impl FnOnce(Rc<Client>, Stream) -> F) -> usize {
    size_of::<F>()
}

/// Of the future that a stream of HTTP/2 is.
fn of_stream<'a, F>(
    _answer: impl FnOnce(&'a Rc<Client>, Box<RequestHead>, Http2Stream) -> F,
) -> usize {
    size_of::<F>()
}

#[test]
fn what_every_request_pays_for_is_small() {
    let sizes = [
        ("what is known of a request", size_of::<Located<'_>>(), 360),
        ("what a request is sent with", size_of::<Forward<'_>>(), 240),
        ("what stages come to", size_of::<Step<'_>>(), 240),
        ("a request under way", of_request(answer::<Http1>), 1696),
        ("a connection", of_connection(serve), 2272),
        ("a stream", of_stream(<Client as Environment>::answer), 144),
    ];
    let grown: Vec<_> = sizes.iter().filter(|(_, size, most)| size > most).collect();
    assert!(grown.is_empty(), "what, bytes, at most: {grown:?}");
}
