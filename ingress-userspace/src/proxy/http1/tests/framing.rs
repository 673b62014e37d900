use proptest::prelude::*;

use crate::proxy::{
    buffer::Buffers,
    http1::{decode::Decoder, encode::Encoder},
    message::{BodyLength, Fields},
};

/// Decodes what arrives in these pieces; the content, and whether the body has ended.
fn decode(mut decoder: Decoder, pieces: &[&[u8]]) -> Option<(Vec<u8>, bool, Fields, Vec<u8>)> {
    let buffers = Buffers::default();
    let mut from = buffers.take();
    let mut trailers = Fields::default();
    let mut content = Vec::new();
    for piece in pieces {
        assert_eq!(from.append(piece), piece.len());
        let mut into = buffers.take();
        decoder.decode(&mut from, &mut into, &mut trailers).ok()?;
        content.extend_from_slice(into.filled());
        from.compact();
    }
    Some((content, decoder.is_ended(), trailers, from.filled().to_vec()))
}

fn chunked(bytes: &[u8]) -> Option<(Vec<u8>, bool, Fields, Vec<u8>)> {
    decode(Decoder::new(BodyLength::Unknown, true), &[bytes])
}

#[test]
fn a_length_ends_a_body() {
    let (content, ended, _, rest) =
        decode(Decoder::new(BodyLength::Exact(5), true), &[b"hel", b"lo, next"]).expect("valid");
    assert_eq!((&*content, ended, &*rest), (&b"hello"[..], true, &b", next"[..]));
    assert!(Decoder::new(BodyLength::Exact(0), true).is_ended());
    assert!(Decoder::new(BodyLength::None, true).is_ended());
}

#[test]
fn chunks_are_joined_and_trailers_kept() {
    let body = b"5\r\nhello\r\n1 ;ext=\"a;b\"\r\n!\r\n000\r\nX-Sum: 7\r\n\r\nnext";
    let (content, ended, trailers, rest) = chunked(body).expect("valid");
    assert_eq!((&*content, ended, &*rest), (&b"hello!"[..], true, &b"next"[..]));
    assert_eq!(trailers.get_named(b"x-sum"), Some(&b"7"[..]));
}

#[test]
fn chunks_that_can_be_read_in_two_ways_are_refused() {
    for body in [
        &b"zz\r\n"[..],
        b"\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"+5\r\n",
        b"-1\r\n",
        b"0x5\r\n",
        b"5\nhello\r\n",
        b"5\r\nhello\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello5\r\n",
        b"1000000000000000\r\n",
        b"5;a\nb\r\n",
        b"5;a\0b\r\n",
        b"0\r\nno colon\r\n",
        b"0\r\nX: y\n\r\n",
        b"0\r\n X: y\r\n",
    ] {
        assert!(chunked(body).is_none(), "{:?}", String::from_utf8_lossy(body));
    }
    assert!(chunked(&[&b"5;"[..], &[b'a'; 5000]].concat()).is_none(), "an endless extension");
    let tiny = format!("1;{}\r\nx\r\n", "e".repeat(1000)).repeat(17);
    assert!(chunked(tiny.as_bytes()).is_none(), "more framing than content");
    let trailers = format!("0\r\n{}", format!("x: {}\r\n", "y".repeat(1000)).repeat(20));
    assert!(chunked(trailers.as_bytes()).is_none(), "endless trailers");
}

fn encoded(mut encoder: Encoder, pieces: &[&[u8]], trailers: Option<&Fields>) -> (Vec<u8>, bool) {
    let mut queue = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let admitted = encoder.admit(rest.len(), &mut queue);
            if admitted == 0 {
                break;
            }
            // The transport takes less than it is offered.
            let taken = admitted.div_ceil(2);
            queue.extend_from_slice(&rest[..taken]);
            encoder.wrote(taken, &mut queue);
            rest = &rest[taken..];
        }
    }
    let whole = encoder.finish(trailers, &mut queue);
    (queue, whole)
}

#[test]
fn a_body_is_no_longer_than_announced_and_told_if_shorter() {
    assert_eq!(encoded(Encoder::Length(3), &[b"abcdef"], None), (b"abc".to_vec(), true));
    assert_eq!(encoded(Encoder::Length(3), &[b"ab"], None), (b"ab".to_vec(), false));
    assert_eq!(encoded(Encoder::Ended, &[b"ab"], None), (Vec::new(), true));
    assert_eq!(encoded(Encoder::Raw, &[b"ab", b"c"], None), (b"abc".to_vec(), true));
}

#[test]
fn trailers_follow_the_last_chunk() {
    let mut trailers = Fields::default();
    trailers.push(b"X-Sum", b"7");
    let (written, whole) = encoded(Encoder::Chunked(0), &[b"a"], Some(&trailers));
    assert_eq!((&*written, whole), (&b"1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n"[..], true));
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
        cut in 1_usize..50,
    ) {
        let borrowed: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let (written, whole) = encoded(Encoder::Chunked(0), &borrowed, None);
        prop_assert!(whole);
        let arrived: Vec<_> = written.chunks(cut).collect();
        let decoder = Decoder::new(BodyLength::Unknown, true);
        let (content, ended, _, rest) = decode(decoder, &arrived).expect("valid");
        prop_assert_eq!(content, pieces.concat());
        prop_assert!(ended && rest.is_empty());
    }

    #[test]
    fn any_bytes_are_content_framing_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _outcome = chunked(&bytes);
    }
}
