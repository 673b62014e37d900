//! ARP (RFC 826) for IPv4 over Ethernet.

use std::net::Ipv4Addr;

/// The length of a frame: nothing follows the ARP packet but padding, which the driver adds.
const FRAME: usize = 42;
const BROADCAST: [u8; 6] = [0xff; 6];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
/// Ethernet, IPv4, and the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];

/// Who asks for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    asker: ([u8; 6], Ipv4Addr),
    /// The address that is asked for.
    pub(super) target: Ipv4Addr,
}

impl Request {
    /// The request in an Ethernet frame; `None` for whatever else it is. Nor is it one if somebody
    /// announces an address of its own by it (RFC 5227, section 3).
    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let packet: &[u8; 30] = frame.get(12..FRAME)?.first_chunk()?;
        let (head, rest) = packet.split_first_chunk::<10>()?;
        if head[..2] != [0x08, 0x06] || head[2..8] != KIND || head[8..] != [0, REQUEST] {
            return None;
        }
        let (asker, rest) = rest.split_first_chunk::<6>()?;
        let (sender, rest) = rest.split_first_chunk::<4>()?;
        let target = rest.get(6..)?.first_chunk::<4>()?;
        // An answer to a group, or to nobody, is none.
        if asker[0] & 1 != 0 || *asker == [0; 6] || sender == target {
            return None;
        }
        Some(Self { asker: (*asker, Ipv4Addr::from(*sender)), target: Ipv4Addr::from(*target) })
    }

    /// The frame that says that the address is at this link-layer address.
    pub(super) fn answer(&self, own: [u8; 6]) -> [u8; FRAME] {
        frame(self.asker.0, REPLY, (own, self.target), self.asker)
    }
}

/// The frames that tell everybody where the address is from now on: as a request, which RFC 5227
/// asks for, and as a reply, which is all that some devices heed.
pub(super) fn announcements(address: Ipv4Addr, own: [u8; 6]) -> [[u8; FRAME]; 2] {
    let own = (own, address);
    [
        frame(BROADCAST, REQUEST, own, ([0; 6], address)),
        frame(BROADCAST, REPLY, own, (BROADCAST, address)),
    ]
}

fn frame(
    to: [u8; 6],
    operation: u8,
    sender: ([u8; 6], Ipv4Addr),
    target: ([u8; 6], Ipv4Addr),
) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    let parts: [&[u8]; 9] = [
        &to,
        &sender.0,
        &[0x08, 0x06],
        &KIND,
        &[0, operation],
        &sender.0,
        &sender.1.octets(),
        &target.0,
        &target.1.octets(),
    ];
    for (byte, value) in frame.iter_mut().zip(parts.into_iter().flatten()) {
        *byte = *value;
    }
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

    /// As tcpdump had it on the wire: 198.51.100.1 asks for 203.0.113.80.
    const ASKED: [u8; FRAME] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 0x09, 0x08, 0x06, 0, 1, 0x08, 0, 6,
        4, 0, 1, 0x02, 0, 0, 0, 0, 0x09, 198, 51, 100, 1, 0, 0, 0, 0, 0, 0, 203, 0, 113, 80,
    ];

    #[test]
    fn a_request_is_answered_to_who_asked() {
        let request = Request::read(&ASKED).expect("a request");
        assert_eq!(request.target, VIP);
        let expected = [
            0x02, 0, 0, 0, 0, 0x09, 0x02, 0, 0, 0, 0, 0x01, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2,
            0x02, 0, 0, 0, 0, 0x01, 203, 0, 113, 80, 0x02, 0, 0, 0, 0, 0x09, 198, 51, 100, 1,
        ];
        assert_eq!(request.answer(OWN), expected);
        // Padding changes nothing.
        assert_eq!(Request::read(&[&ASKED[..], &[0; 18]].concat()), Some(request));
    }

    #[test]
    fn what_is_no_request_is_not_answered() {
        for announcement in announcements(VIP, OWN) {
            assert_eq!(Request::read(&announcement), None);
        }
        // Another type of frame, hardware, protocol, length, operation; a group that asks.
        for (at, byte) in [(13, 0), (15, 6), (16, 0x86), (18, 8), (19, 16), (21, 2), (22, 3)] {
            let mut frame = ASKED;
            frame[at] = byte;
            assert_eq!(Request::read(&frame), None, "byte {at}");
        }
        assert_eq!(Request::read(&ASKED[..41]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_will_do(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Request::read(&bytes);
        }
    }
}
