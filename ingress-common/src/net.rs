//! Addresses and ports in network order: the bytes of the packet, never swapped.

use bytemuck::{Pod, Zeroable};

/// An IPv6 address, or an IPv4 one in its mapped form `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2),
/// so that one key serves both families.
///
/// Kept as words because the BPF back end copies an array of bytes byte by byte.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Address([u32; 4]);

impl Address {
    /// The unspecified address `::`, also used for "no address".
    pub const UNSPECIFIED: Self = Self([0; 4]);
    /// The third word of every mapped IPv4 address.
    const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

    /// The address with these bytes, as an IPv6 header has them.
    #[inline(always)]
    pub const fn v6(octets: &[u8; 16]) -> Self {
        let [a, b, c, d]: &[[u8; 4]; 4] = bytemuck::must_cast_ref(octets);
        Self([
            u32::from_ne_bytes(*a),
            u32::from_ne_bytes(*b),
            u32::from_ne_bytes(*c),
            u32::from_ne_bytes(*d),
        ])
    }

    /// The mapped form of an IPv4 address, as an IPv4 header has its bytes.
    #[inline(always)]
    pub const fn v4(octets: [u8; 4]) -> Self {
        Self([0, 0, Self::MAPPED, u32::from_ne_bytes(octets)])
    }

    /// All sixteen bytes.
    #[inline(always)]
    pub fn octets(&self) -> &[u8; 16] {
        bytemuck::must_cast_ref(self)
    }

    /// The bytes as four words, each in the order of the packet whatever the machine's.
    #[inline(always)]
    pub const fn words(&self) -> [u32; 4] {
        self.0
    }

    /// Stands for an IPv4 address.
    // Without branches of its own: the verifier follows each.
    #[inline(always)]
    pub const fn is_mapped(&self) -> bool {
        let [a, b, c, _] = self.0;
        a | b | (c ^ Self::MAPPED) == 0
    }

    /// The four bytes of a mapped IPv4 address; `None` for any other address.
    #[inline(always)]
    pub const fn as_v4(&self) -> Option<[u8; 4]> {
        match self.0 {
            [0, 0, Self::MAPPED, word] => Some(word.to_ne_bytes()),
            _ => None,
        }
    }
}

impl From<core::net::IpAddr> for Address {
    fn from(address: core::net::IpAddr) -> Self {
        match address {
            core::net::IpAddr::V4(v4) => Self::v4(v4.octets()),
            core::net::IpAddr::V6(v6) => Self::v6(&v6.octets()),
        }
    }
}

impl From<Address> for core::net::IpAddr {
    fn from(address: Address) -> Self {
        match address.as_v4() {
            Some(octets) => Self::from(octets),
            None => Self::from(*address.octets()),
        }
    }
}

/// A TCP or UDP port in network order.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Port(u16);

impl Port {
    /// Stands for every port in a [`VipKey`](crate::VipKey).
    pub const ANY: Self = Self(0);

    /// The port with this number.
    #[inline(always)]
    pub const fn new(host_order: u16) -> Self {
        Self(host_order.to_be())
    }

    /// The port with these bytes, as a header has them.
    #[inline(always)]
    pub const fn from_wire(bytes: [u8; 2]) -> Self {
        Self(u16::from_ne_bytes(bytes))
    }

    /// The port's number.
    #[inline(always)]
    pub const fn number(self) -> u16 {
        u16::from_be(self.0)
    }

    /// The bytes as a header has them.
    #[inline(always)]
    pub const fn to_wire(self) -> [u8; 2] {
        self.0.to_ne_bytes()
    }
}

impl core::fmt::Debug for Port {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.number().fmt(f)
    }
}

/// A link-layer address, as an Ethernet header has it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Mac([u16; 3]);

impl Mac {
    /// The address with these bytes.
    pub const fn new([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self([u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]), u16::from_ne_bytes([e, f])])
    }

    /// The bytes as three words, each in the order of the packet whatever the machine's.
    #[inline(always)]
    pub const fn words(self) -> [u16; 3] {
        self.0
    }

    /// The address with these words.
    #[inline(always)]
    pub const fn from_words(words: [u16; 3]) -> Self {
        Self(words)
    }
}
const _: () = assert!(size_of::<Mac>() == 6);
const _: () = assert!(size_of::<Address>() == 16 && size_of::<Port>() == 2);
