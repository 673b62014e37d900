//! Where a body ends: RFC 9112, sections 6 and 7.

use super::{CODING, Case, NEVER_TRAILERS, REFUSE, TOO_LARGE, case, post, posted, refused, want};

pub(super) fn lengths() -> Vec<Case> {
    let mut rows = Vec::new();
    // RFC 9112, section 6.3; nginx refuses repetition also of the same value.
    for value in [
        "5\r\nContent-Length: 6",
        "5\r\nContent-Length: 5",
        "5, 5",
        "5, 6",
        "+5",
        "-1",
        "-0",
        "5x",
        "0x5",
        "5 5",
        "5;",
        "5.0",
        "1e1",
        "",
        "\"5\"",
        "99999999999999999999",
        "18446744073709551621",
        "9223372036854775808",
    ] {
        let bytes = post(&format!("Content-Length: {value}"), "hello");
        rows.push(case(format!("content-length {value:?}"), bytes, vec![refused(REFUSE)]));
    }
    let good = || posted(b"hello").only();
    rows.push(case("content-length", post("Content-Length: 5", "hello"), vec![good()]));
    rows.push(case("content-length in capitals", post("CONTENT-LENGTH:5", "hello"), vec![good()]));
    rows.push(case(
        "content-length in blanks",
        post("Content-Length: \t5 \t", "hello"),
        vec![good()],
    ));
    rows.push(case(
        "content-length with zeros before",
        post("Content-Length: 0005", "hello"),
        vec![good(), refused(REFUSE)],
    ));
    rows.push(case("content-length 0", post("Content-Length: 0", ""), vec![posted(b"").only()]));
    rows.push(case(
        "content-length of a GET",
        "GET /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
        vec![want(&["GET /p HTTP/1.1"], b"hello").only()],
    ));
    rows.push(case(
        "content-length with an underscore is no length",
        post("Content_Length: 60\r\nContent-Length: 5", "hello"),
        vec![posted(b"hello").lacks(&["content_length"]).only(), refused(REFUSE)],
    ));
    rows.push(case(
        "content-length behind a line without colon",
        post("X\r\nContent-Length: 5", "hello"),
        vec![refused(REFUSE), posted(b"hello").lacks(&["x"]).only()],
    ));
    // nginx 1.21.1 and later; RFC 9112, section 6.1 allows it.
    for fields in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Content-Length: 6\r\nTransfer-Encoding: identity",
        "Content-Length: 6\r\nTransfer-Encoding: xchunked",
        "Content-Length: 6\r\ntransfer-encoding:\tchunked",
        "Content-Length: 6\r\nTransfer-Encoding:\x0bchunked",
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Content-Length: 6\r\nTransfer-Encoding:\r\n chunked",
        "Content-Length: 6\r\nTransfer-Encoding : chunked",
        "Content-Length: 6\r\n Transfer-Encoding: chunked",
        "Content-Length: 6\r\nX: x\nTransfer-Encoding: chunked",
        "Content-Length: 6\r\nX: x\rTransfer-Encoding: chunked",
    ] {
        let bytes = post(fields, "0\r\n\r\nG");
        rows.push(case(format!("length and coding {fields:?}"), bytes, vec![refused(CODING)]));
    }
    rows
}

pub(super) fn codings() -> Vec<Case> {
    let mut rows = Vec::new();
    let body = "5\r\nhello\r\n0\r\n\r\n";
    for value in ["chunked", "Chunked", "CHUNKED"] {
        let bytes = post(&format!("Transfer-Encoding: {value}"), body);
        rows.push(case(format!("coding {value:?}"), bytes, vec![posted(b"hello").only()]));
    }
    for value in ["chunked \t", "\t chunked"] {
        let bytes = post(&format!("Transfer-Encoding:{value}"), body);
        let allowed = vec![posted(b"hello").only(), refused(CODING)];
        rows.push(case(format!("coding {value:?}"), bytes, allowed));
    }
    for value in [
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "xchunked",
        "chunkedx",
        "chunked ;",
        "chunked;q=1",
        "chunked;a",
        "\"chunked\"",
        "'chunked'",
        "identity",
        "identity, chunked",
        "gzip, chunked",
        "gzip",
        "chunked, identity",
        "chunked, gzip",
        "",
        "chunk",
        "x\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
        "chunked\x00",
        "\x0bchunked",
        "chunked\x0c",
        "\u{a0}chunked",
        "[chunked]",
        "chunked chunked",
    ] {
        let bytes = post(&format!("Transfer-Encoding: {value}"), body);
        rows.push(case(format!("coding {value:?}"), bytes, vec![refused(CODING)]));
    }
    rows.push(case(
        "coding with an underscore is none",
        post("Transfer_Encoding: chunked\r\nContent-Length: 5", "hello"),
        vec![posted(b"hello").lacks(&["transfer_encoding"]).only(), refused(CODING)],
    ));
    rows.push(case(
        "coding in HTTP/1.0",
        "POST /p HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        vec![refused(CODING)],
    ));
    rows.push(case(
        "coding in HTTP/1.0 that asks for keep-alive",
        "POST /p HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\
         \r\n5\r\nhello\r\n0\r\n\r\n",
        vec![refused(CODING)],
    ));
    rows
}

