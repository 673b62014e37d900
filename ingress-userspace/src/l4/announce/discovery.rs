//! Neighbour discovery (RFC 4861): ICMPv6 without its IPv6 header and checksum, which the kernel
//! sees to.

use std::net::Ipv6Addr;

/// Neighbour solicitation (section 4.3).
pub(super) const SOLICITATION: u8 = 135;
/// Neighbour advertisement (section 4.4).
const ADVERTISEMENT: u8 = 136;
/// It answers a question.
const SOLICITED: u8 = 0x40;
/// What is known otherwise is out of date.
const OVERRIDE: u8 = 0x20;
/// The option with the link-layer address of the target, in units of eight bytes.
const TARGET_LINK_LAYER: [u8; 2] = [2, 1];
/// The hop limit of all of it: no router has passed it on (section 7.1.1).
pub(super) const HOPS: u32 = 255;
/// All nodes of the link.
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The address that a solicitation asks for; `None` for whatever else it is.
pub(super) fn asked(message: &[u8]) -> Option<Ipv6Addr> {
    let message: &[u8; 24] = message.first_chunk()?;
    let target = Ipv6Addr::from(*message.last_chunk::<16>()?);
    (message[0] == SOLICITATION && message[1] == 0 && !target.is_multicast()).then_some(target)
}

/// The advertisement that the address is at this link-layer address.
pub(super) fn advertisement(address: Ipv6Addr, own: [u8; 6], solicited: bool) -> [u8; 32] {
    let mut message = [0; 32];
    let flags = OVERRIDE | if solicited { SOLICITED } else { 0 };
    let parts: [&[u8]; 4] =
        [&[ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0], &address.octets(), &TARGET_LINK_LAYER, &own];
    for (byte, value) in message.iter_mut().zip(parts.into_iter().flatten()) {
        *byte = *value;
    }
    message
}

/// The group that solicitations for the address are sent to (RFC 4291, section 2.7.1).
pub(super) fn group(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let low = u16::from_be_bytes([b, c]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0x1234, 0x5680);

    fn solicitation() -> Vec<u8> {
        let mut message = vec![135, 0, 0xab, 0xcd, 0, 0, 0, 0];
        message.extend(VIP.octets());
        message.extend([1, 1, 2, 0, 0, 0, 0, 9]);
        message
    }

    #[test]
    fn a_solicitation_names_its_target() {
        assert_eq!(asked(&solicitation()), Some(VIP));
        for (at, byte) in [(0, 136), (1, 1), (8, 0xff)] {
            let mut message = solicitation();
            message[at] = byte;
            assert_eq!(asked(&message), None, "byte {at}");
        }
        assert_eq!(asked(&solicitation()[..23]), None);
    }

    #[test]
    fn an_advertisement_is_as_the_rfc_has_it() {
        let message = advertisement(VIP, [2, 0, 0, 0, 0, 1], true);
        assert_eq!(message[..8], [136, 0, 0, 0, 0x60, 0, 0, 0]);
        assert_eq!(message[8..24], VIP.octets());
        assert_eq!(message[24..], [2, 1, 2, 0, 0, 0, 0, 1]);
        assert_eq!(advertisement(VIP, [2, 0, 0, 0, 0, 1], false)[4], 0x20);
    }

    #[test]
    fn the_group_has_the_last_three_bytes() {
        assert_eq!(group(VIP).to_string(), "ff02::1:ff34:5680");
    }

    proptest! {
        #[test]
        fn any_bytes_will_do(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = asked(&bytes);
        }
    }
}
