//! The Huffman code (RFC 7541, section 5.2 and appendix B). It is canonical: codes of one length
//! are consecutive and in the order of their symbols, so that the lengths say everything.

use super::BadBlock;

/// How many bits the code of each byte has; the last is that of the end of a string.
#[rustfmt::skip]
static LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const LONGEST: usize = 30;
/// Codes of up to so many bits are looked up at once. All of visible ASCII but eight bytes.
const SHORT: usize = 10;
/// The symbol of the end of a string.
const END: u16 = 256;

/// Where the codes of each length begin.
struct Codes {
    /// The first code of each length.
    first: [u32; LONGEST + 1],
    /// How many codes have this length.
    count: [u32; LONGEST + 1],
    /// Where the symbols of this length begin in `symbols`.
    offset: [u32; LONGEST + 1],
    /// All symbols, by length of their code, then by value.
    symbols: [u16; 257],
    /// By the next [`SHORT`] bits: the symbol, and the length of its code (0: it is longer) above
    /// its nine bits.
    short: [u16; 1 << SHORT],
}

static CODES: Codes = codes();

const fn codes() -> Codes {
    let mut codes = Codes {
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        offset: [0; LONGEST + 1],
        symbols: [0; 257],
        short: [0; 1 << SHORT],
    };
    let (mut length, mut code, mut at) = (1, 0_u32, 0);
    while length <= LONGEST {
        code <<= 1;
        codes.first[length] = code;
        codes.offset[length] = at as u32;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                codes.symbols[at] = symbol as u16;
                codes.count[length] += 1;
                if length <= SHORT {
                    let mut low = 0;
                    while low < 1 << (SHORT - length) {
                        let index = ((code as usize) << (SHORT - length)) + low;
                        codes.short[index] = symbol as u16 | (length as u16) << 9;
                        low += 1;
                    }
                }
                code += 1;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    codes
}

/// Appends what `input` stands for. `Ok(false)`: that is more than `most` bytes, and the rest was
/// left out.
///
/// # Errors
/// It holds the end of a string, or ends with other padding than the first bits of that.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>, most: usize) -> Result<bool, BadBlock> {
    let limit = out.len().saturating_add(most);
    let (mut bits, mut count) = (0_u64, 0_usize);
    let mut input = input.iter();
    loop {
        while count <= 56 {
            let Some(byte) = input.next() else { break };
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
        }
        if count == 0 {
            return Ok(true);
        }
        let entry = CODES.short[(bits >> (64 - SHORT)) as usize];
        let mut length = usize::from(entry >> 9);
        let mut symbol = entry & 0x1FF;
        if length == 0 {
            (symbol, length) = long(bits);
        }
        if length > count {
            // Less than a byte of ones (section 5.2).
            let padded = count < 8 && bits >> (64 - count) == (1 << count) - 1;
            return if padded { Ok(true) } else { Err(BadBlock::Huffman) };
        }
        let Ok(byte) = u8::try_from(symbol) else { return Err(BadBlock::Huffman) };
        if out.len() >= limit {
            return Ok(false);
        }
        out.push(byte);
        bits <<= length;
        count -= length;
    }
}

/// The symbol at the front of `bits`, whose code is longer than [`SHORT`], and its code's length.
fn long(bits: u64) -> (u16, usize) {
    for length in SHORT + 1..=LONGEST {
        let code = (bits >> (64 - length)) as u32;
        let index = code.wrapping_sub(CODES.first[length]);
        if index < CODES.count[length] {
            let at = (CODES.offset[length] + index) as usize;
            return (CODES.symbols.get(at).copied().unwrap_or(END), length);
        }
    }
    // No bits stand for nothing: the code is complete.
    (END, LONGEST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bit by bit, from the definition.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = String::new();
        for byte in text {
            let length = usize::from(LENGTHS[usize::from(*byte)]);
            let start = CODES.offset[length] as usize;
            let rank = CODES.symbols[start..].iter().position(|s| *s == u16::from(*byte));
            let code = CODES.first[length] + rank.expect("every byte has a code") as u32;
            bits.push_str(&format!("{code:0length$b}"));
        }
        while bits.len() % 8 > 0 {
            bits.push('1');
        }
        bits.as_bytes()
            .chunks(8)
            .map(|octet| octet.iter().fold(0, |sum, bit| sum << 1 | (bit & 1)))
            .collect()
    }

    fn decoded(input: &[u8]) -> Result<Vec<u8>, BadBlock> {
        let mut out = Vec::new();
        decode(input, &mut out, usize::MAX).map(|_whole| out)
    }

    #[test]
    fn vectors_of_the_rfc() {
        for (text, code) in [
            // Appendix C.4.1, C.4.3, C.6.1 and C.6.3.
            ("www.example.com", &b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..]),
            ("no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            ("custom-value", b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"),
            ("private", b"\xae\xc3\x77\x1a\x4b"),
            (
                "https://www.example.com",
                b"\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3",
            ),
        ] {
            assert_eq!(decoded(code), Ok(text.as_bytes().to_vec()));
            assert_eq!(encode(text.as_bytes()), code);
        }
    }

    #[test]
    fn wrong_padding_and_the_end_of_string_are_refused() {
        // Eight bits of padding, zeros as padding, and the 30 bits of the end.
        for code in
            [&b"\xff"[..], b"\x1f\xff", b"\x18", b"\x00", b"\xff\xff\xff\xff", b"\xff\xff\xff\xfc"]
        {
            assert_eq!(decoded(code), Err(BadBlock::Huffman), "{code:x?}");
        }
        assert_eq!(decoded(b""), Ok(Vec::new()));
    }

    #[test]
    fn no_more_is_decoded_than_is_wanted() {
        let mut out = b"x".to_vec();
        assert_eq!(decode(&encode(b"abcd"), &mut out, 3), Ok(false));
        assert_eq!(out, b"xabc");
        out.clear();
        assert_eq!(decode(&encode(b"abcd"), &mut out, 4), Ok(true));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(text: Vec<u8>) {
            prop_assert_eq!(decoded(&encode(&text)), Ok(text));
        }

        #[test]
        fn whatever_decodes_was_encoded_so(code: Vec<u8>) {
            if let Ok(text) = decoded(&code) {
                prop_assert_eq!(encode(&text), code);
            }
        }
    }
}
