//! Consistent hashing by rendezvous: of all endpoints, the one whose hash together with the text's
//! is the highest. When an endpoint comes or goes, exactly the texts move that are its own, which a
//! ring of points only comes near to; nothing is built or kept for it, and workers and replicas
//! agree without talking. It costs about a nanosecond per endpoint.

/// FNV-1a with 64 bits, finished by [`mix`]. Not keyed, so that all replicas agree: who picks the
/// text picks the endpoint anyway.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hasher(u64);

impl Hasher {
    pub(super) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn finish(self) -> u64 {
        mix(self.0)
    }
}

/// The hash of one text.
pub(super) fn of(bytes: &[u8]) -> u64 {
    let mut hasher = Hasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Spreads every bit over all: the finaliser of MurmurHash3.
pub(super) fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    value = (value ^ (value >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

/// How strongly a text of this hash is drawn to something of that hash.
pub(super) fn attraction(text: u64, to: u64) -> u64 {
    mix(text ^ to)
}

/// The same in proportion to a weight, comparable among all with the same texts: a uniform `u` in
/// (0, 1) becomes `-weight / ln u`.
#[expect(clippy::cast_precision_loss, reason = "53 bits are uniform enough")]
pub(super) fn weighted_attraction(text: u64, to: u64, weight: u16) -> f64 {
    let uniform = ((attraction(text, to) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight) / uniform.ln()
}
