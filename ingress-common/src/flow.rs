//! The hash that chooses a connection's row: SipHash-1-3 over the 5-tuple.
//!
//! Keyed, so that a client cannot aim its connections at one node; specialised to the fixed length
//! of a flow, so that the verifier sees straight-line code. The kernel, the agent and the tests
//! call this one function.

use bytemuck::{Pod, Zeroable};

use crate::{Address, Port};

/// What identifies a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Flow {
    /// The client's address.
    pub source: Address,
    /// The virtual address.
    pub destination: Address,
    /// The client's port.
    pub source_port: Port,
    /// The virtual service's port.
    pub destination_port: Port,
    /// The IP protocol number.
    pub protocol: u8,
    /// Always zero.
    pub reserved: [u8; 3],
}
const _: () = assert!(size_of::<Flow>() == 40);

/// The secret of the flow hash.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct HashKey(pub [u64; 2]);

impl core::fmt::Debug for HashKey {
    /// Does not show the secret.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(..)")
    }
}

impl Flow {
    /// The flow with these ends.
    // From whole words: of an array of zero bytes the BPF back end makes a call, and old kernels
    // look far longer at programs that call functions of their own.
    #[inline(always)]
    pub fn new(source: (Address, Port), destination: (Address, Port), protocol: u8) -> Self {
        let ([a, b, c, d], [s0, s1]) = (source.0.words(), source.1.to_wire());
        let ([e, f, g, h], [d0, d1]) = (destination.0.words(), destination.1.to_wire());
        let ports = u32::from_ne_bytes([s0, s1, d0, d1]);
        let protocol = u32::from_ne_bytes([protocol, 0, 0, 0]);
        bytemuck::must_cast([a, b, c, d, e, f, g, h, ports, protocol])
    }

    /// The SipHash-1-3 of the flow, or, `by_source`, of the flow with everything but the client's
    /// address zero: equal for all connections of one client.
    ///
    /// Over IPv6 it is that of the flow's 40 bytes; over IPv4 of 16: the four of each address, then
    /// those from the ports on. The lengths tell the two apart.
    #[inline(always)]
    pub fn hash(&self, key: HashKey, by_source: bool) -> u64 {
        let rest = if by_source { 0 } else { u64::MAX };
        let [a, b, c, d, e]: &[[u8; 8]; 5] = bytemuck::must_cast_ref(self);
        let [a, b, c, d, e] = [a, b, c, d, e].map(|word| u64::from_le_bytes(*word));
        if let (Some(source), Some(destination)) = (self.source.as_v4(), self.destination.as_v4()) {
            let source = u64::from(u32::from_le_bytes(source));
            let destination = u64::from(u32::from_le_bytes(destination)) << 32;
            return hash_words(key, [source | destination & rest, e & rest]);
        }
        hash_words(key, [a, b, c & rest, d & rest, e & rest])
    }
}

struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }
}

/// SipHash with one compression and three finalisation rounds (Aumasson and Bernstein, "SipHash: a
/// fast short-input PRF", 2012) over whole words.
#[inline(always)]
pub fn hash_words<const N: usize>(HashKey([k0, k1]): HashKey, words: [u64; N]) -> u64 {
    let mut s = State {
        v0: k0 ^ 0x736f_6d65_7073_6575,
        v1: k1 ^ 0x646f_7261_6e64_6f6d,
        v2: k0 ^ 0x6c79_6765_6e65_7261,
        v3: k1 ^ 0x7465_6462_7974_6573,
    };
    for m in words {
        s.v3 ^= m;
        s.round();
        s.v0 ^= m;
    }
    let length = ((N as u64 * 8) & 0xff) << 56;
    s.v3 ^= length;
    s.round();
    s.v0 ^= length;
    s.v2 ^= 0xff;
    s.round();
    s.round();
    s.round();
    s.v0 ^ s.v1 ^ s.v2 ^ s.v3
}

#[cfg(test)]
mod tests {
    use core::hash::Hasher;

    use proptest::prelude::*;
    use siphasher::sip::SipHasher13;

    use super::*;

    proptest! {
        #[test]
        fn equals_the_reference_implementation(k0: u64, k1: u64, bytes: [u8; 32], tail: [u8; 5]) {
            let mut flow: Flow = Zeroable::zeroed();
            let raw = bytemuck::bytes_of_mut(&mut flow);
            raw[..32].copy_from_slice(&bytes);
            raw[32..37].copy_from_slice(&tail);
            let mut reference = SipHasher13::new_with_keys(k0, k1);
            reference.write(bytemuck::bytes_of(&flow));
            prop_assume!(flow.source.as_v4().is_none());
            prop_assert_eq!(flow.hash(HashKey([k0, k1]), false), reference.finish());
        }

        #[test]
        fn equals_the_reference_implementation_over_ipv4(
            k0: u64, k1: u64, source: [u8; 4], destination: [u8; 4], ports: [u8; 4], protocol: u8,
        ) {
            let [a, b, c, d] = ports;
            let flow = Flow::new(
                (Address::v4(source), Port::from_wire([a, b])),
                (Address::v4(destination), Port::from_wire([c, d])),
                protocol,
            );
            for (by_source, rest) in [(false, 0xff), (true, 0)] {
                let mut bytes = [[0; 4]; 4];
                bytes[0] = source;
                bytes[1] = destination.map(|byte| byte & rest);
                bytes[2] = ports.map(|byte| byte & rest);
                bytes[3] = [protocol & rest, 0, 0, 0];
                let mut reference = SipHasher13::new_with_keys(k0, k1);
                reference.write(bytes.as_flattened());
                prop_assert_eq!(flow.hash(HashKey([k0, k1]), by_source), reference.finish());
            }
        }

        #[test]
        fn one_client_has_one_hash_by_source(a: [u8; 4], b: [u8; 4], p: u16, q: u16) {
            let flow = |destination, port| Flow {
                source: Address::v4(a),
                destination,
                source_port: Port::new(port),
                destination_port: Port::new(80),
                protocol: 6,
                reserved: [0; 3],
            };
            let key = HashKey([1, 2]);
            let (one, other) = (flow(Address::v4(b), p), flow(Address::v4([192, 0, 2, 1]), q));
            prop_assert_eq!(one.hash(key, true), other.hash(key, true));
        }
    }
}