pub(super) fn chunks() -> Vec<Case> {
    let mut rows = Vec::new();
    let hello = || posted(b"hello").only();
    let chunked = |body: &str| post("Transfer-Encoding: chunked", body);
    for body in [
        "5\r\nhello\r\n0\r\n\r\n",
        "005\r\nhello\r\n00\r\n\r\n",
        "5;ext\r\nhello\r\n0\r\n\r\n",
        "5;ext=1;more=\"x y\"\r\nhello\r\n0;last\r\n\r\n",
        "1\r\nh\r\n4\r\nello\r\n0\r\n\r\n",
    ] {
        rows.push(case(format!("chunks {body:?}"), chunked(body), vec![hello()]));
    }
    for size in ["a", "A"] {
        let body = format!("{size}\r\n0123456789\r\n0\r\n\r\n");
        let allowed = vec![posted(b"0123456789").only()];
        rows.push(case(format!("chunk size {size:?}"), chunked(&body), allowed));
    }
    // Read one way or not at all, but never another way than it is forwarded.
    for (name, body) in [
        ("blanks behind the size", "5 \r\nhello\r\n0\r\n\r\n".to_owned()),
        ("blanks before an extension", "5 ; ext\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("a size of many zeros", format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(40))),
        ("an extension of 4 kB", format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(4096))),
        ("an extension of 20 kB", format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20480))),
        ("bare LF behind the size", "5\nhello\r\n0\r\n\r\n".to_owned()),
        ("bare LF behind the data", "5\r\nhello\n0\r\n\r\n".to_owned()),
        ("bare LF at the end", "5\r\nhello\r\n0\n\n".to_owned()),
        ("bare LF in an extension", "5;a\nhello\r\n0\r\n\r\n".to_owned()),
        ("a tab in an extension", "5;\ta\r\nhello\r\n0\r\n\r\n".to_owned()),
    ] {
        rows.push(case(format!("chunks: {name}"), chunked(&body), vec![refused(REFUSE), hello()]));
    }
    for (name, body) in [
        ("negative size", "-1\r\nhello\r\n0\r\n\r\n"),
        ("size with a plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("only an extension", ";ext\r\nhello\r\n0\r\n\r\n"),
        ("size no number", "zz\r\nhello\r\n0\r\n\r\n"),
        ("size with a letter behind", "5g\r\nhello\r\n0\r\n\r\n"),
        ("size of two numbers", "5 5\r\nhello\r\n0\r\n\r\n"),
        ("blank before the size", " 5\r\nhello\r\n0\r\n\r\n"),
        ("size with an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("size with a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
        ("size that overflows 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("size that overflows by far", "fffffffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("size of 64 bits", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("size with NUL", "5\0\r\nhello\r\n0\r\n\r\n"),
        ("bare CR behind the size", "5\rhello\r\n0\r\n\r\n"),
        ("bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("CR CR LF behind the size", "5\r\r\nhello\r\n0\r\n\r\n"),
        ("data longer than the size", "5\r\nhelloX\r\n0\r\n\r\n"),
        ("data without end", "5\r\nhello0\r\n\r\n"),
        ("data that ends with CR alone", "5\r\nhello\r0\r\n\r\n"),
        ("last chunk without empty line", "5\r\nhello\r\n0\r\n"),
        ("last chunk ends with CR alone", "5\r\nhello\r\n0\r\r"),
    ] {
        rows.push(case(format!("chunks: {name}"), chunked(body), vec![refused(REFUSE)]));
    }
    rows
}

pub(super) fn trailers() -> Vec<Case> {
    let mut rows = Vec::new();
    let chunked = |trailers: &str| {
        post("Transfer-Encoding: chunked", &format!("5\r\nhello\r\n0\r\n{trailers}\r\n"))
    };
    rows.push(case(
        "trailers: an ordinary one",
        chunked("X-Sum: 1\r\n"),
        vec![posted(b"hello").only()],
    ));
    for name in NEVER_TRAILERS {
        let value = if *name == "content-length" { "60" } else { "6.6.6.6" };
        let allowed = vec![posted(b"hello").only(), refused(REFUSE)];
        rows.push(case(
            format!("trailers: {name}"),
            chunked(&format!("{name}: {value}\r\n")),
            allowed,
        ));
    }
    for (name, text) in [
        ("one without colon", "garbage\r\n".to_owned()),
        ("a folded one", "X: 1\r\n 2\r\n".to_owned()),
        ("a blank before the colon", "X : 1\r\n".to_owned()),
        ("a NUL", "X: \0\r\n".to_owned()),
        ("a bare CR", "X: 1\rY: 2\r\n".to_owned()),
        ("a request", "GET /evil HTTP/1.1\r\n".to_owned()),
    ] {
        let allowed = vec![refused(REFUSE)];
        rows.push(case(format!("trailers: {name}"), chunked(&text), allowed));
    }
    rows.push(case(
        "trailers: 40 kB",
        chunked(&format!("X: {}\r\n", "y".repeat(1000)).repeat(40)),
        vec![refused(TOO_LARGE)],
    ));
    rows
}
