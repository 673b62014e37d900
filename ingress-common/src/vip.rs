//! The virtual services: which destinations the kernel tier steers.

use bytemuck::{Pod, Zeroable};

use crate::{Address, Port};

/// What a client dials. [`Port::ANY`] matches every port of the address that has no entry of its
/// own.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct VipKey {
    /// The virtual address.
    pub address: Address,
    /// The port, or [`Port::ANY`].
    pub port: Port,
    /// The IP protocol number: 6 (TCP) or 17 (UDP).
    pub protocol: u8,
    /// Always zero.
    pub reserved: u8,
}
const _: () = assert!(size_of::<VipKey>() == 20);

impl VipKey {
    /// The key of one virtual service.
    #[inline(always)]
    pub const fn new(address: Address, port: Port, protocol: u8) -> Self {
        Self { address, port, protocol, reserved: 0 }
    }

    /// Port and protocol as one word.
    #[inline(always)]
    pub const fn service(&self) -> u32 {
        let [a, b] = self.port.to_wire();
        u32::from_ne_bytes([a, b, self.protocol, 0])
    }
}

/// The value of the map of virtual addresses, the key of which is the address alone: the first
/// question to every packet that the [filter](filter_bit) lets through.
///
/// It carries the first few of the address's services, so that most packets need no second look-up.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct VipAddress {
    /// Services of the address; unused ones are zero.
    pub services: [Service; VipAddress::SERVICES],
    /// 1 if the address has more services than these: the map of virtual services has them all.
    pub more: u16,
    /// Index into the per-service counters, for packets to the address that no service has.
    pub slot: u16,
    /// The replica group to which fragments go of which nobody knows the service: that of the
    /// first.
    pub group: u16,
    /// Always zero.
    pub reserved: u16,
}
const _: () = assert!(size_of::<VipAddress>() == 56);

impl VipAddress {
    /// How many services fit.
    pub const SERVICES: usize = 4;

    /// The value for an address with these services.
    pub fn new<'s>(services: impl IntoIterator<Item = (&'s VipKey, &'s VipValue)>) -> Self {
        let mut address = Self::zeroed();
        for (position, (key, value)) in services.into_iter().enumerate() {
            if position == 0 {
                address.group = value.group;
            }
            match address.services.get_mut(position) {
                Some(slot) => *slot = Service { key: key.service(), value: *value },
                None => address.more = 1,
            }
        }
        address
    }

    /// The service with this [key](VipKey::service), if it is one of those that fit.
    #[inline(always)]
    pub fn service(&self, key: u32) -> Option<VipValue> {
        let [a, b, c, d] = &self.services;
        let found = if a.key == key {
            a
        } else if b.key == key {
            b
        } else if c.key == key {
            c
        } else if d.key == key {
            d
        } else {
            return None;
        };
        Some(found.value)
    }
}

/// A virtual service of a known address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Service {
    /// Port and protocol; see [`VipKey::service`]. 0 for none.
    pub key: u32,
    /// How it is served.
    pub value: VipValue,
}
const _: () = assert!(size_of::<Service>() == 12);

/// The bit of the filter that an address sets, below 65536. Nobody has an interest in finding
/// addresses with the bit of a virtual one: they only cost what all packets cost without a filter.
#[inline(always)]
pub const fn filter_bit(address: &Address) -> u32 {
    let [a, b, c, d] = address.words();
    let mixed = a ^ b.rotate_left(8) ^ c.rotate_left(16) ^ d;
    mixed.wrapping_mul(0x9e37_79b1) >> 16
}

/// How a virtual service is served.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct VipValue {
    /// Index into the per-service counters; 0 for a service that is not counted by itself. The map's
    /// writer sets it.
    pub vip_id: u16,
    /// Index of the replica group, and so of its table of rows, that serves it.
    pub group: u16,
    /// [`VIP_AFFINITY_SOURCE`] and friends.
    pub flags: u32,
}
const _: () = assert!(size_of::<VipValue>() == 8);

/// Hash the client's address alone, so that one client always meets one node.
pub const VIP_AFFINITY_SOURCE: u32 = 1;
