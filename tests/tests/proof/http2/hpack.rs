//! Header compression: RFC 7541.

use super::{
    Answer, COMPRESSION_ERROR, Case, Connection,
    frame::{
        CONTINUATION, END_HEADERS, END_STREAM, GET, HEADERS, block, frame, indexed_literal,
        integer, request,
    },
    row,
};

const BROKEN: &[super::Outcome] = &[Connection(&[COMPRESSION_ERROR])];
const SERVED: &[super::Outcome] = &[Answer(200)];

/// A GET with these octets behind its fields.
fn with(octets: &[u8]) -> Vec<u8> {
    on(1, octets)
}

fn on(stream: u32, octets: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &[&block(GET), octets].concat())
}

/// A GET with these octets before its fields.
fn before(octets: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &[octets, &block(GET)].concat())
}

/// Rows of RFC 7541; an `H` stands before its sections.
pub(super) fn all() -> Vec<Case> {
    let indexed = [&[0x82, 0x86, 0x84][..], b"\x41\x06a.test"].concat();
    let all_kinds = [
        &block(GET)[..],
        b"\x40\x01a\x01b\x00\x01a\x01b\x10\x01a\x01b\x0f\x2b\x01x\x1f\x2b\x01x\x7a\x01x\xbe",
    ]
    .concat();
    // `www.example.com` (appendix C.4.1).
    let huffman = b"\x00\x01x\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
    vec![
        row(
            "H6.1 fields of the static table",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &indexed),
            SERVED,
        ),
        row(
            "H6.2 every kind of literal",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &all_kinds),
            SERVED,
        ),
        row(
            "H2.3.2 a field of the dynamic table in a later block",
            [on(1, &indexed_literal("x-kept", "1")), on(3, &[0xbe])].concat(),
            SERVED,
        ),
        row("H5.2 a value in Huffman code", with(huffman), SERVED),
        row("H5.2 an empty value in Huffman code", with(b"\x00\x01x\x80"), SERVED),
        row("H4.2 a change of the table's size before the fields", before(&[0x20]), SERVED),
        row(
            "H4.2 two changes of the table's size before the fields",
            before(&[0x20, 0x3f, 0xe1, 0x1f]),
            SERVED,
        ),
        row("H5.1 an integer with zeros behind it", with(b"\x00\x7f\x80"), BROKEN),
        row("H2.3.3 an index beyond both tables", with(&[0xff, 0x01]), BROKEN),
        row("H2.3.3 a literal with an index beyond both tables", with(b"\x7f\x01\x01x"), BROKEN),
        row(
            "H2.3.3 an index of a field that was dropped",
            before(&[&indexed_literal("a", "b")[..], &[0x20, 0xbe]].concat()),
            BROKEN,
        ),
        row("H4.2 a change of the table's size behind the fields", with(&[0x20]), BROKEN),
        row(
            "H5.1 an integer that overflows",
            with(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            BROKEN,
        ),
        row("H5.1 an integer that is cut off", with(&[0xff, 0x80]), BROKEN),
        row("H5.2 padding of more than seven bits", with(b"\x00\x01x\x82\x1f\xff"), BROKEN),
        row("H5.2 padding of a whole octet", with(b"\x00\x01x\x81\xff"), BROKEN),
        row("H5.2 padding of zeros", with(b"\x00\x01x\x81\x18"), BROKEN),
        row("H5.2 the end of string", with(b"\x00\x01x\x84\xff\xff\xff\xff"), BROKEN),
        row("H5.2 a string longer than the block", with(b"\x00\x01x\x7e\x01\x02"), BROKEN),
        row("H5.2 a string that is cut off", with(b"\x00\x04ab"), BROKEN),
        row("H6.1 index 0", with(&[0x80]), BROKEN),
        row("H6.3 a table larger than was allowed", before(&integer(0x20, 5, 1 << 24)), BROKEN),
        row("H6.2 a literal without a value", with(b"\x00\x01x"), BROKEN),
        row(
            "4.3 a broken block in a CONTINUATION",
            [
                frame(HEADERS, END_STREAM, 1, &block(GET)),
                frame(CONTINUATION, END_HEADERS, 1, &[0x80]),
            ]
            .concat(),
            BROKEN,
        ),
        row(
            "4.3 the table is kept although a request is refused",
            [
                request(1, &[GET, &[("X-Upper", "1")]].concat()),
                on(3, &indexed_literal("x-kept", "1")),
                on(5, &[0xbe]),
            ]
            .concat(),
            &[Answer(200), super::Refusal, super::Stream(&[super::PROTOCOL_ERROR])],
        ),
    ]
}
