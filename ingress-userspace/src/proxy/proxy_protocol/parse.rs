use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Proxied, checksum::crc32c};

/// The largest header that is read, of either version. nginx takes as much. Bytes.
pub(crate) const LARGEST: usize = 4096;

/// The largest header of version 1, its line end included. Bytes.
const LARGEST_TEXT: usize = 107;
/// What version 2 begins with.
pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// In front of the addresses of version 2. Bytes.
const FIXED: usize = 16;
/// The TLV type PP2_TYPE_CRC32C.
const CRC32C: u8 = 0x03;

/// Why bytes are no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    /// It begins with neither `PROXY ` nor the signature of version 2.
    #[error("no PROXY header")]
    Missing,
    /// No line of version 1.
    #[error("malformed PROXY header, version 1")]
    Text,
    /// Not as version 2 has it.
    #[error("malformed PROXY header, version 2")]
    Binary,
    /// Its checksum is of other bytes.
    #[error("PROXY header with a wrong checksum")]
    Checksum,
    /// Longer than [`LARGEST`], or than 107 bytes in version 1.
    #[error("PROXY header too long")]
    TooLong,
}

/// The header at the front of these bytes and its length; `Ok(None)`: it is not all there yet. A
/// header that says nothing about the client (LOCAL, UNKNOWN, UNSPEC, a UNIX socket) is none inside.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Option<Proxied>, usize)>, HeaderError> {
    if begins(bytes, SIGNATURE) {
        return binary(bytes);
    }
    if begins(bytes, b"PROXY ") {
        return text(bytes);
    }
    Err(HeaderError::Missing)
}

/// One begins with the other, as far as there is something to compare.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(one, two)| one == two)
}

fn text(bytes: &[u8]) -> Result<Option<(Option<Proxied>, usize)>, HeaderError> {
    let window = bytes.get(..LARGEST_TEXT).unwrap_or(bytes);
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        let full = bytes.len() >= LARGEST_TEXT;
        return if full { Err(HeaderError::TooLong) } else { Ok(None) };
    };
    let line = window.get(..end).ok_or(HeaderError::Text)?;
    let line = std::str::from_utf8(line).map_err(|_not_text| HeaderError::Text)?;
    let length = end + 2;
    let mut words = line.split(' ').skip(1);
    let v4 = match words.next() {
        Some("TCP4") => true,
        Some("TCP6") => false,
        // What follows is to be ignored.
        Some("UNKNOWN") => return Ok(Some((None, length))),
        _ => return Err(HeaderError::Text),
    };
    let mut address = || {
        let address = words.next()?;
        if v4 {
            address.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        } else {
            address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
    };
    let addresses = address().zip(address());
    let mut port = || words.next().and_then(port);
    let ports = port().zip(port());
    match (addresses, ports, words.next()) {
        (Some((source, destination)), Some((from, to)), None) => {
            let source = SocketAddr::new(source, from);
            let destination = SocketAddr::new(destination, to);
            Ok(Some((Some(Proxied { source, destination }), length)))
        }
        _ => Err(HeaderError::Text),
    }
}

/// Decimal, without sign and without leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn binary(bytes: &[u8]) -> Result<Option<(Option<Proxied>, usize)>, HeaderError> {
    // The version is judged as soon as it is there.
    let Some(&[version, family, high, low]) = bytes.get(12..FIXED) else { return Ok(None) };
    let local = match version {
        0x20 => true,
        0x21 => false,
        _ => return Err(HeaderError::Binary),
    };
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > LARGEST {
        return Err(HeaderError::TooLong);
    }
    let Some(rest) = bytes.get(FIXED..length) else { return Ok(None) };
    let (proxied, tlvs) = match (family >> 4, family & 0x0f) {
        // A health check of the proxy's own: whatever the rest says is to be ignored.
        _ if local => return Ok(Some((None, length))),
        (1, 1 | 2) => v4(rest).ok_or(HeaderError::Binary)?,
        (2, 1 | 2) => v6(rest).ok_or(HeaderError::Binary)?,
        (3, 1 | 2) => (None, rest.get(216..).ok_or(HeaderError::Binary)?),
        (0..=3, 0..=2) => return Ok(Some((None, length))),
        _ => return Err(HeaderError::Binary),
    };
    check(bytes.get(..length).unwrap_or_default(), tlvs)?;
    Ok(Some((proxied, length)))
}

fn v4(rest: &[u8]) -> Option<(Option<Proxied>, &[u8])> {
    let (source, rest) = rest.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    let (source, destination) = (Ipv4Addr::from(*source), Ipv4Addr::from(*destination));
    with_ports(source.into(), destination.into(), rest)
}

fn v6(rest: &[u8]) -> Option<(Option<Proxied>, &[u8])> {
    let (source, rest) = rest.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let (source, destination) = (Ipv6Addr::from(*source), Ipv6Addr::from(*destination));
    with_ports(source.into(), destination.into(), rest)
}

fn with_ports(
    source: IpAddr,
    destination: IpAddr,
    rest: &[u8],
) -> Option<(Option<Proxied>, &[u8])> {
    let (from, rest) = rest.split_first_chunk::<2>()?;
    let (to, rest) = rest.split_first_chunk::<2>()?;
    let source = SocketAddr::new(source, u16::from_be_bytes(*from));
    let destination = SocketAddr::new(destination, u16::from_be_bytes(*to));
    Some((Some(Proxied { source, destination }), rest))
}

/// The TLVs fill their room exactly, and a checksum among them is the header's with zeros in its
/// own place.
fn check(header: &[u8], mut tlvs: &[u8]) -> Result<(), HeaderError> {
    while let Some((&kind, rest)) = tlvs.split_first() {
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(HeaderError::Binary)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, after) = rest.split_at_checked(length).ok_or(HeaderError::Binary)?;
        if kind == CRC32C {
            let said = <[u8; 4]>::try_from(value).map_err(|_length| HeaderError::Binary)?;
            let end = header.len().saturating_sub(after.len());
            let before = header.get(..end.saturating_sub(4)).unwrap_or_default();
            if crc32c([before, &[0; 4], after]) != u32::from_be_bytes(said) {
                return Err(HeaderError::Checksum);
            }
        }
        tlvs = after;
    }
    Ok(())
}
