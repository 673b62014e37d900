//! A backend that keeps every byte of what it is asked, parses it as strictly as RFC 9112 allows,
//! and tells in `x-seen` what it understood.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Every byte of it.
    pub(crate) raw: Vec<u8>,
    /// The request line without its end.
    pub(crate) line: String,
    /// Names as they came, values without surrounding blanks; bytes as Latin-1.
    pub(crate) fields: Vec<(String, String)>,
    /// The body, out of its chunks.
    pub(crate) body: Vec<u8>,
    /// Fields after the last chunk.
    pub(crate) trailers: Vec<String>,
    /// What is wrong with it, were it sent by a careful client.
    pub(crate) faults: Vec<String>,
}

impl Seen {
    /// The values of a field.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let same = |field: &&(String, String)| field.0.eq_ignore_ascii_case(name);
        self.fields.iter().filter(same).map(|field| field.1.as_str()).collect()
    }

    /// Method, target, host and body in one word each, as all backends tell it.
    pub(crate) fn summary(&self) -> String {
        let mut words = self.line.split(' ');
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        summary(method, target, &self.values("host").join(","), &self.body)
    }
}

/// Method, target, host and body in one word each; the body and odd bytes in hexadecimal.
pub(crate) fn summary(method: &str, target: &str, host: &str, body: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let latin: Vec<u8> = target.chars().map(|c| c as u8).collect();
    format!("{method} {} {host} ={}", hex(&latin), hex(body))
}

/// The backend. Its threads end with their connections.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let seen = Arc::clone(&all);
                thread::spawn(move || serve(stream, &seen));
            }
        });
        Self { address, seen }
    }

    /// What came since the last call.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(mut stream: TcpStream, all: &Mutex<Vec<Seen>>) {
    let _set = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    loop {
        let mut seen = Seen::default();
        let complete = read(&mut reader, &mut stream, &mut seen);
        if seen.raw.is_empty() {
            return;
        }
        if complete.is_none() {
            seen.faults.push("incomplete".to_owned());
        }
        // What a test wants to have as an answer its request says in `X-Body` and `X-Type`.
        let asked = |name| seen.values(name).first().map(|&value| value.to_owned());
        let body = asked("x-body").unwrap_or_else(|| "ok".to_owned());
        let more = asked("x-type").map_or(String::new(), |kind| {
            format!(
                "content-type: {kind}\r\netag: \"e\"\r\n\
                 last-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
            )
        });
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{more}x-seen: {}\r\n\r\n{}",
            body.len(),
            // A head has its limits too: of long bodies nobody compares more than the length.
            match seen.body.len() {
                0..4096 => seen.summary(),
                length => format!("{} ={length}", seen.line),
            },
            if seen.line.starts_with("HEAD ") { "" } else { &*body }
        );
        let faulty = !seen.faults.is_empty();
        all.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        if complete.is_none() || stream.write_all(answer.as_bytes()).is_err() || faulty {
            return;
        }
    }
}

/// Reads one request; `None` if the connection ends within it.
fn read(reader: &mut BufReader<TcpStream>, stream: &mut TcpStream, seen: &mut Seen) -> Option<()> {
    seen.line = line(reader, seen)?;
    loop {
        let field = line(reader, seen)?;
        if field.is_empty() {
            break;
        }
        match field.split_once(':') {
            Some((name, value)) if is_token(name) => {
                seen.fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
            }
            _ => seen.faults.push(format!("field {field:?}")),
        }
    }
    check(seen);
    if seen.values("expect").iter().any(|value| value.eq_ignore_ascii_case("100-continue")) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    if !seen.values("transfer-encoding").is_empty() {
        return read_chunks(reader, seen);
    }
    let length = seen.values("content-length").first().and_then(|value| value.parse().ok());
    let body = exactly(reader, length.unwrap_or(0), seen)?;
    seen.raw.extend_from_slice(&body);
    seen.body = body;
    Some(())
}

/// So many bytes; `None` where no case has as many.
fn exactly(reader: &mut BufReader<TcpStream>, length: usize, seen: &mut Seen) -> Option<Vec<u8>> {
    if length > 1 << 20 {
        seen.faults.push(format!("length {length}"));
        return None;
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn check(seen: &mut Seen) {
    let mut faults = Vec::new();
    let words: Vec<&str> = seen.line.split(' ').collect();
    if words.len() != 3 || !is_token(words[0]) || !words[2].starts_with("HTTP/1.") {
        faults.push(format!("request line {:?}", seen.line));
    }
    let codings = seen.values("transfer-encoding");
    let lengths = seen.values("content-length");
    if codings.len() + lengths.len() > 1 {
        faults.push(format!("framing {codings:?} {lengths:?}"));
    }
    if codings.iter().any(|coding| !coding.eq_ignore_ascii_case("chunked")) {
        faults.push(format!("coding {codings:?}"));
    }
    let digits = |value: &&str| !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    if !lengths.iter().all(digits) {
        faults.push(format!("length {lengths:?}"));
    }
    if seen.values("host").len() != 1 {
        faults.push(format!("hosts {:?}", seen.values("host")));
    }
    let odd = |text: &str| text.chars().any(|c| (c < ' ' && c != '\t') || c == '\u{7f}');
    if odd(&seen.line) || seen.fields.iter().any(|(_, value)| odd(value)) {
        faults.push("control bytes".to_owned());
    }
    seen.faults.extend(faults);
}

fn read_chunks(reader: &mut BufReader<TcpStream>, seen: &mut Seen) -> Option<()> {
    loop {
        let size = line(reader, seen)?;
        let Ok(length) = usize::from_str_radix(&size, 16) else {
            seen.faults.push(format!("chunk size {size:?}"));
            return None;
        };
        if length == 0 {
            break;
        }
        let chunk = exactly(reader, length, seen)?;
        seen.raw.extend_from_slice(&chunk);
        seen.body.extend_from_slice(&chunk);
        if !line(reader, seen)?.is_empty() {
            seen.faults.push("chunk without end".to_owned());
            return None;
        }
    }
    loop {
        let field = line(reader, seen)?;
        if field.is_empty() {
            return Some(());
        }
        seen.trailers.push(field);
    }
}

/// A line without its CR LF, as Latin-1; one with another end is a fault.
fn line(reader: &mut BufReader<TcpStream>, seen: &mut Seen) -> Option<String> {
    let mut bytes = Vec::new();
    reader.read_until(b'\n', &mut bytes).ok()?;
    seen.raw.extend_from_slice(&bytes);
    if !bytes.ends_with(b"\n") {
        return None;
    }
    bytes.pop();
    if bytes.pop() != Some(b'\r') || bytes.contains(&b'\r') {
        seen.faults.push(format!("line end of {:?}", String::from_utf8_lossy(&bytes)));
    }
    Some(bytes.into_iter().map(char::from).collect())
}

fn is_token(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(token)
}
