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
}

/// The value of the map of virtual addresses, the key of which is the address alone: the first
/// question to every packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct VipAddress {
    /// None defined yet.
    pub flags: u16,
    /// Index into the per-service counters, for packets to the address that no service has.
    pub slot: u16,
}
const _: () = assert!(size_of::<VipAddress>() == 4);

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
