//! Versions, sizes and sequences: RFC 9112, sections 2.3 and 9; nginx for the sizes.

use super::{Case, Outcome, TOO_LARGE, VERSION, case, closing, post, posted, refused, want};

pub(super) fn versions() -> Vec<Case> {
    let plain = || want(&["GET /p HTTP/1.1"], b"").only();
    let with = |version: &str| format!("GET /p {version}\r\nHost: a.test\r\n\r\n");
    let mut rows = vec![
        closing("version HTTP/1.0", &with("HTTP/1.0"), vec![plain()]),
        case(
            "version HTTP/1.0 that keeps alive",
            "GET /p HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n",
            vec![plain()],
        ),
        // RFC 9110, section 2.5: a higher minor version is served as the highest known.
        case("version HTTP/1.2", with("HTTP/1.2"), vec![plain(), refused(VERSION)]),
        // nginx still answers these; we need not. The answer to one has no head.
        closing("version HTTP/0.9", "GET /p\r\n", vec![refused(&[0, 400, 505])]),
        closing("version HTTP/0.9 without CR", "GET /p\n", vec![refused(&[0, 400, 505])]),
    ];
    for version in [
        "HTTP/0.9",
        "HTTP/2.0",
        "HTTP/2",
        "HTTP/3.7",
        "HTTP/1.10",
        "HTTP/11.1",
        "HTTP/01.1",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP/1",
        "HTTP/1,1",
        "HTTP/1.1.1",
        "HTTP/1.x",
        "HTTP/-1.1",
        "HTTP/1.1\0",
        "http/1.1",
        "Http/1.1",
        "HTTPS/1.1",
        "HTP/1.1",
        "HTTP 1.1",
        "HTTP/ 1.1",
        "ICY/1.1",
        "HTTP/9999999999.1",
        "",
    ] {
        rows.push(case(format!("version {version:?}"), with(version), vec![refused(VERSION)]));
    }
    rows.push(case(
        "HTTP/2 preface gone wrong",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        vec![refused(&[0, 400, 505])],
    ));
    rows.push(case(
        "HTTP/2 preface with a field",
        "PRI * HTTP/2.0\r\nHost: a.test\r\n\r\nSM\r\n\r\n",
        vec![refused(&[0, 400, 505])],
    ));
    rows
}

pub(super) fn sizes() -> Vec<Case> {
    let get = |target: &str, fields: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")
    };
    let plain = || want(&["GET /p HTTP/1.1"], b"");
    let path = |length: usize| format!("/{}", "x".repeat(length));
    let line = |length: usize| format!("GET {} HTTP/1.1", path(length));
    // `large_client_header_buffers 4 8k`: a line in one buffer, all lines in four.
    vec![
        case("target of 7 kB", get(&path(7000), ""), vec![want(&[&line(7000)], b"").only()]),
        case("target of 9 kB", get(&path(9000), ""), vec![Outcome::Own(&[414])]),
        case("target of 100 kB", get(&path(100_000), ""), vec![Outcome::Own(&[414])]),
        case(
            "query of 9 kB",
            get(&format!("/?{}", "x".repeat(9000)), ""),
            vec![Outcome::Own(&[414])],
        ),
        case(
            "field of 7 kB",
            get("/p", &format!("X-V: {}\r\n", "y".repeat(7000))),
            vec![plain().has("x-v", &"y".repeat(7000)).only()],
        ),
        case(
            "field of 9 kB",
            get("/p", &format!("X-V: {}\r\n", "y".repeat(9000))),
            vec![Outcome::Own(TOO_LARGE)],
        ),
        case(
            "field of 33 kB",
            get("/p", &format!("X-V: {}\r\n", "y".repeat(33_000))),
            vec![Outcome::Own(TOO_LARGE)],
        ),
        case(
            "name of 9 kB",
            get("/p", &format!("{}: v\r\n", "y".repeat(9000))),
            vec![Outcome::Own(TOO_LARGE)],
        ),
        case(
            "fields of 24 kB together",
            get("/p", &format!("X-V: {}\r\n", "y".repeat(3000)).repeat(8)),
            vec![plain().only()],
        ),
        case(
            "fields of 40 kB together",
            get("/p", &format!("X-V: {}\r\n", "y".repeat(1000)).repeat(40)),
            vec![Outcome::Own(TOO_LARGE)],
        ),
        case(
            "fields of 1 MB together",
            get("/p", &format!("X-V: {}\r\n", "y".repeat(1000)).repeat(1000)),
            vec![Outcome::Own(TOO_LARGE)],
        ),
        case("80 fields", get("/p", &"X-V: y\r\n".repeat(80)), vec![plain().only()]),
        // nginx counts bytes, not fields.
        case(
            "200 fields",
            get("/p", &"X-V: y\r\n".repeat(200)),
            vec![plain().only(), Outcome::Own(TOO_LARGE)],
        ),
        case(
            "2000 fields",
            get("/p", &"X: y\r\n".repeat(2000)),
            vec![plain().only(), Outcome::Own(TOO_LARGE)],
        ),
        case("20000 fields", get("/p", &"X: y\r\n".repeat(20_000)), vec![Outcome::Own(TOO_LARGE)]),
        case(
            "cookie of 7 kB",
            get("/p", &format!("Cookie: a={}\r\n", "y".repeat(7000))),
            vec![plain().only()],
        ),
        case(
            "CR LF without end before the request",
            "\r\n".repeat(50_000),
            vec![plain_marker(), refused(&[0, 400, 431])],
        ),
    ]
}

/// Nothing but the marker.
fn plain_marker() -> Outcome {
    Outcome::As(Vec::new())
}

pub(super) fn sequences() -> Vec<Case> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let saw = |path: &str| want(&[&format!("GET {path} HTTP/1.1")], b"");
    vec![
        case(
            "pipelining of three",
            [get("/1"), get("/2"), get("/3")].concat(),
            vec![Outcome::As(vec![saw("/1"), saw("/2"), saw("/3")])],
        ),
        case(
            "pipelining behind a body",
            [post("Content-Length: 5", "hello"), get("/2")].concat(),
            vec![Outcome::As(vec![posted(b"hello"), saw("/2")])],
        ),
        case(
            "pipelining behind chunks",
            [post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"), get("/2")].concat(),
            vec![Outcome::As(vec![posted(b"hello"), saw("/2")])],
        ),
        case(
            "pipelining behind chunks with trailers",
            [post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX: 1\r\n\r\n"), get("/2")]
                .concat(),
            vec![Outcome::As(vec![posted(b"hello"), saw("/2")])],
        ),
        case(
            "a request within a body",
            post(&format!("Content-Length: {}", get("/evil").len()), &get("/evil")),
            vec![posted(get("/evil").as_bytes()).only()],
        ),
        case(
            "CR LF between requests",
            [get("/1"), "\r\n".to_owned(), get("/2")].concat(),
            vec![Outcome::As(vec![saw("/1"), saw("/2")])],
        ),
        case(
            "many in one go",
            (0..100).map(|n| get(&format!("/{n}"))).collect::<String>(),
            vec![Outcome::As((0..100).map(|n| saw(&format!("/{n}"))).collect())],
        ),
    ]
}
