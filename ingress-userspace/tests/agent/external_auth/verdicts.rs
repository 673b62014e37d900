//! What becomes of a request by what the server says.

use std::{
    io::{BufReader, Read as _, Write as _},
    sync::{Mutex, mpsc},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{GET, HOST, Judge, OK, REFUSED, URL, all, ask, line, site, site_with};
use crate::support::{Backend, Connection, DEADLINE, nobody, read_head, until};

#[test]
fn only_a_2xx_lets_a_request_pass() {
    for (status, outcome) in [
        (200, 200),
        (201, 200),
        (202, 200),
        (204, 200),
        (299, 200),
        (401, 401),
        (403, 403),
        (300, 500),
        (301, 500),
        (302, 500),
        (304, 500),
        (400, 500),
        (404, 500),
        (407, 500),
        (429, 500),
        (500, 500),
        (503, 500),
        (999, 500),
    ] {
        let shop = Backend::echo("shop");
        let length = if [204, 304].contains(&status) { "" } else { "content-length: 0\r\n" };
        let judge = Judge::saying(format!("HTTP/1.1 {status} X\r\n{length}\r\n"));
        let site = site(&[URL], &shop, &judge);
        let reply = ask(&site, "/a?b=c", &[]);
        assert_eq!(reply.status, outcome, "{status}");
        assert_eq!(judge.asked(), 1);
        assert_eq!(shop.connections(), usize::from(outcome == 200), "{status}");
    }
}

#[test]
fn with_keepalive_in_effect_only_200_does() {
    let shop = Backend::echo("shop");
    let judge = Judge::new(|head| match head.contains("x-say: 204") {
        true => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        false => OK.to_owned(),
    });
    let annotations = [URL, ("auth-keepalive", "4")];
    let site =
        site_with(&annotations, &[("use-http2", "false")], &[], (&shop, judge.backend.address));
    assert_eq!(ask(&site, "/", &[]).status, 200);
    assert_eq!(ask(&site, "/", &["x-say: 204"]).status, 500);
}

#[test]
fn a_401_says_how_to_sign_in() {
    let shop = Backend::echo("shop");
    let judge = Judge::saying(
        "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer realm=\"a\"\r\n\
         www-authenticate: Basic\r\nx-secret: 1\r\ncontent-length: 5\r\n\r\nleave",
    );
    let site = site(&[URL], &shop, &judge);
    let reply = ask(&site, "/", &[]);
    assert_eq!(reply.status, 401);
    assert_eq!(all(&reply, "www-authenticate"), ["Bearer realm=\"a\"", "Basic"]);
    assert_eq!(reply.header("x-secret"), None);
    assert!(reply.text().contains("<h1>401 Authorization Required</h1>"), "{}", reply.text());
    assert_eq!(shop.connections(), 0);
}

#[test]
fn a_server_that_cannot_be_reached_lets_nobody_pass() {
    let shop = Backend::echo("shop");
    let site = site_with(&[URL], &[], &[], (&shop, nobody()));
    let reply = ask(&site, "/", &[]);
    assert_eq!(reply.status, 500);
    assert!(reply.text().contains("<h1>500 Internal Server Error</h1>"), "{}", reply.text());
    assert_eq!(shop.connections(), 0);
}

#[test]
fn a_service_that_is_missing_lets_nobody_pass() {
    let (shop, judge) = (Backend::echo("shop"), Judge::saying(OK));
    let url = [("auth-url", "http://none.web.svc.cluster.local/")];
    assert_eq!(ask(&site(&url, &shop, &judge), "/", &[]).status, 500);
    assert_eq!((shop.connections(), judge.asked()), (0, 0));
}

#[test]
fn answers_that_are_none_let_nobody_pass() {
    let head = "x".repeat(40_000);
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(40) + OK;
    for (what, answer) in [
        ("nothing", ""),
        ("no HTTP", "SSH-2.0-x\r\n\r\nconnection: close"),
        ("a head without end", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: connection: close"),
        ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 1\r\n\r\n"),
        ("another protocol", "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
        ("a large head", &format!("HTTP/1.1 200 OK\r\nx: {head}\r\n\r\n")),
        ("interim answers without end", &interim),
        ("only an interim answer", "HTTP/1.1 100 Continue\r\nconnection: close\r\n\r\n"),
    ] {
        let shop = Backend::echo("shop");
        let judge = Judge::saying(answer);
        let site = site(&[URL], &shop, &judge);
        assert_eq!(ask(&site, "/", &[]).status, 500, "{what}");
        assert_eq!(shop.connections(), 0, "{what}");
    }
}

#[test]
fn answers_that_are_unusual_are_verdicts_all_the_same() {
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n{}", "x".repeat(200_000));
    for (what, answer) in [
        (
            "interim answers",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\n\r\n".to_owned() + OK,
        ),
        ("until it closes", "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nbody".to_owned()),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n".to_owned()),
        (
            "chunks",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".to_owned(),
        ),
        ("a body that does not end", large),
        ("a body that does not come", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_owned()),
    ] {
        let shop = Backend::echo("shop");
        let judge = Judge::saying(answer);
        let site = site(&[URL], &shop, &judge);
        let mut connection = Connection::open(site.http);
        for _ in 0..3 {
            let reply = connection.request(GET);
            assert_eq!((reply.status, reply.line("backend: ")), (200, Some("shop")), "{what}");
        }
    }
}

#[test]
fn bodies_go_to_the_upstream_alone_and_not_before_the_verdict() {
    let (shop, judge) = (
        Backend::echo("shop"),
        Judge::new(
            |head| {
                if head.contains("x-pass: 1") { OK.to_owned() } else { REFUSED.to_owned() }
            },
        ),
    );
    let site = site(&[URL], &shop, &judge);
    let post = |more: &str| {
        format!("POST /form HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: text/plain\r\n{more}\r\n\r\n")
    };
    let mut connection = Connection::open(site.http);
    let reply = connection.request(&(post("x-pass: 1\r\ncontent-length: 5") + "hello"));
    assert_eq!((reply.status, reply.line("body-length: ")), (200, Some("5")));
    let question = judge.last();
    assert!(question.starts_with("GET /verify HTTP/1.1\n"), "{question}");
    assert_eq!(line(&question, "content-length: "), None);
    assert_eq!(line(&question, "transfer-encoding: "), None);
    assert_eq!(line(&question, "body-length: "), Some("0"));
    // A client that waits for 100 Continue is not asked for a body that nobody wants.
    let waiting = "expect: 100-continue\r\ncontent-length: 5";
    let mut connection = Connection::open(site.http);
    assert_eq!(connection.request(&post(waiting)).status, 401);
    let mut connection = Connection::open(site.http);
    connection.send(post(&format!("x-pass: 1\r\n{waiting}")));
    assert_eq!(connection.reply(false).expect("an interim answer").status, 100);
    let reply = connection.request("hello");
    assert_eq!((reply.status, reply.line("body-length: ")), (200, Some("5")));
    // Chunks too.
    let chunked = "x-pass: 1\r\ntransfer-encoding: chunked";
    let reply = Connection::open(site.http).request(&(post(chunked) + "2\r\nhi\r\n0\r\n\r\n"));
    assert_eq!((reply.status, reply.line("body-length: ")), (200, Some("2")));
    assert_eq!(line(&judge.last(), "transfer-encoding: "), None);
}

#[test]
fn a_client_that_leaves_takes_its_question_along() {
    let (told, tells) = mpsc::channel();
    let told = Mutex::new(told);
    let judge = Backend::scripted(move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let Some(_head) = read_head(&mut reader) else { return };
        let mut rest = Vec::new();
        let end = stream.read_to_end(&mut rest);
        let _test_over = told.lock().expect("no panic").send(end.is_ok() && rest.is_empty());
    });
    let shop = Backend::echo("shop");
    let site = site_with(&[URL], &[], &[], (&shop, judge.address));
    let mut connection = Connection::open(site.http);
    connection.send(GET);
    until("the server is asked", || judge.connections() == 1);
    drop(connection);
    assert_eq!(tells.recv_timeout(DEADLINE), Ok(true), "its connection ends");
    assert_eq!(shop.connections(), 0);
}

#[test]
fn clients_of_http2_are_asked_about_like_others() {
    let shop = Backend::echo("shop");
    let judge = Judge::new(|head| match head.contains("x-pass: 1") {
        true => "HTTP/1.1 200 OK\r\nx-user: ann\r\ncontent-length: 0\r\n\r\n".to_owned(),
        false => REFUSED.to_owned(),
    });
    let site = site(&[URL, ("auth-response-headers", "X-User")], &shop, &judge);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let stream = tokio::net::TcpStream::connect(site.http).await.expect("it listens");
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .expect("a handshake");
        tokio::spawn(connection);
        for (pass, status) in [("1", 200), ("0", 401), ("1", 200)] {
            let request = http::Request::post(format!("http://{HOST}/two?a=b"))
                .header("x-pass", pass)
                .header("x-user", "root")
                .body(Full::new(Bytes::from_static(b"hello")))
                .expect("a request");
            let response = sender.send_request(request).await.expect("an answer");
            assert_eq!(response.status(), status);
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            let text = String::from_utf8_lossy(&body).to_ascii_lowercase();
            if status == 200 {
                assert!(text.contains("\nx-user: ann\n") && !text.contains("root"), "{text}");
                assert!(text.contains("\nbody-length: 5\n"), "{text}");
            }
        }
    });
    let question = judge.last();
    assert_eq!(line(&question, "x-original-url: "), Some("http://shop.example.com/two?a=b"));
    assert_eq!(line(&question, "x-original-method: "), Some("POST"));
    assert_eq!(line(&question, "host: "), Some("auth.web.svc.cluster.local"));
    assert_eq!(judge.backend.connections(), 1);
}

#[test]
fn upgrades_pass_or_do_not() {
    let shop = Backend::scripted(|mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        let Some(_head) = read_head(&mut reader) else { return };
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                      connection: upgrade\r\n\r\nhello";
        let _gone = stream.write_all(answer.as_bytes());
    });
    let judge =
        Judge::new(
            |head| {
                if head.contains("x-pass: 1") { OK.to_owned() } else { REFUSED.to_owned() }
            },
        );
    let site = site(&[URL], &shop, &judge);
    let request = |pass: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             x-pass: {pass}\r\n\r\n"
        )
    };
    assert_eq!(Connection::open(site.http).request(&request("0")).status, 401);
    assert_eq!(shop.connections(), 0);
    let mut connection = Connection::open(site.http);
    assert_eq!(connection.request(&request("1")).status, 101);
    assert_eq!(connection.read_exact(5).expect("the tunnel"), b"hello");
    assert_eq!(line(&judge.last(), "upgrade: "), None);
}
