use proptest::prelude::*;

use super::{decoder::TABLE, *};
use crate::proxy::message::Known;

/// Collects what a block says.
#[derive(Debug, Default)]
struct Collected {
    fields: Vec<(String, String)>,
    oversized: usize,
}

impl Sink for Collected {
    fn field(&mut self, field: Decoded<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.fields.push((text(field.name), text(field.value)));
        assert_eq!(field.kind, Kind::of(field.name));
        assert_eq!(field.sound, is_sound_value(field.value));
    }

    fn oversized(&mut self) {
        self.oversized += 1;
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, BadBlock> {
    let mut sink = Collected::default();
    decoder.decode(block, &mut sink)?;
    Ok(sink.fields)
}

fn lines(fields: &[(String, String)]) -> String {
    fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}

#[test]
fn integers_of_appendix_c_1() {
    for (prefix, value, code) in
        [(5, 10, &[10][..]), (5, 1337, &[0x1f, 0x9a, 0x0a]), (8, 42, &[42])]
    {
        let mut out = Vec::new();
        integer::encode(&mut out, 0, prefix, value);
        assert_eq!(out, code);
        assert_eq!(integer::decode(&mut &code[..], prefix), Ok(value));
    }
}

#[test]
fn integers_that_never_end_are_refused() {
    for (code, error) in [
        (&[0x7f, 0x80, 0x80, 0x80, 0x80, 0x01][..], BadBlock::Integer),
        (&[0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f], BadBlock::Integer),
        (&[0x7f, 0x80], BadBlock::Truncated),
        (&[], BadBlock::Truncated),
    ] {
        assert_eq!(integer::decode(&mut &code[..], 7), Err(error), "{code:?}");
    }
}

#[test]
fn literals_and_an_index_of_appendix_c_2() {
    for (hex, expected, size) in [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            "custom-key: custom-header\n",
            55,
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path\n", 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret\n", 0),
        ("82", ":method: GET\n", 0),
    ] {
        let mut decoder = Decoder::default();
        assert_eq!(lines(&decode(&mut decoder, &bytes(hex)).expect("it is sound")), expected);
        assert_eq!(decoder.table().size(), size);
    }
}

const REQUESTS: [(&str, usize); 3] = [
    (":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n", 57),
    (
        ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n\
         cache-control: no-cache\n",
        110,
    ),
    (
        ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\n\
         custom-key: custom-value\n",
        164,
    ),
];

#[test]
fn requests_of_appendix_c_3_and_c_4() {
    for blocks in [
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
    ] {
        let mut decoder = Decoder::default();
        for (block, (expected, size)) in blocks.iter().zip(REQUESTS) {
            assert_eq!(lines(&decode(&mut decoder, &bytes(block)).expect("it is sound")), expected);
            assert_eq!(decoder.table().size(), size);
        }
    }
}

/// The tables of these hold 256 bytes, so that fields are evicted.
#[test]
fn answers_of_appendix_c_5_and_c_6() {
    let date = "date: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com\n";
    let expected = [
        (format!(":status: 302\ncache-control: private\n{date}"), 222),
        (format!(":status: 307\ncache-control: private\n{date}"), 222),
        (
            ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\n\
             location: https://www.example.com\ncontent-encoding: gzip\n\
             set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n"
                .to_owned(),
            215,
        ),
    ];
    for blocks in [
        [
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 \
             303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 \
             6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 \
             5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 \
             5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
        ],
        [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b \
             ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad \
             94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 \
             65c0 03ed 4ee5 b106 3d50 07",
        ],
    ] {
        let mut decoder = Decoder::default();
        decode(&mut decoder, &bytes("3fe1 01")).expect("the table is made smaller");
        for (block, (expected, size)) in blocks.iter().zip(&expected) {
            assert_eq!(
                &lines(&decode(&mut decoder, &bytes(block)).expect("it is sound")),
                expected
            );
            assert_eq!(decoder.table().size(), *size);
        }
    }
}

#[test]
fn broken_blocks_are_refused() {
    for (hex, error) in [
        ("80", BadBlock::Index),
        // The dynamic table is empty.
        ("be", BadBlock::Index),
        ("7e00", BadBlock::Index),
        ("40", BadBlock::Truncated),
        ("4003 61", BadBlock::Truncated),
        ("4001 61", BadBlock::Truncated),
        ("0081 ff", BadBlock::Huffman),
        // 4097, and after a field.
        ("3fe2 1f", BadBlock::TableSize),
        ("8220", BadBlock::TableSize),
    ] {
        assert_eq!(decode(&mut Decoder::default(), &bytes(hex)), Err(error), "{hex}");
    }
}

#[test]
fn a_field_takes_its_name_from_one_that_it_evicts() {
    let mut decoder = Decoder::default();
    let mut block = vec![0x40, 4];
    block.extend_from_slice(b"name");
    integer::encode(&mut block, 0, 7, 3000);
    block.extend_from_slice(&[b'v'; 3000]);
    decode(&mut decoder, &block).expect("it is sound");
    let mut block = vec![0x7e];
    integer::encode(&mut block, 0, 7, 2000);
    block.extend_from_slice(&[b'w'; 2000]);
    let fields = decode(&mut decoder, &block).expect("it is sound");
    assert_eq!(fields[0].0, "name");
    assert_eq!(decoder.table().size(), 4 + 2000 + OVERHEAD);
    assert_eq!(decode(&mut decoder, &[0xbe]).expect("it is there")[0].1.len(), 2000);
}

#[test]
fn an_oversized_field_empties_the_table_and_the_block_goes_on() {
    let mut decoder = Decoder::default();
    decode(&mut decoder, &bytes(REQUEST)).expect("it is sound");
    assert!(decoder.table().size() > 0);
    let mut block = vec![0x41];
    integer::encode(&mut block, 0, 7, 40_000);
    block.extend_from_slice(&[b'a'; 40_000]);
    block.push(0x82);
    let mut sink = Collected::default();
    assert_eq!(decoder.decode(&block, &mut sink), Ok(()));
    assert_eq!((sink.oversized, sink.fields.len()), (1, 1));
    assert_eq!(decoder.table().size(), 0);
}

const REQUEST: &str = "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d";

#[test]
fn a_table_takes_no_more_memory_than_twice_its_size() {
    let mut decoder = Decoder::default();
    for number in 0..10_000 {
        let mut block = vec![0x40];
        let name = format!("n{number}");
        integer::encode(&mut block, 0, 7, name.len());
        block.extend_from_slice(name.as_bytes());
        let length = number * 7919 % 3000;
        integer::encode(&mut block, 0, 7, length);
        block.extend(std::iter::repeat_n(b'v', length));
        decode(&mut decoder, &block).expect("it is sound");
    }
    assert!(decoder.table().memory() < 5 * TABLE, "{}", decoder.table().memory());
}

#[test]
fn the_encoder_says_that_it_knows_of_a_smaller_table() {
    let mut encoder = Encoder::default();
    let mut out = Vec::new();
    encoder.begin(&mut out);
    assert!(out.is_empty());
    encoder.resize();
    encoder.begin(&mut out);
    encoder.begin(&mut out);
    assert_eq!(out, [0x20]);
}

#[test]
fn every_status_is_written() {
    for code in 100..1000 {
        let mut out = Vec::new();
        status(&mut out, code);
        let fields = decode(&mut Decoder::default(), &out).expect("it is sound");
        assert_eq!(fields, [(":status".to_owned(), code.to_string())]);
    }
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(
        fields in prop::collection::vec(("[A-Za-z0-9-]{1,40}", "[ -~]{0,300}"), 0..40),
    ) {
        let mut out = Vec::new();
        for (name, value) in &fields {
            field(&mut out, Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes());
        }
        let lower: Vec<_> =
            fields.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        prop_assert_eq!(decode(&mut Decoder::default(), &out), Ok(lower));
    }

    #[test]
    fn no_bytes_make_it_panic(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let mut decoder = Decoder::default();
        for block in blocks {
            let _either = decoder.decode(&block, &mut Collected::default());
            prop_assert!(decoder.table().size() <= TABLE);
        }
    }
}
