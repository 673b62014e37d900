use proptest::prelude::*;

use super::{HeaderError, LARGEST, Proxied, checksum::crc32c, header, parse};
use crate::model::ProxyVersion;

fn proxied(source: &str, destination: &str) -> Proxied {
    let address = |text: &str| text.parse().expect("an address and port");
    Proxied { source: address(source), destination: address(destination) }
}

#[test]
fn headers_of_version_1_are_understood() {
    let v4 = proxied("192.0.2.1:4321", "198.51.100.7:443");
    let v6 = proxied("[2001:db8::1]:1", "[2001:db8::2]:65535");
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.7 4321 443\r\n", Some(v4)),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", Some(v6)),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:f ffff::1 any thing\r\n", None),
    ] {
        assert_eq!(parse(line.as_bytes()), Ok(Some((expected, line.len()))), "{line}");
        let followed = format!("{line}GET / HTTP/1.1\r\n");
        assert_eq!(parse(followed.as_bytes()), Ok(Some((expected, line.len()))), "{line}");
        for end in 0..line.len() {
            assert_eq!(parse(&line.as_bytes()[..end]), Ok(None), "{line} up to {end}");
        }
    }
}

#[test]
fn what_is_no_header_of_version_1_is_refused() {
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.7 4321\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 4321 443 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 4321 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 4321 +443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 4321 0443\r\n",
        "PROXY TCP4 192.0.2.1  198.51.100.7 4321 443\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.7 4321 443\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.7 4321 443\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.7 4321 443\r\n",
        "PROXY \r\n",
        "PROXY TCP4 \u{fc} 198.51.100.7 4321 443\r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(HeaderError::Text), "{line}");
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    assert_eq!(parse(longest.as_bytes()), Ok(Some((None, 107))));
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 15));
    assert_eq!(parse(too_long.as_bytes()), Err(HeaderError::TooLong));
    for other in ["GET / HTTP/1.1\r\n", "proxy TCP4", "\x16\x03\x01", "PROXX"] {
        assert_eq!(parse(other.as_bytes()), Err(HeaderError::Missing), "{other}");
    }
}

fn binary(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[version, family][..], &length, rest].concat()
}

const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0x10, 0xe1, 1, 187];

#[test]
fn headers_of_version_2_are_understood() {
    let v4 = Some(proxied("192.0.2.1:4321", "198.51.100.7:443"));
    let authority = [V4, &[0x02, 0, 3, b'a', b'.', b'b'], &[0xe0, 0, 0]].concat();
    for (bytes, expected) in [
        (binary(0x21, 0x11, V4), v4),
        (binary(0x21, 0x12, V4), v4),
        (binary(0x21, 0x11, &authority), v4),
        (binary(0x20, 0x00, &[]), None),
        (binary(0x20, 0x11, V4), None),
        (binary(0x20, 0x11, &[1, 2, 3]), None),
        (binary(0x21, 0x00, &[1, 2, 3]), None),
        (binary(0x21, 0x31, &[0; 216]), None),
    ] {
        assert_eq!(parse(&bytes), Ok(Some((expected, bytes.len()))), "{bytes:x?}");
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(None), "{bytes:x?} up to {end}");
        }
    }
}

#[test]
fn what_is_no_header_of_version_2_is_refused() {
    let odd = [V4, &[0x02, 0, 9, 1]].concat();
    for bytes in [
        binary(0x11, 0x11, V4),
        binary(0x22, 0x11, V4),
        binary(0x21, 0x41, V4),
        binary(0x21, 0x13, V4),
        binary(0x21, 0x21, V4),
        binary(0x21, 0x11, &V4[..11]),
        binary(0x21, 0x31, &[0; 215]),
        binary(0x21, 0x11, &odd),
        binary(0x21, 0x11, &[V4, &[0x03, 0, 1, 0]].concat()),
    ] {
        assert_eq!(parse(&bytes), Err(HeaderError::Binary), "{bytes:x?}");
    }
    let most = binary(0x20, 0, &vec![0; LARGEST - 16]);
    assert_eq!(parse(&most), Ok(Some((None, LARGEST))));
    let more = binary(0x20, 0, &vec![0; LARGEST - 15]);
    assert_eq!(parse(&more), Err(HeaderError::TooLong));
}

#[test]
fn a_checksum_is_checked_where_there_is_one() {
    // RFC 3720, appendix B.4.
    assert_eq!(crc32c([&[0_u8; 16][..], &[0; 16]]), 0x8a91_36aa);
    let after = [0x02, 0, 1, b'a'];
    let mut bytes = binary(0x21, 0x11, &[V4, &[0x03, 0, 4, 0, 0, 0, 0], &after].concat());
    let sum = crc32c([&bytes[..]]).to_be_bytes();
    let place = bytes.len() - after.len() - 4;
    bytes[place..place + 4].copy_from_slice(&sum);
    assert!(matches!(parse(&bytes), Ok(Some((Some(_), _)))));
    bytes[20] ^= 1;
    assert_eq!(parse(&bytes), Err(HeaderError::Checksum));
}

proptest! {
    #[test]
    fn what_is_written_is_understood(
        source: std::net::SocketAddr, destination: std::net::SocketAddr, binary: bool,
    ) {
        let version = if binary { ProxyVersion::V2 } else { ProxyVersion::V1 };
        let bytes = header(version, Some(Proxied { source, destination }));
        let (read, length) = parse(&bytes).unwrap().unwrap();
        let read = read.unwrap();
        prop_assert_eq!(length, bytes.len());
        let same = |one: std::net::SocketAddr, two: std::net::SocketAddr| {
            one.ip().to_canonical() == two.ip().to_canonical() && one.port() == two.port()
        };
        prop_assert!(same(read.source, source) && same(read.destination, destination));
        prop_assert!(!matches!(version, ProxyVersion::V1) || length <= 107);
    }

    #[test]
    fn no_bytes_are_too_strange(
        begin in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n\x21"]),
        rest: Vec<u8>,
    ) {
        let bytes = [begin, &rest].concat();
        if let Ok(Some((_, length))) = parse(&bytes) {
            prop_assert!(length <= bytes.len());
        }
    }
}

#[test]
fn what_is_not_known_is_written_as_such() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let bytes = header(version, None);
        assert_eq!(parse(&bytes), Ok(Some((None, bytes.len()))));
    }
}
