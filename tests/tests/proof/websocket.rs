//! WebSocket through the agent: the classes of the Autobahn cases, between the `websockets` library
//! behind it and frames of our own before it, over HTTP/1.1, TLS and HTTP/2 (RFC 8441).

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{
    process::{Process, await_listener, free_port},
    report::Report,
    script,
    site::{Host, Site},
};

const MODULES: &[&str] = &["websockets", "h2"];

/// Runs the script's rows over one kind of connection.
fn over(test: &str, suite: &'static str, kind: &str) {
    let [library, raw] =
        [free_port(), free_port()].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let ports = [library.port().to_string(), raw.port().to_string()];
    let Some(server) = script::python("websocket.py", MODULES, &["server", &ports[0], &ports[1]])
    else {
        return script::missing(test, "python3-websockets and python3-h2");
    };
    let mut server = Process::start(&server);
    await_listener(&mut server, library, "the library's server");
    await_listener(&mut server, raw, "the raw server");
    let hosts = [Host::new("a.test", library), Host::new("raw.test", raw)];
    let Some(site) = Site::start(test, &hosts) else { return };
    let address = if kind.ends_with("tls") { site.https } else { site.http };
    let authority = site.authority();
    let arguments = ["client", kind, &address.port().to_string(), &authority.to_string_lossy()];
    let client = script::python("websocket.py", MODULES, &arguments).expect("it was there");
    let mut report = Report::new(suite);
    script::rows(client, &mut report);
    report.end();
}

#[test]
fn messages_pass_over_http1() {
    over("messages_pass_over_http1", "ws-http1", "http1");
}

#[test]
fn messages_pass_over_http1_and_tls() {
    over("messages_pass_over_http1_and_tls", "ws-http1-tls", "http1-tls");
}

#[test]
fn messages_pass_over_http2() {
    over("messages_pass_over_http2", "ws-http2", "http2");
}

#[test]
fn messages_pass_over_http2_and_tls() {
    over("messages_pass_over_http2_and_tls", "ws-http2-tls", "http2-tls");
}

/// A backend that switches protocols and hands over the connection.
fn switching(serve: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
    let address = listener.local_addr().expect("bound");
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                head.push(byte[0]);
            }
            let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                           Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
            if stream.write_all(switch).is_ok() {
                serve(stream);
            }
        }
    });
    address
}

fn switched(site: &Site) -> TcpStream {
    let mut stream = TcpStream::connect(site.http).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let request = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(request).expect("open");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

#[test]
fn an_end_of_one_direction_is_passed_on_and_the_other_stays_open() {
    let test = "an_end_of_one_direction_is_passed_on_and_the_other_stays_open";
    let backend = switching(|mut stream| {
        let mut bytes = Vec::new();
        let _all = stream.read_to_end(&mut bytes);
        let _open = stream.write_all(&bytes.repeat(2));
    });
    let Some(site) = Site::start(test, &[Host::new("a.test", backend)]) else { return };
    let mut stream = switched(&site);
    stream.write_all(b"last words").expect("open");
    stream.shutdown(Shutdown::Write).expect("open");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, "last wordslast words");
}

#[test]
fn an_idle_tunnel_ends_after_the_read_timeout() {
    let test = "an_idle_tunnel_ends_after_the_read_timeout";
    let backend = switching(|mut stream| {
        let _until_the_end = stream.read(&mut [0; 10]);
    });
    let annotations = [("proxy-read-timeout", "2"), ("proxy-send-timeout", "2")];
    let host = Host { annotations: &annotations, ..Host::new("a.test", backend) };
    let Some(site) = Site::start(test, &[host]) else { return };
    let mut stream = switched(&site);
    let start = Instant::now();
    let ended = stream.read(&mut [0; 10]);
    let after = start.elapsed();
    assert!(matches!(ended, Ok(0)), "{ended:?} after {after:?}");
    assert!(after >= Duration::from_millis(1500) && after < Duration::from_secs(10), "{after:?}");
}

#[test]
fn a_backend_that_goes_takes_the_tunnel_with_it() {
    let test = "a_backend_that_goes_takes_the_tunnel_with_it";
    let backend = switching(|mut stream| {
        let _word = stream.read_exact(&mut [0; 4]);
    });
    let Some(site) = Site::start(test, &[Host::new("a.test", backend)]) else { return };
    let mut stream = switched(&site);
    stream.write_all(b"word").expect("open");
    let ended = stream.read(&mut [0; 10]);
    assert!(matches!(ended, Ok(0)) || ended.is_err(), "{ended:?}");
}
