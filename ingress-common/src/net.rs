//! Addresses and ports in network order: the bytes of the packet, never swapped.

use bytemuck::{Pod, Zeroable};

/// An IPv6 address, or an IPv4 one in its mapped form `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2),
/// so that one key serves both families.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
pub struct Address([u8; 16]);

impl Address {
    /// The unspecified address `::`, also used for "no address".
    pub const UNSPECIFIED: Self = Self([0; 16]);

    /// The address with these bytes, as an IPv6 header has them.
    #[inline(always)]
    pub const fn v6(octets: [u8; 16]) -> Self {
        Self(octets)
    }

    /// The mapped form of an IPv4 address, as an IPv4 header has its bytes.
    #[inline(always)]
    pub const fn v4(o: [u8; 4]) -> Self {
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, o[0], o[1], o[2], o[3]])
    }

    /// All sixteen bytes.
    #[inline(always)]
    pub const fn octets(&self) -> &[u8; 16] {
        &self.0
    }

    /// The four bytes of a mapped IPv4 address; `None` for any other address.
    #[inline(always)]
    pub const fn as_v4(&self) -> Option<[u8; 4]> {
        match self.0 {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Some([a, b, c, d]),
            _ => None,
        }
    }
}

impl From<core::net::IpAddr> for Address {
    fn from(address: core::net::IpAddr) -> Self {
        match address {
            core::net::IpAddr::V4(v4) => Self::v4(v4.octets()),
            core::net::IpAddr::V6(v6) => Self::v6(v6.octets()),
        }
    }
}

impl From<Address> for core::net::IpAddr {
    fn from(address: Address) -> Self {
        match address.as_v4() {
            Some(octets) => Self::from(octets),
            None => Self::from(address.0),
        }
    }
}

/// A TCP or UDP port in network order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
pub struct Port([u8; 2]);

impl Port {
    /// Stands for every port in a [`VipKey`](crate::VipKey).
    pub const ANY: Self = Self([0; 2]);

    /// The port with this number.
    #[inline(always)]
    pub const fn new(host_order: u16) -> Self {
        Self(host_order.to_be_bytes())
    }

    /// The port with these bytes, as a header has them.
    #[inline(always)]
    pub const fn from_wire(bytes: [u8; 2]) -> Self {
        Self(bytes)
    }

    /// The port's number.
    #[inline(always)]
    pub const fn number(self) -> u16 {
        u16::from_be_bytes(self.0)
    }

    /// The bytes as a header has them.
    #[inline(always)]
    pub const fn to_wire(self) -> [u8; 2] {
        self.0
    }
}
const _: () = assert!(size_of::<Address>() == 16 && size_of::<Port>() == 2);
