//! Ethernet, with up to two VLAN tags.

use super::Network;
use crate::Packet;

/// Length of an Ethernet header without tags.
pub const ETHERNET: usize = 14;

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
/// IEEE 802.1Q.
const VLAN: [u8; 2] = [0x81, 0x00];
/// IEEE 802.1ad, the outer of two tags.
const SERVICE_VLAN: [u8; 2] = [0x88, 0xa8];

/// The link-layer header of a frame that carries IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its length in bytes, tags included: where the IP header begins.
    pub length: usize,
    /// What follows it.
    pub network: Network,
}

impl Link {
    /// The header of a frame; `None` if it carries no IP behind at most two tags.
    #[inline(always)]
    pub fn read<P: Packet>(packet: &P) -> Option<Self> {
        let ethernet: &[u8; ETHERNET] = packet.bytes(0)?;
        let mut protocol = [ethernet[12], ethernet[13]];
        let mut length = ETHERNET;
        if protocol == VLAN || protocol == SERVICE_VLAN {
            protocol = *packet.bytes(16)?;
            length = 18;
            if protocol == VLAN {
                protocol = *packet.bytes(20)?;
                length = 22;
            }
        }
        let network = match protocol {
            IPV4 => Network::V4,
            IPV6 => Network::V6,
            _ => return None,
        };
        Some(Self { length: packet.merged::<0x1f>(length), network })
    }

    /// The EtherType of IP of this version.
    #[inline(always)]
    pub const fn protocol(network: Network) -> [u8; 2] {
        match network {
            Network::V4 => IPV4,
            Network::V6 => IPV6,
        }
    }
}
