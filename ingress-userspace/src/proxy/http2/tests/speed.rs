//! How long the engine takes for a request, without a transport and without an upstream.

use std::time::Instant;

use super::peer::*;
use crate::proxy::{
    http2::{Setup, setup::Limits},
    message::BodyLength,
    sides::Downstream as _,
};

/// A browser's request whose fields are in the table, and an upstream's answer.
#[test]
#[ignore = "a measurement: run it optimised, with --nocapture"]
fn requests_and_answers() {
    const COUNT: u32 = 1_000_000;
    let tests = Setup::for_tests();
    let limits = Limits { requests: u32::MAX, ..Limits::default() };
    let setup = Setup::new(tests.buffers.clone(), tests.deadlines.clone(), tests.timeouts, limits);
    let mut peer = Peer::of(setup);
    let mut table = fields(&GET[..3]);
    for field in ["\x01a.example", "\x3aMozilla/5.0 (X11; Linux x86_64)", "\x13*/*"] {
        let (index, value) = field.split_at(1);
        table.push(0x40 | index.as_bytes()[0]);
        table.push(value.len() as u8);
        table.extend_from_slice(value.as_bytes());
    }
    peer.send(&headers(1, true, &table));
    drop(peer.stream());
    peer.frames();
    let block = [0x82, 0x86, 0x84, 0xc0, 0xbf, 0xbe];
    let mut answer = answer(200, BodyLength::Exact(128));
    for (name, value) in [
        ("Date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("Content-Type", "text/html; charset=utf-8"),
        ("ETag", "\"1234567890abcdef\""),
        ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
        ("X-Request-Time", "12"),
    ] {
        answer.fields.push(name.as_bytes(), value.as_bytes());
    }
    let start = Instant::now();
    for number in 1..=COUNT {
        peer.send(&headers(2 * number + 1, true, &block));
        let (head, mut stream) = peer.request().expect("it came");
        stream.start(&answer);
        write(&mut stream, &[b'x'; 128]);
        stream.finish(None);
        drop(stream);
        peer.setup.heads.give(head);
        if number % 100 == 0 {
            peer.connection.borrow_mut().output().wrote(usize::MAX);
            peer.connection.borrow_mut().begin_turn();
            peer.send(&f(8, 0, 0, &12_800_u32.to_be_bytes()));
        }
    }
    let elapsed = start.elapsed();
    println!("{} ns per request", elapsed.as_nanos() / u128::from(COUNT));
}
