//! What a client must not get out of a connection.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::peer::*;
use crate::proxy::{
    http2::{
        Setup,
        frame::{PREFACE, flag, kind},
        setup::Limits,
    },
    message::BodyLength,
    sides::Downstream as _,
};

const CALM: &str = "ENHANCE_YOUR_CALM";

fn reset(stream: u32) -> Vec<u8> {
    f(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

/// Sends `frame` until the connection ends; how often.
fn flood(peer: &mut Peer, mut frame: impl FnMut(u32) -> Vec<u8>) -> usize {
    for count in 0..20_000 {
        peer.send(&frame(count));
        if peer.connection.borrow().ended().is_some() {
            let last = peer.frames().pop().unwrap_or_default();
            assert!(last.ends_with(CALM), "{last}");
            return count as usize;
        }
    }
    panic!("it never ends");
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let mut peer = Peer::new();
    let mut streams = Vec::new();
    for number in 0..128 {
        assert!(peer.ask(&get(2 * number + 1)).is_empty());
        streams.push(peer.stream());
    }
    assert_eq!(peer.ask(&get(257)), ["RST_STREAM 257 REFUSED_STREAM"]);
    streams.pop();
    peer.frames();
    assert!(peer.ask(&get(259)).is_empty());
}

#[test]
fn fewer_streams_are_a_limit_as_soon_as_the_client_knows() {
    let mut peer = Peer::new();
    let limit = |peer: &mut Peer, streams| {
        peer.setup.limits.set(Limits { streams, ..Limits::default() });
    };
    assert!(peer.ask(&get(1)).is_empty());
    let mut streams = vec![peer.stream()];
    limit(&mut peer, 2);
    // It may not know yet.
    assert_eq!(peer.ask(&get(3)), ["SETTINGS 1"]);
    assert!(peer.ask(&[get(5), get(7)].concat()).is_empty(), "all are taken, told once");
    streams.extend([peer.stream(), peer.stream(), peer.stream()]);
    let known = f(kind::SETTINGS, flag::ACK, 0, &[]);
    assert!(peer.ask(&known).is_empty());
    assert_eq!(peer.ask(&get(9)), ["RST_STREAM 9 REFUSED_STREAM"]);
    // More are allowed at once.
    limit(&mut peer, 5);
    assert_eq!(peer.ask(&get(11)), ["SETTINGS 1"]);
    streams.push(peer.stream());
    assert_eq!(peer.ask(&get(13)), ["RST_STREAM 13 REFUSED_STREAM"]);
    assert_eq!(streams.len(), 5);
}

#[test]
fn handlers_of_streams_that_were_reset_count() {
    let mut peer = Peer::new();
    let mut streams = Vec::new();
    for number in 0..90 {
        peer.send(&get(2 * number + 1));
        streams.push(peer.stream());
        peer.send(&reset(2 * number + 1));
    }
    assert_eq!(streams.len(), 90);
    for number in 90..400 {
        peer.send(&get(2 * number + 1));
        streams.extend(peer.request().map(|(_, stream)| stream));
    }
    assert!(streams.len() <= 256, "{}", streams.len());
}

#[test]
fn rapid_resets_end_the_connection() {
    let mut peer = Peer::new();
    let count = flood(&mut peer, |number| [get(2 * number + 1), reset(2 * number + 1)].concat());
    assert_eq!(count, 100);
    assert!(peer.request().is_none(), "nobody began to work for them");
}

#[test]
fn resets_that_our_own_errors_make_end_the_connection_too() {
    let mut peer = Peer::new();
    let zero = [0; 4];
    flood(&mut peer, |number| {
        let id = 2 * number + 1;
        [get(id), f(kind::WINDOW_UPDATE, 0, id, &zero)].concat()
    });
}

#[test]
fn cancelling_some_requests_is_fine() {
    let mut peer = Peer::of(limited(Limits { requests: 10_000, ..Limits::default() }));
    for number in 0..2000 {
        let id = 2 * number + 1;
        peer.send(&get(id));
        let mut stream = peer.stream();
        if number % 3 == 0 {
            peer.send(&reset(id));
        } else {
            stream.start(&answer(204, BodyLength::None));
        }
        drop(stream);
        peer.frames();
    }
    assert!(peer.connection.borrow().ended().is_none());
}

#[test]
fn floods_of_frames_end_the_connection() {
    let frames: [(&str, Vec<u8>); 7] = [
        ("PING", f(kind::PING, 0, 0, &[0; 8])),
        ("SETTINGS", f(kind::SETTINGS, 0, 0, &[])),
        ("SETTINGS acknowledged", f(kind::SETTINGS, 1, 0, &[])),
        ("PRIORITY", f(kind::PRIORITY, 0, 1, &[0; 5])),
        ("WINDOW_UPDATE", f(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("unknown", f(0x42, 0, 0, &[])),
        ("empty DATA", data(1, false, &[])),
    ];
    for (name, frame) in frames {
        let mut peer = Peer::new();
        peer.send(&post(1));
        let _stream = peer.stream();
        let count = flood(&mut peer, |_| frame.clone());
        assert!((1900..=2010).contains(&count), "{name}: {count}");
    }
}

#[test]
fn pings_now_and_then_are_fine() {
    let mut peer = Peer::new();
    let start = Instant::now();
    for number in 0..10_000 {
        peer.setup.deadlines.tick(start + number * Duration::from_millis(10));
        assert_eq!(peer.ask(&f(kind::PING, 0, 0, &[0; 8])), ["PING ack"]);
    }
}

#[test]
fn window_updates_that_go_with_data_are_fine() {
    let mut peer = Peer::new();
    peer.send(&get(1));
    let mut stream = peer.stream();
    stream.start(&answer(200, BodyLength::Unknown));
    for _ in 0..10_000 {
        assert_eq!(write(&mut stream, b"x"), 1);
        peer.send(&f(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]));
        peer.send(&f(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
        peer.frames();
    }
    assert!(peer.connection.borrow().ended().is_none());
}

#[test]
fn a_block_without_end_ends_the_connection() {
    for (piece, most) in [(0, 17), (1, 17), (16_384, 4)] {
        let mut peer = Peer::new();
        peer.send(&f(kind::HEADERS, 0, 1, &[]));
        let count = flood(&mut peer, |_| f(kind::CONTINUATION, 0, 1, &vec![0; piece]));
        assert!(count < most, "{piece}: {count}");
    }
}

#[test]
fn an_hpack_bomb_is_answered_431_and_goes_no_further() {
    let mut peer = Peer::new();
    // A field of 4000 bytes in the table, and 10 000 references to it.
    let mut block = fields(&GET);
    block.extend_from_slice(b"\x40\x01x");
    block.extend_from_slice(&[0x7f, 0xa1, 0x1e]);
    block.extend_from_slice(&[b'y'; 4000]);
    block.extend_from_slice(&[0xbe; 10_000]);
    assert_eq!(peer.ask(&headers(1, true, &block)), ["HEADERS 1 end :status=431"]);
    assert!(peer.request().is_none());
    assert_eq!(
        peer.ask(&headers(3, false, &[&fields(&POST)[..], &[0xbe; 100]].concat())),
        ["HEADERS 3 end :status=431", "RST_STREAM 3 NO_ERROR"],
        "the table is as it was"
    );
    peer.send(&get(5));
    assert!(peer.request().is_some());
}

fn limited(limits: Limits) -> std::rc::Rc<Setup> {
    let setup = Setup::for_tests();
    Setup::new(setup.buffers.clone(), setup.deadlines.clone(), setup.timeouts.get(), limits)
}

#[test]
fn after_its_requests_a_connection_is_left() {
    let mut peer = Peer::of(limited(Limits { requests: 2, ..Limits::default() }));
    assert!(peer.ask(&get(1)).is_empty());
    assert_eq!(peer.ask(&get(3)), ["GOAWAY 2147483647 NO_ERROR", "PING"]);
    peer.send(&get(5));
    let streams = [peer.stream(), peer.stream(), peer.stream()];
    assert_eq!(peer.ask(&f(kind::PING, flag::ACK, 0, b"penstock")), ["GOAWAY 5 NO_ERROR"]);
    assert!(peer.ask(&get(7)).is_empty());
    assert!(peer.request().is_none(), "it is not taken");
    assert!(!peer.connection.borrow().is_done());
    drop(streams);
    assert!(peer.connection.borrow().is_done());
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let mut peer = Peer::new();
    let mut sent = 0;
    while peer.connection.borrow().takes_input() {
        let id = 2 * sent + 1;
        peer.send(&get(id));
        let mut stream = peer.stream();
        let mut head = answer(200, BodyLength::None);
        head.fields.push(b"x", &[b'y'; 1000]);
        stream.start(&head);
        sent += 1;
    }
    assert!((250..300).contains(&sent), "{sent}");
    assert!(peer.connection.borrow_mut().output().len() < 300 * 1024);
}

proptest! {
    #[test]
    fn no_frames_make_it_panic(
        frames in prop::collection::vec(
            (0_u8..12, any::<u8>(), 0_u32..9, prop::collection::vec(any::<u8>(), 0..40)),
            0..60,
        ),
        answers: bool,
    ) {
        let mut peer = Peer::new();
        let mut streams = Vec::new();
        for (kind, flags, stream, payload) in frames {
            let payload = if kind == kind::HEADERS && flags & 0x28 == 0 {
                fields(&POST)
            } else {
                payload
            };
            peer.send(&f(kind, flags, stream, &payload));
            while let Some((_, mut stream)) = peer.request() {
                if answers {
                    stream.start(&answer(200, BodyLength::Unknown));
                    let _sent = stream.poll_write(&mut context(), b"hello");
                }
                streams.push(stream);
            }
            let mut buffer = peer.setup.buffers.take();
            for stream in &mut streams {
                let _either = read(stream, &mut buffer);
            }
            peer.frames();
        }
        drop(streams);
        prop_assert!(peer.connection.borrow().is_idle());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, settled: bool) {
        let mut peer = if settled { Peer::new() } else { Peer::silent(Setup::for_tests()) };
        if !settled {
            peer.send(&PREFACE[..bytes.len() % 25]);
        }
        peer.send(&bytes);
        peer.frames();
    }
}

#[test]
fn a_request_that_crosses_the_last_goaway_does_not_harm_the_others() {
    let mut peer = Peer::new();
    assert!(peer.ask(&get(1)).is_empty());
    let _stream = peer.stream();
    peer.connection.borrow_mut().leave();
    assert_eq!(peer.frames(), ["GOAWAY 1 NO_ERROR"]);
    // RFC 9113, section 6.8: frames on streams above the last are ignored.
    let window = f(kind::WINDOW_UPDATE, 0, 3, &[0, 0, 0, 1]);
    assert!(
        peer.ask(&[post(3), data(3, false, b"x"), window, data(3, true, b"y")].concat()).is_empty()
    );
    assert!(peer.ask(&reset(3)).is_empty());
    assert!(peer.connection.borrow().ended().is_none());
    // What it sends there counts for the connection's window, and is given back.
    let block = data(3, false, &[0; 16_384]);
    let given: Vec<_> = (0..64).flat_map(|_| peer.ask(&block)).collect();
    assert!(given.iter().all(|frame| frame.starts_with("WINDOW_UPDATE 0 ")), "{given:?}");
    assert!(!given.is_empty());
}
