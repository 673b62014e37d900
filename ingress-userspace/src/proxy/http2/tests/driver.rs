//! A connection with a transport.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf},
    task::JoinHandle,
};

use super::{
    peer::{GET, data, fields, get, headers, setting},
    server::{Server, run},
};
use crate::proxy::http2::{
    Setup,
    frame::{self, Header, PREFACE, flag, kind, setting},
    serve,
};

/// A client of a server that answers by itself.
struct Client {
    stream: DuplexStream,
    server: Rc<Server>,
    serving: JoinHandle<()>,
    start: Instant,
}

impl Client {
    /// One that is settled.
    async fn new(room: usize) -> Self {
        let mut client = Self::silent(room);
        client.send(PREFACE).await;
        client.send(&super::peer::f(kind::SETTINGS, 0, 0, &[])).await;
        for expected in [kind::SETTINGS, kind::WINDOW_UPDATE, kind::SETTINGS] {
            assert_eq!(client.frame().await.map(|(header, _)| header.kind), Some(expected));
        }
        client
    }

    /// One that has sent nothing.
    fn silent(room: usize) -> Self {
        let start = Instant::now();
        let (stream, other) = tokio::io::duplex(room);
        let server = Server::new(Setup::for_tests());
        let serving = tokio::task::spawn_local(serve(other, None, Rc::clone(&server)));
        Self { stream, server, serving, start }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the connection is open");
    }

    /// The next frame; `None`: the connection is closed.
    async fn frame(&mut self) -> Option<(Header, Vec<u8>)> {
        let mut header = [0; frame::HEADER];
        self.stream.read_exact(&mut header).await.ok()?;
        let header = Header::parse(&header)?;
        let mut payload = vec![0; header.length];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((header, payload))
    }

    /// The next frame of this type, which comes.
    async fn next(&mut self, kind: u8) -> (Header, Vec<u8>) {
        loop {
            let frame = self.frame().await.expect("the connection is open");
            if frame.0.kind == kind {
                return frame;
            }
        }
    }

    /// So many seconds later.
    fn later(&self, seconds: u64) {
        self.server.setup.deadlines.tick(self.start + Duration::from_secs(seconds));
    }

