//! Variables of nginx: in lines, in texts, and those that are not here.

use crate::{
    access_log::{ANSWER, Logged},
    http2::run,
    support::{Backend, Connection, Reply, exchange, saying, tls},
};

const HOST: &str = "shop.example.com";

fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n")
}

#[test]
fn lines_say_what_is_known_of_a_connection() {
    let shop = saying(
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nset-cookie: b=2\r\nset-cookie: a=1; Path=/\r\n\r\n",
    );
    let format = "$https|$is_args|$server_addr|$connection_requests|$http2|$upstream_cookie_a|\
                  $upstream_cookie_c|$content_type|$realip_remote_addr|$pipe|$msec";
    let logged = Logged::start(&[("log-format-upstream", format)], &[], &shop);
    let mut plain = Connection::open(logged.site.http);
    for target in ["/", "/?a"] {
        let text = format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: x/y\r\n\r\n");
        assert_eq!(plain.request(&text).status, 200);
    }
    let (mut sealed, _) = tls(logged.site.https, HOST);
    assert_eq!(sealed.request(&request("/")).status, 200);
    let lines = logged.lines(3);
    let known: Vec<_> = lines.iter().map(|line| line.rsplit_once('|').expect(line).0).collect();
    assert_eq!(
        known,
        [
            "||127.0.0.1|1||1|-|x/y|127.0.0.1|-",
            "|?|127.0.0.1|2||1|-|x/y|127.0.0.1|-",
            "on||127.0.0.1|1||1|-|-|127.0.0.1|-",
        ]
    );
    // What is always missing is told.
    let said = logged.site.state()["diagnostics"].to_string();
    assert!(said.contains("`$pipe`") && !said.contains("$https"), "{said}");
}

#[test]
fn connections_have_numbers_ports_and_an_age() {
    let shop = saying(ANSWER);
    let format = "$connection $realip_remote_port $remote_port $connection_time";
    let logged = Logged::start(&[("log-format-upstream", format)], &[], &shop);
    for _ in 0..2 {
        assert_eq!(exchange(logged.site.http, &request("/")).status, 200);
    }
    let lines = logged.lines(2);
    let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    assert_ne!(words[0][0], words[1][0]);
    for line in &words {
        let [number, realip, remote, time] = line[..] else { panic!("{line:?}") };
        number.parse::<u64>().expect(number);
        assert_eq!(realip, remote);
        assert!(time.split_once('.').expect(time).1.len() == 3, "{time}");
    }
}

#[test]
fn http2_is_told_from_http1() {
    let shop = saying(ANSWER);
    let logged = Logged::start(&[("log-format-upstream", "$http2 $server_protocol")], &[], &shop);
    run(async {
        let stream = tokio::net::TcpStream::connect(logged.site.http).await.expect("it listens");
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(executor, io).await.expect("a handshake");
        tokio::spawn(connection);
        let request = http::Request::get(format!("http://{HOST}/"))
            .body(http_body_util::Empty::<bytes::Bytes>::new());
        let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
        assert_eq!(answer.status(), 200);
    });
    assert_eq!(logged.lines(1), ["h2c HTTP/2.0"]);
}

#[test]
fn lines_say_what_limits_did() {
    let shop = saying(ANSWER);
    let format = "$status $limit_req_status $limit_conn_status";
    let settings = [("log-format-upstream", format)];
    let limits = [("limit-rpm", "1"), ("limit-burst-multiplier", "1"), ("limit-connections", "5")];
    let logged = Logged::start(&settings, &limits, &shop);
    for _ in 0..4 {
        let _any = exchange(logged.site.http, &request("/"));
    }
    let lines = logged.lines(4);
    assert_eq!(lines[0], "200 PASSED PASSED");
    assert_eq!(lines[3], "503 REJECTED -");
    let open = Logged::start(&settings, &[], &shop);
    assert_eq!(exchange(open.site.http, &request("/")).status, 200);
    assert_eq!(open.lines(1), ["200 - -"]);
}

fn field<'r>(reply: &'r Reply, name: &str) -> Option<&'r str> {
    reply.header(name)
}

#[test]
fn texts_and_snippets_have_them_too() {
    let shop = Backend::echo("shop");
    let snippet = "more_set_headers \"X-Own: $https|$is_args|$server_addr|$connection_requests|$ssl_protocol|$ssl_server_name|$ssl_client_verify\";\n\
                   if ($https = on) { set $sealed yes; }\n\
                   add_header X-Sealed $sealed;\n\
                   proxy_set_header X-Peer $realip_remote_addr;";
    let settings = [("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];
    let logged = Logged::start(&settings, &[("configuration-snippet", snippet)], &shop);
    let reply = exchange(logged.site.http, &request("/?x"));
    assert_eq!(field(&reply, "x-own"), Some("|?|127.0.0.1|1|||"));
    assert_eq!((field(&reply, "x-sealed"), reply.line("x-peer: ")), (None, Some("127.0.0.1")));
    let (mut sealed, _) = tls(logged.site.https, HOST);
    let reply = sealed.request(&request("/"));
    assert_eq!(field(&reply, "x-own"), Some("on||127.0.0.1|1|TLSv1.3|shop.example.com|NONE"));
    assert_eq!(field(&reply, "x-sealed"), Some("yes"));
}

#[test]
fn what_is_not_here_refuses_a_snippet_and_says_so() {
    let shop = Backend::echo("shop");
    let settings = [("allow-snippet-annotations", "true"), ("annotations-risk-level", "Critical")];
    for variable in ["ssl_client_fingerprint", "nginx_version", "tcpinfo_rtt", "geoip2_city"] {
        let snippet = format!("add_header X-A ${variable};");
        let logged = Logged::start(&settings, &[("configuration-snippet", &snippet)], &shop);
        assert_eq!(exchange(logged.site.http, &request("/")).status, 503, "{variable}");
        let said = logged.site.state()["diagnostics"].to_string();
        assert!(said.contains(&format!("`${variable}` is not known")), "{said}");
    }
}
