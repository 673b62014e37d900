//! The server name in a TLS ClientHello (RFC 8446, section 4.1.2; RFC 6066, section 3), read
//! without ending the connection. Takes no part in the handshake and keeps no state.

/// The largest ClientHello that is looked into, its record headers included. Post-quantum key
/// shares make them some 2 KiB; what is larger goes to the handshake here. Bytes.
pub(crate) const LARGEST: usize = 16 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What a connection begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// A ClientHello for this name, in lower case and without a final dot.
    Name(String),
    /// Anything else: a ClientHello without name, a broken one, another protocol. What it is, is
    /// the handshake's to judge.
    Nameless,
}

/// Reads what has come so far; `None`: the ClientHello is not all there yet.
pub(crate) fn read(bytes: &[u8]) -> Option<Hello> {
    match message(bytes) {
        Ok(None) => None,
        Ok(Some(message)) => Some(server_name(&message).map_or(Hello::Nameless, Hello::Name)),
        Err(Strange) => Some(Hello::Nameless),
    }
}

/// No ClientHello.
struct Strange;

/// The body of the first handshake message, put together from as many records as it takes.
fn message(bytes: &[u8]) -> Result<Option<Vec<u8>>, Strange> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        // Told as early as can be, so that plain text on the port is not waited for.
        if rest.first().is_some_and(|kind| *kind != HANDSHAKE)
            || rest.get(1).is_some_and(|major| *major != 3)
        {
            return Err(Strange);
        }
        let Some(&[_, _, _, high, low]) = rest.get(..5) else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        // Empty fragments are forbidden, larger ones too (RFC 8446, section 5.1).
        if length == 0 || length > 1 << 14 {
            return Err(Strange);
        }
        let body = rest.get(5..).unwrap_or_default();
        let (fragment, after) = body.split_at_checked(length).unwrap_or((body, &[]));
        message.extend_from_slice(fragment);
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Strange);
        }
        if let Some(&[_, high, middle, low]) = message.get(..4) {
            let length = 4 + usize::try_from(u32::from_be_bytes([0, high, middle, low]))
                .map_err(|_too_large| Strange)?;
            if length > LARGEST {
                return Err(Strange);
            }
            if message.len() >= length {
                message.truncate(length);
                message.drain(..4);
                return Ok(Some(message));
            }
        }
        if body.len() < length {
            return Ok(None);
        }
        rest = after;
    }
}

/// The host name of the extension `server_name`.
fn server_name(hello: &[u8]) -> Option<String> {
    // Version and random.
    let rest = hello.get(34..)?;
    let (_session, rest) = vector::<1>(rest)?;
    let (_suites, rest) = vector::<2>(rest)?;
    let (_compression, rest) = vector::<1>(rest)?;
    let (mut extensions, _nothing) = vector::<2>(rest)?;
    while !extensions.is_empty() {
        let (kind, rest) = extensions.split_first_chunk::<2>()?;
        let (body, after) = vector::<2>(rest)?;
        if u16::from_be_bytes(*kind) == SERVER_NAME {
            let (list, _nothing) = vector::<2>(body)?;
            let (&kind, rest) = list.split_first()?;
            let (name, _others) = vector::<2>(rest)?;
            let name = std::str::from_utf8(name).ok().filter(|_| kind == HOST_NAME)?;
            let name = name.strip_suffix('.').unwrap_or(name);
            return (!name.is_empty()).then(|| name.to_ascii_lowercase());
        }
        extensions = after;
    }
    None
}

/// A vector behind its length of so many bytes, and what follows it.
fn vector<const N: usize>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<N>()?;
    let length = length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::aws_lc_rs};

    use super::*;

    /// What rustls sends first.
    fn hello(name: &str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions that exist")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = name.to_owned().try_into().expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), name).expect("a session");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("memory");
        bytes
    }

    /// The same message in records of so many bytes.
    fn fragmented(hello: &[u8], size: usize) -> Vec<u8> {
        let record = |fragment: &[u8]| {
            let length = u16::try_from(fragment.len()).expect("short").to_be_bytes();
            [&[22, 3, 1][..], &length, fragment].concat()
        };
        hello[5..].chunks(size).flat_map(record).collect()
    }

    #[test]
    fn the_name_is_found_as_soon_as_the_message_is_there() {
        let bytes = hello("Shop.Example.com");
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), None, "up to {end}");
        }
        let name = Some(Hello::Name("shop.example.com".to_owned()));
        assert_eq!(read(&bytes), name);
        assert_eq!(read(&[&bytes[..], b"more"].concat()), name);
    }

    #[test]
    fn a_message_may_be_spread_over_records() {
        let bytes = hello("shop.example.com");
        for size in [1, 2, 3, 7, 100] {
            let spread = fragmented(&bytes, size);
            assert_eq!(read(&spread), Some(Hello::Name("shop.example.com".to_owned())), "{size}");
            assert_eq!(read(&spread[..spread.len() - 1]), None, "{size}");
        }
    }

    #[test]
    fn what_is_no_hello_with_a_name_is_told_at_once() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x16\x02",
            b"\x16\x03\x01\x00\x00",
            b"\x16\x03\x01\x40\x01",
            b"\x16\x03\x01\x00\x05\x02",
            b"\x16\x03\x01\x00\x10\x01\xff\xff\xff",
            b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
            b"\x15\x03\x01",
        ] {
            assert_eq!(read(bytes), Some(Hello::Nameless), "{bytes:x?}");
        }
        assert_eq!(read(&hello("192.0.2.1")), Some(Hello::Nameless), "an address is no name");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(
            mut bytes in Just(hello("shop.example.com")),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            rest: Vec<u8>,
        ) {
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            let _either = read(&bytes);
            let _either = read(&rest);
        }
    }
}
