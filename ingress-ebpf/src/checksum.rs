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

/// The sum of words in the order of the packet. A sum of 16-bit words is the same whichever way
/// round their bytes are, and however they are grouped (RFC 1071 section 2).
#[inline(always)]
pub fn sum<const N: usize>(words: &[u32; N]) -> u64 {
    let mut sum = 0;
    for word in words {
        sum += u64::from(*word);
    }
    sum
}

/// The checksum, in the order of the packet, of what has this [`sum`] of up to 65536 words.
#[inline(always)]
pub const fn of(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    finish(sum as u32)
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
        fn words_sum_up_as_their_halves(words: [[u8; 4]; 32]) {
            let found = of(sum(&words.map(u32::from_ne_bytes)));
            let expected = recompute(words.as_flattened()).to_be_bytes();
            // All ones and zero are one number.
            let found = found.to_ne_bytes();
            let same = found == expected;
            prop_assert!(same, "{:?} and {:?}", found, expected);
        }

        #[test]
        fn a_changed_word_equals_a_full_recomputation(
            mut words: [u8; 12],
            at in 0usize..6,
            new: [u8; 2],
        ) {
            let sum = recompute(&words).to_be_bytes();
            let before = [words[2 * at], words[2 * at + 1]];
            words[2 * at..2 * at + 2].copy_from_slice(&new);
            let expected = match recompute(&words) { 0 => 0xffff, other => other };
            // Both stand for zero in the arithmetic of ones' complement.
            let found = u16::from_be_bytes(changed(sum, before, new));
            prop_assert_eq!(found % 0xffff, expected % 0xffff);
        }
    }

    #[test]
    fn the_example_of_rfc_1071_section_3() {
        assert_eq!(finish(0x0001 + 0xf203 + 0xf4f5 + 0xf6f7), !0xddf2);
    }
}
