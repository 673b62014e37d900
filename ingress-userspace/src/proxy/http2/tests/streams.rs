//! Requests and answers as their handlers see them.

use std::task::Poll;

use super::peer::*;
use crate::proxy::{
    buffer::SIZE,
    http2::{
        frame::{flag, kind, setting},
        stream::WINDOW,
    },
    message::{BodyLength, Fields, Known, Version},
    sides::{ClientError, Downstream as _, Read},
};

#[test]
fn a_request_is_answered() {
    let mut peer = Peer::new();
    peer.send(&get(1));
    let (head, mut stream) = peer.request().expect("it came");
    assert_eq!((head.version, head.body), (Version::Http2, BodyLength::None));
    let mut buffer = peer.setup.buffers.take();
    assert_eq!(read(&mut stream, &mut buffer), Poll::Ready(Ok(Read::End)));
    let mut head = answer(200, BodyLength::Exact(5));
    head.fields.push(b"Server", b"x");
    stream.start(&head);
    assert_eq!(write(&mut stream, b"hello"), 5);
    stream.finish(None);
    drop(stream);
    assert_eq!(
        peer.frames(),
        ["HEADERS 1 :status=200 server=x content-length=5", "DATA 1 5 end"],
        "the end is in the last DATA"
    );
    assert!(peer.connection.borrow().is_idle());
}

#[test]
fn an_answer_without_body_ends_with_its_head() {
    for (method, status, body) in [
        ("GET", 204, BodyLength::None),
        ("GET", 200, BodyLength::Exact(0)),
        ("HEAD", 200, BodyLength::Exact(9)),
        ("HEAD", 200, BodyLength::Unknown),
    ] {
        let mut peer = Peer::new();
        peer.send(&headers(1, true, &fields(&[&[(":method", method)], &GET[1..]].concat())));
        let mut stream = peer.stream();
        stream.start(&answer(status, body));
        assert_eq!(write(&mut stream, b"ignored"), 7);
        stream.finish(None);
        drop(stream);
        let frames = peer.frames();
        assert!(frames[0].starts_with("HEADERS 1 end"), "{frames:?}");
        assert_eq!(frames.len(), 1);
    }
}

#[test]
fn the_end_is_a_frame_of_its_own_where_the_last_data_is_gone() {
    let mut peer = Peer::new();
    peer.send(&get(1));
    let mut stream = peer.stream();
    stream.start(&answer(200, BodyLength::Unknown));
    write(&mut stream, b"hello");
    assert_eq!(peer.frames(), ["HEADERS 1 :status=200", "DATA 1 5"]);
    stream.finish(None);
    assert_eq!(peer.frames(), ["DATA 1 0 end"]);
}

#[test]
fn trailers_go_both_ways() {
    let mut peer = Peer::new();
    peer.send(&post(1));
    let mut stream = peer.stream();
    peer.send(&data(1, false, b"body"));
    peer.send(&headers(1, true, &fields(&[("x-sum", "4")])));
    let mut buffer = peer.setup.buffers.take();
    assert_eq!(read(&mut stream, &mut buffer), Poll::Ready(Ok(Read::End)));
    assert_eq!(buffer.filled(), b"body");
    let trailers = stream.trailers().expect("they came").clone();
    assert_eq!(trailers.get_named(b"x-sum"), Some(&b"4"[..]));
    stream.start(&answer(200, BodyLength::Unknown));
    write(&mut stream, b"body");
    stream.finish(Some(&trailers));
    assert_eq!(peer.frames(), ["HEADERS 1 :status=200", "DATA 1 4", "HEADERS 1 end x-sum=4"]);
}

#[test]
fn interim_answers_come_first() {
    let mut peer = Peer::new();
    let block = fields(&[&POST[..], &[("expect", "100-continue")]].concat());
    peer.send(&headers(1, false, &block));
    let mut stream = peer.stream();
    stream.expect_body();
    stream.expect_body();
    let mut hints = answer(103, BodyLength::None);
    hints.fields.push_known(Known::Link, b"</a.css>");
    stream.interim(&hints);
    stream.start(&answer(200, BodyLength::None));
    stream.interim(&hints);
    assert_eq!(
        peer.frames(),
        [
            "HEADERS 1 :status=100",
            "HEADERS 1 :status=103 link=</a.css>",
            "HEADERS 1 end :status=200",
        ]
    );
}

#[test]
fn large_heads_are_continued() {
    let mut peer = Peer::new();
    peer.send(&get(1));
    let mut stream = peer.stream();
    let mut head = answer(200, BodyLength::None);
    head.fields.push(b"x", &[b'y'; 20_000]);
    stream.start(&head);
    let frames = peer.frames();
    assert_eq!(frames[0], "HEADERS 1 end ...");
    assert!(frames[1].starts_with("CONTINUATION 1 :status=200 x=yyy"));
}

