//! CRC-32C (RFC 4960, appendix B), which PP2_TYPE_CRC32C carries.

/// The polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The checksum of these pieces, one behind the other.
pub(super) fn crc32c<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> u32 {
    let mut sum = !0_u32;
    for byte in pieces.into_iter().flatten() {
        sum ^= u32::from(*byte);
        for _bit in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ POLYNOMIAL } else { sum >> 1 };
        }
    }
    !sum
}