    /// Lets all tasks run that can.
    async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

fn request(stream: u32, path: &str, end: bool) -> Vec<u8> {
    let method = if end { "GET" } else { "POST" };
    let block =
        [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a.example")];
    headers(stream, end, &fields(&block))
}

#[test]
fn requests_are_answered() {
    run(async {
        let mut client = Client::new(1 << 16).await;
        client.send(&[get(1), get(3)].concat()).await;
        for id in [1, 3] {
            let (header, _) = client.next(kind::HEADERS).await;
            assert_eq!(header.stream, id);
            let (header, body) = client.next(kind::DATA).await;
            assert_eq!((body.len(), header.has(flag::END_STREAM)), (12, true));
        }
        assert_eq!(client.server.busy.get(), 0);
    });
}

/// Counts the writes that would be system calls.
struct Counting {
    stream: DuplexStream,
    writes: Rc<std::cell::Cell<usize>>,
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.writes.set(self.writes.get() + 1);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[test]
fn a_hundred_answers_are_one_write() {
    run(async {
        let (mut stream, other) = tokio::io::duplex(1 << 20);
        let writes = Rc::default();
        let transport = Counting { stream: other, writes: Rc::clone(&writes) };
        let server = Server::new(Setup::for_tests());
        tokio::task::spawn_local(serve(transport, None, server));
        let begin = [PREFACE, &super::peer::f(kind::SETTINGS, 0, 0, &[])[..]].concat();
        stream.write_all(&begin).await.expect("it is open");
        let mut settings = [0; 9 + 24 + 13 + 9];
        stream.read_exact(&mut settings).await.expect("they come");
        let before = writes.get();
        let block = fields(&GET);
        let requests: Vec<u8> =
            (0..100).flat_map(|number| headers(2 * number + 1, true, &block)).collect();
        assert!(requests.len() < crate::proxy::buffer::SIZE, "they are one read");
        stream.write_all(&requests).await.expect("it is open");
        let mut answers = 0;
        while answers < 100 {
            let mut header = [0; frame::HEADER];
            stream.read_exact(&mut header).await.expect("it is open");
            let header = Header::parse(&header).expect("it is whole");
            let mut payload = vec![0; header.length];
            stream.read_exact(&mut payload).await.expect("it is open");
            answers += u32::from(header.has(flag::END_STREAM));
        }
        assert_eq!(writes.get() - before, 1);
    });
}

#[test]
fn a_large_body_is_echoed_through_small_pipes() {
    run(async {
        let mut client = Client::new(1000).await;
        client.send(&request(1, "/echo", false)).await;
        let body: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
        let mut echoed = Vec::new();
        let (mut sent, mut window, mut ended) = (0, 65_536, false);
        let (mut reader, mut writer) = tokio::io::split(&mut client.stream);
        let mut give = Vec::new();
        while !ended {
            if give.is_empty() && sent < body.len() && window > 0 {
                let length = window.min(body.len() - sent).min(5000);
                let end = sent + length == body.len();
                give = data(1, end, &body[sent..sent + length]);
                sent += length;
                window -= length;
            }
            let mut header = [0; frame::HEADER];
            tokio::select! {
                biased;
                wrote = writer.write(&give), if !give.is_empty() => {
                    give.drain(..wrote.expect("it is open"));
                }
                outcome = reader.read_exact(&mut header) => {
                    outcome.expect("it is open");
                    let header = Header::parse(&header).expect("it is whole");
                    let mut payload = vec![0; header.length];
                    // The server may be waiting for us to read, so nothing else is done meanwhile.
                    reader.read_exact(&mut payload).await.expect("it is open");
                    match header.kind {
                        kind::DATA => {
                            echoed.extend_from_slice(&payload);
                            ended = header.has(flag::END_STREAM);
                            let by = (payload.len() as u32).to_be_bytes();
                            if !payload.is_empty() {
                                for stream in [0, 1] {
                                    let update = super::peer::f(kind::WINDOW_UPDATE, 0, stream, &by);
                                    give.extend_from_slice(&update);
                                }
                            }
                        }
                        kind::WINDOW_UPDATE if header.stream == 1 => {
                            window += frame::number(&payload, 0).unwrap_or_default() as usize;
                        }
                        _ => {}
                    }
                }
            }
        }
        assert!(echoed == body, "{} bytes of {}", echoed.len(), body.len());
    });
}

#[test]
fn many_large_answers_share_the_connection() {
    run(async {
        let mut client = Client::new(50_000).await;
        client.send(&setting(setting::INITIAL_WINDOW_SIZE, 1 << 30)).await;
        client.send(&super::peer::f(kind::WINDOW_UPDATE, 0, 0, &[0x40, 0, 0, 0])).await;
        for number in 0..20 {
            client.send(&request(2 * number + 1, "/bytes/200000", true)).await;
        }
        let (mut ended, mut got) = (0, [0; 40]);
        while ended < 20 {
            let (header, payload) = client.next(kind::DATA).await;
            assert!(payload.len() <= frame::LONGEST);
            got[header.stream as usize] += payload.len();
            if header.has(flag::END_STREAM) {
                ended += 1;
                if ended == 1 {
                    let least = (0..20).map(|number| got[2 * number + 1]).min();
                    assert!(least >= Some(130_000), "the others had their turns: {got:?}");
                }
            }
        }
        assert_eq!(got.iter().sum::<usize>(), 20 * 200_000);
    });
}

#[test]
fn a_handler_that_gives_up_resets_its_stream() {
    run(async {
        let mut client = Client::new(1 << 16).await;
        client.send(&[request(1, "/drop", true), request(3, "/break", true)].concat()).await;
        for id in [1, 3] {
            let (header, code) = client.next(kind::RST_STREAM).await;
            assert_eq!((header.stream, &code[..]), (id, &[0, 0, 0, 2][..]));
        }
    });
}

#[test]
fn a_client_that_resets_or_leaves_stops_its_handlers() {
    run(async {
        let mut client = Client::new(1 << 16).await;
        client.send(&[request(1, "/wait", true), request(3, "/wait", true)].concat()).await;
        client.settle().await;
        assert_eq!(client.server.busy.get(), 2);
        client.send(&super::peer::f(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8])).await;
        client.settle().await;
        assert_eq!((client.server.busy.get(), client.server.gone.get()), (1, 1));
        let Client { stream, server, serving, .. } = client;
        drop(stream);
        serving.await.expect("it ends");
        while server.busy.get() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.gone.get(), 2);
    });
}

#[test]
fn a_stream_without_window_is_given_up_and_the_others_go_on() {
    run(async {
        let mut client = Client::new(1 << 16).await;
        client.send(&setting(setting::INITIAL_WINDOW_SIZE, 1)).await;
        client.send(&request(1, "/", true)).await;
        assert_eq!(client.next(kind::DATA).await.1.len(), 1);
        client.settle().await;
        client.later(6);
        client.settle().await;
        assert_eq!(client.server.busy.get(), 1);
        client.later(8);
        let (header, code) = client.next(kind::RST_STREAM).await;
        assert_eq!((header.stream, &code[..]), (1, &[0, 0, 0, 8][..]));
        client.send(&request(3, "/bytes/1", true)).await;
        assert_eq!(client.next(kind::DATA).await.0.stream, 3);
    });
}

#[test]
fn a_client_that_reads_nothing_is_dropped() {
    run(async {
        let mut client = Client::new(100).await;
        client.send(&request(1, "/bytes/5000", true)).await;
        client.settle().await;
        client.later(6);
        client.settle().await;
        assert!(!client.serving.is_finished());
        client.later(8);
        client.settle().await;
        assert!(client.serving.is_finished());
    });
}

#[test]
fn a_body_that_does_not_come_is_late() {
    run(async {
        let mut client = Client::new(1 << 16).await;
        client.send(&request(1, "/", false)).await;
        client.settle().await;
        client.later(4);
        client.settle().await;
        assert_eq!(client.server.late.get(), 0);
        client.later(6);
        client.settle().await;
        assert_eq!(client.server.late.get(), 1);
    });
}

/// Reads until GOAWAY, then to the end.
async fn left(client: &mut Client) -> Vec<u8> {
    let (_, payload) = client.next(kind::GOAWAY).await;
    while client.frame().await.is_some() {}
    payload
}

#[test]
fn a_client_that_never_speaks_is_left() {
    run(async {
        let mut client = Client::silent(1 << 16);
        client.settle().await;
        client.later(5);
        client.settle().await;
        assert!(!client.serving.is_finished());
        client.later(7);
        assert_eq!(left(&mut client).await, [0; 8]);
    });
}

#[test]
fn a_head_that_does_not_end_is_left() {
    run(async {
        for begun in [super::peer::f(kind::HEADERS, 0, 1, &fields(&GET)), get(1)[..15].to_vec()] {
            let mut client = Client::new(1 << 16).await;
            client.send(&begun).await;
            client.settle().await;
            client.later(7);
            assert_eq!(left(&mut client).await, [0; 8]);
        }
    });
}

#[test]
fn an_idle_connection_is_left_and_keeps_little_memory() {
    run(async {
        let mut client = Client::new(1 << 16).await;
        client.send(&get(1)).await;
        client.next(kind::DATA).await;
        client.settle().await;
        client.later(2);
        client.settle().await;
        client.later(7);
        client.settle().await;
        assert!(!client.serving.is_finished());
        client.later(10);
        assert_eq!(left(&mut client).await, [0, 0, 0, 1, 0, 0, 0, 0]);
        // The client has not closed: it is waited for, but not for ever.
        client.settle().await;
        assert!(!client.serving.is_finished());
        client.later(12);
        client.settle().await;
        assert!(client.serving.is_finished());
    });
}

#[test]
fn a_drained_connection_answers_what_is_on_its_way() {
    run(async {
        let mut client = Client::new(1 << 16).await;
        client.server.draining.set(true);
        client.server.setup.deadlines.wake_all();
        let (_, goaway) = client.next(kind::GOAWAY).await;
        assert_eq!(goaway[..4], [0x7f, 0xff, 0xff, 0xff]);
        let (_, ping) = client.next(kind::PING).await;
        client.send(&get(1)).await;
        client.send(&super::peer::f(kind::PING, flag::ACK, 0, &ping)).await;
        client.next(kind::DATA).await;
        let mut last = None;
        while let Some((header, payload)) = client.frame().await {
            last = Some((header.kind, payload));
        }
        drop(last);
        assert_eq!(client.server.busy.get(), 0);
    });
}

#[test]
fn a_drained_client_that_does_not_answer_is_left_after_a_second() {
    run(async {
        let mut client = Client::new(1 << 16).await;
        client.server.draining.set(true);
        client.server.setup.deadlines.wake_all();
        client.next(kind::PING).await;
        client.settle().await;
        client.later(2);
        assert_eq!(left(&mut client).await, [0; 8]);
    });
}

#[test]
fn an_error_is_told_before_the_connection_closes() {
    run(async {
        let mut client = Client::new(1 << 16).await;
        client.send(&request(1, "/wait", true)).await;
        client.settle().await;
        client.send(&super::peer::f(kind::PING, 0, 0, &[0; 7])).await;
        assert_eq!(left(&mut client).await, [0, 0, 0, 1, 0, 0, 0, 6]);
        client.settle().await;
        assert_eq!(client.server.gone.get(), 1);
    });
}
