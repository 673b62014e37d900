use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// A server of the test's making: one thread per connection, plain blocking sockets.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Backend {
    /// Runs `serve` with each connection and its number, from 0.
    pub(crate) fn scripted(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let number = count.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream, number));
            }
        });
        Self { address, connections }
    }

    /// Answers every request with its own name, then the request's head and the length of its body,
    /// a line each. Keeps connections alive.
    pub(crate) fn echo(name: &str) -> Self {
        let name = name.to_owned();
        Self::scripted(move |stream, _| {
            let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let mut writer = stream;
            while let Some((head, body)) = read_request(&mut reader) {
                let text = format!("backend: {name}\n{head}body-length: {}\n", body.len());
                let reply = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nserver: secret/1.0\r\n\
                     x-backend: {name}\r\n\r\n",
                    text.len()
                );
                let body = if head.starts_with("HEAD ") { "" } else { &text };
                if writer
                    .write_all([reply.as_bytes(), body.as_bytes()].concat().as_slice())
                    .is_err()
                {
                    return;
                }
            }
        })
    }

    /// Connections taken so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// One request's head, with a line feed after each line and no empty line at its end. `None` at the
/// end of the connection.
pub(crate) fn read_head(reader: &mut BufReader<impl Read>) -> Option<String> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Some(head);
        }
        head.push_str(line);
        head.push('\n');
    }
}

/// One request: its head as [`read_head`] has it, and its body.
pub(crate) fn read_request(reader: &mut BufReader<impl Read>) -> Option<(String, Vec<u8>)> {
    let head = read_head(reader)?;
    let lower = head.to_ascii_lowercase();
    let field = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name));
    let length = match field("content-length: ") {
        Some(length) => length.parse().ok()?,
        None => 0,
    };
    let chunked = field("transfer-encoding: ").is_some_and(|value| value.ends_with("chunked"));
    let mut body = Vec::new();
    if chunked {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else {
        body.resize(length, 0);
        reader.read_exact(&mut body).ok()?;
    }
    Some((head, body))
}

/// Answers every request with these bytes.
pub(crate) fn saying(answer: &'static str) -> Backend {
    Backend::scripted(move |mut stream, _| {
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while read_request(&mut reader).is_some() {
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}