#[test]
fn what_is_not_read_ends_when_the_answer_does() {
    let mut peer = Peer::new();
    peer.send(&post(1));
    let mut stream = peer.stream();
    stream.start(&answer(413, BodyLength::None));
    drop(stream);
    assert_eq!(peer.frames(), ["HEADERS 1 end :status=413", "RST_STREAM 1 NO_ERROR"]);
    assert!(peer.ask(&data(1, true, b"late")).is_empty(), "it may not know yet");
}

#[test]
fn an_answer_that_is_not_complete_is_no_answer() {
    let mut peer = Peer::new();
    peer.send(&[get(1), get(3), get(5), get(7)].concat());
    drop(peer.stream());
    let mut stream = peer.stream();
    stream.start(&answer(200, BodyLength::Exact(5)));
    write(&mut stream, b"half");
    stream.finish(None);
    let mut stream = peer.stream();
    stream.start(&answer(200, BodyLength::Unknown));
    drop(stream);
    let mut stream = peer.stream();
    stream.start(&answer(200, BodyLength::Unknown));
    stream.abort();
    stream.abort();
    drop(stream);
    let resets: Vec<_> =
        peer.frames().into_iter().filter(|frame| frame.starts_with("RST_STREAM")).collect();
    let expected: Vec<_> = [1, 3, 5, 7].map(|id| format!("RST_STREAM {id} INTERNAL_ERROR")).into();
    assert_eq!(resets, expected);
}

#[test]
fn no_more_is_sent_than_was_announced() {
    let mut peer = Peer::new();
    peer.send(&get(1));
    let mut stream = peer.stream();
    stream.start(&answer(200, BodyLength::Exact(3)));
    write(&mut stream, b"abcdef");
    stream.finish(None);
    assert_eq!(peer.frames()[1], "DATA 1 3 end");
}

#[test]
fn a_client_that_resets_is_gone() {
    let mut peer = Peer::new();
    peer.send(&post(1));
    let mut stream = peer.stream();
    assert!(stream.poll_gone(&mut context()).is_pending());
    peer.send(&data(1, false, b"x"));
    peer.send(&f(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8]));
    assert!(stream.poll_gone(&mut context()).is_ready());
    let mut buffer = peer.setup.buffers.take();
    assert_eq!(read(&mut stream, &mut buffer), Poll::Ready(Err(ClientError::Gone)));
    assert_eq!(stream.poll_write(&mut context(), b"x"), Poll::Ready(Err(ClientError::Gone)));
    stream.start(&answer(200, BodyLength::None));
    drop(stream);
    assert!(peer.frames().is_empty());
}

#[test]
fn a_body_that_breaks_the_rules_is_malformed() {
    let mut peer = Peer::new();
    peer.send(&headers(1, false, &fields(&[&POST[..], &[("content-length", "1")]].concat())));
    let mut stream = peer.stream();
    peer.send(&data(1, false, b"xx"));
    let mut buffer = peer.setup.buffers.take();
    assert_eq!(read(&mut stream, &mut buffer), Poll::Ready(Err(ClientError::Malformed)));
}

#[test]
fn windows_open_when_the_handler_reads() {
    let mut peer = Peer::new();
    peer.send(&post(1));
    let mut stream = peer.stream();
    for _ in 0..4 {
        peer.send(&data(1, false, &[7; 16_384]));
    }
    assert!(peer.frames().is_empty(), "nothing is read");
    let mut buffer = peer.setup.buffers.take();
    assert_eq!(read(&mut stream, &mut buffer), Poll::Ready(Ok(Read::Data)));
    assert_eq!(buffer.len(), SIZE);
    assert_eq!(peer.frames(), ["WINDOW_UPDATE 1 32768"]);
    buffer.consume(SIZE);
    assert_eq!(read(&mut stream, &mut buffer), Poll::Ready(Ok(Read::Data)));
    assert_eq!(peer.frames(), ["WINDOW_UPDATE 1 32768"]);
    buffer.consume(SIZE);
    assert_eq!(read(&mut stream, &mut buffer), Poll::Pending);
    // Half of the window of the connection.
    for _ in 0..28 {
        peer.send(&data(1, false, &[7; 16_384]));
        buffer.consume(SIZE);
        assert_eq!(read(&mut stream, &mut buffer), Poll::Pending);
    }
    let frames = peer.frames();
    assert!(frames.contains(&"WINDOW_UPDATE 0 524288".to_owned()), "{frames:?}");
}

#[test]
fn what_nobody_reads_counts_for_the_connection_only() {
    let mut peer = Peer::new();
    for number in 0..8 {
        let id = 2 * number + 1;
        peer.send(&post(id));
        let stream = peer.stream();
        for _ in 0..WINDOW / 16_384 {
            peer.send(&data(id, false, &[7; 16_384]));
        }
        drop(stream);
        let frames = peer.frames();
        assert_eq!(frames[0], format!("RST_STREAM {id} INTERNAL_ERROR"));
        assert_eq!(frames.len(), if number == 7 { 2 } else { 1 }, "{frames:?}");
    }
}

#[test]
fn padding_is_given_back_at_once() {
    let mut peer = Peer::new();
    peer.send(&post(1));
    let _stream = peer.stream();
    let padded = [&[255][..], b"x", &[0; 255]].concat();
    let frames: Vec<_> =
        (0..130).flat_map(|_| peer.ask(&f(kind::DATA, flag::PADDED, 1, &padded))).collect();
    assert_eq!(frames, ["WINDOW_UPDATE 1 32768"]);
}

