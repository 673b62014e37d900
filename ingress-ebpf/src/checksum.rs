//! The Internet checksum (RFC 1071).

/// The checksum of the 20-byte IPv4 header that the tunnel writes: no options, no fragment, DF
/// set, identification zero.
#[inline(always)]
pub const fn tunnel_ipv4(total_length: u16, ttl: u8, source: [u8; 4], destination: [u8; 4]) -> u16 {
    let [a, b, c, d] = source;
    let [e, f, g, h] = destination;
    let sum = 0x4500
        + total_length as u32
        + 0x4000
        + (((ttl as u32) << 8) | 17)
        + u16::from_be_bytes([a, b]) as u32
        + u16::from_be_bytes([c, d]) as u32
        + u16::from_be_bytes([e, f]) as u32
        + u16::from_be_bytes([g, h]) as u32;
    finish(sum)
}

/// The UDP checksum after one of the words under it has changed (RFC 1624, equation 3).
#[inline(always)]
pub const fn changed(sum: [u8; 2], before: [u8; 2], after: [u8; 2]) -> [u8; 2] {
    let sum = !u16::from_be_bytes(sum) as u32;
    let result =
        finish(sum + !u16::from_be_bytes(before) as u32 + u16::from_be_bytes(after) as u32);
    // Zero would say that there is no checksum (RFC 768).
    if result == 0 { [0xff, 0xff] } else { result.to_be_bytes() }
}

/// Folds the carries of a sum of up to 65537 16-bit words and complements it.
#[inline(always)]
const fn finish(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The sum as RFC 1071 section 4.1 computes it, carry by carry.
    fn recompute(header: &[u8]) -> u16 {
        let mut sum = 0u16;
        for word in header.chunks_exact(2) {
            let (added, carry) = sum.overflowing_add(u16::from_be_bytes([word[0], word[1]]));
            sum = added + u16::from(carry);
        }
        !sum
    }

    proptest! {
        #[test]
        fn equals_a_full_recomputation(length: u16, ttl: u8, s: [u8; 4], d: [u8; 4]) {
            let [l0, l1] = length.to_be_bytes();
            let header = [
                0x45, 0, l0, l1, 0, 0, 0x40, 0, ttl, 17, 0, 0,
                s[0], s[1], s[2], s[3], d[0], d[1], d[2], d[3],
            ];
            prop_assert_eq!(tunnel_ipv4(length, ttl, s, d), recompute(&header));
        }
    }

    proptest! {
        #[test]
        fn a_changed_word_equals_a_full_recomputation(mut words: [u8; 12], at in 0usize..6, new: [u8; 2]) {
            let sum = recompute(&words).to_be_bytes();
            let before = [words[2 * at], words[2 * at + 1]];
            words[2 * at..2 * at + 2].copy_from_slice(&new);
            let expected = match recompute(&words) { 0 => 0xffff, other => other };
            // Both stand for zero in the arithmetic of ones' complement.
            prop_assert_eq!(u16::from_be_bytes(changed(sum, before, new)) % 0xffff, expected % 0xffff);
        }
    }

    #[test]
    fn the_example_of_rfc_1071_section_3() {
        assert_eq!(finish(0x0001 + 0xf203 + 0xf4f5 + 0xf6f7), !0xddf2);
    }
}