#[test]
fn data_waits_for_the_windows() {
    let mut peer = Peer::new();
    peer.send(&setting(setting::INITIAL_WINDOW_SIZE, 3));
    peer.send(&[get(1), get(3)].concat());
    let (mut one, mut three) = (peer.stream(), peer.stream());
    peer.frames();
    one.start(&answer(200, BodyLength::Unknown));
    three.start(&answer(200, BodyLength::Unknown));
    assert_eq!(write(&mut one, b"hello"), 3);
    assert_eq!(peer.frames().pop().as_deref(), Some("DATA 1 3"));
    peer.send(&f(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]));
    assert_eq!(write(&mut one, b"lo"), 1);
    // 6.9.2: it is made negative, and must come back first.
    peer.send(&setting(setting::INITIAL_WINDOW_SIZE, 0));
    peer.send(&f(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 3]));
    assert_eq!(write(&mut one, b"o"), 0);
    peer.send(&f(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]));
    assert_eq!(write(&mut one, b"o"), 1);
    assert_eq!(write(&mut three, b"x"), 0);
    peer.send(&setting(setting::INITIAL_WINDOW_SIZE, 9));
    assert_eq!(write(&mut three, b"xx"), 2);
}

#[test]
fn streams_share_the_window_of_the_connection_in_turns() {
    let mut peer = Peer::new();
    peer.send(&setting(setting::INITIAL_WINDOW_SIZE, 1 << 20));
    let ids: Vec<u32> = (0..6).map(|number| 2 * number + 1).collect();
    let mut streams: Vec<_> = ids
        .iter()
        .map(|id| {
            peer.send(&get(*id));
            peer.stream()
        })
        .collect();
    peer.send(&f(kind::WINDOW_UPDATE, 0, 0, &[0x10, 0, 0, 0]));
    streams.iter_mut().for_each(|stream| stream.start(&answer(200, BodyLength::Unknown)));
    let mut sent = [0; 6];
    let data = vec![7; 64 * 1024];
    for _ in 0..60 {
        for (stream, sent) in streams.iter_mut().zip(&mut sent) {
            *sent += write(stream, &data);
        }
        peer.frames();
    }
    let (least, most) = (sent.iter().min().unwrap_or(&0), sent.iter().max().unwrap_or(&0));
    // They are asked in another order here than they are woken, which costs some of them a turn.
    assert!(*most < 3 * least, "{sent:?}");
}

#[test]
fn a_smaller_table_is_acknowledged_in_the_next_block() {
    let mut peer = Peer::new();
    peer.send(&setting(setting::HEADER_TABLE_SIZE, 100));
    peer.send(&get(1));
    let mut stream = peer.stream();
    peer.connection.borrow_mut().output().wrote(usize::MAX);
    stream.start(&answer(200, BodyLength::None));
    assert_eq!(peer.connection.borrow_mut().output().pending(), headers(1, true, &[0x20, 0x88]));
}

#[test]
fn an_extended_connect_becomes_a_tunnel() {
    let mut peer = Peer::new();
    let block = [&[(":method", "CONNECT"), (":protocol", "websocket")], &GET[1..]].concat();
    peer.send(&headers(1, false, &fields(&block)));
    let (head, mut stream) = peer.request().expect("it came");
    assert_eq!(head.protocol, "websocket");
    stream.start(&answer(101, BodyLength::None));
    stream.tunnel();
    write(&mut stream, b"down");
    peer.send(&data(1, false, b"up"));
    let mut buffer = peer.setup.buffers.take();
    assert_eq!(read(&mut stream, &mut buffer), Poll::Pending);
    assert_eq!(buffer.filled(), b"up");
    stream.finish(None);
    assert_eq!(peer.frames(), ["HEADERS 1 :status=200", "DATA 1 4 end"]);
}

#[test]
fn a_plain_connect_can_be_refused() {
    let mut peer = Peer::new();
    let block = [(":method", "CONNECT"), (":authority", "a.example:443")];
    peer.send(&headers(1, false, &fields(&block)));
    let (head, mut stream) = peer.request().expect("it came");
    assert_eq!((head.method.as_str(), head.target.as_str()), ("CONNECT", ""));
    stream.start(&answer(405, BodyLength::None));
    assert_eq!(peer.frames(), ["HEADERS 1 end :status=405"]);
}

#[test]
fn a_lost_connection_is_told_to_its_streams() {
    let mut peer = Peer::new();
    peer.send(&[post(1), post(3)].concat());
    let (mut one, three) = (peer.stream(), peer.stream());
    peer.connection.borrow_mut().lose();
    assert!(one.poll_gone(&mut context()).is_ready());
    one.start(&answer(200, BodyLength::None));
    one.finish(Some(&Fields::default()));
    drop((one, three));
    assert!(peer.frames().is_empty());
    assert!(peer.connection.borrow().is_idle());
}
