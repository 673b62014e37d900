//! A page on its way to who asked for it.

use std::{
    convert::Infallible,
    fmt,
    io::{self, Write as _},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::stream;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY},
};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use tokio::{runtime::Handle, sync::mpsc};

use super::{super::Board, Format};

/// What the health port answers with.
pub(in super::super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Bytes that are sent together.
const PART: usize = 32 * 1024;
/// Parts that wait for a client.
const AHEAD: usize = 4;
/// Pages at once: Prometheus asks for one at a time, and each has a copy of what was counted.
const PAGES: usize = 4;
/// How long a client may take for a part.
const PATIENCE: Duration = Duration::from_secs(10);
/// And for the whole page: who takes it byte by byte must not keep a place for ever either.
const WHOLE: Duration = Duration::from_secs(60);

/// A place among the pages that are written at once.
struct Place(Arc<Board>);

impl Place {
    fn take(board: &Arc<Board>) -> Option<Self> {
        let place = Self(Arc::clone(board));
        // Dropped again where there is none.
        (board.pages.fetch_add(1, Ordering::Relaxed) < PAGES).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.pages.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers a request for metrics.
pub(in super::super) fn answer(board: &Arc<Board>, headers: &HeaderMap) -> Response<Body> {
    let Some(place) = Place::take(board) else {
        let body = Full::new(Bytes::from_static(b"too many pages are being written\n"));
        let mut response = Response::new(body.boxed_unsync());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    };
    let format = format(headers);
    let is_zipped = accepts_gzip(headers);
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    let (board, handle) = (Arc::clone(board), Handle::current());
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let until = Instant::now() + WHOLE;
        let mut parts = Parts { sender, handle, until, part: Vec::with_capacity(PART) };
        // An error: nobody reads it any more.
        let _unread = if is_zipped {
            let mut zipped = Zipped(GzEncoder::new(parts, Compression::fast()));
            match super::write(board, format, &mut zipped) {
                Ok(()) => zipped.0.finish().and_then(|mut parts| parts.flush()),
                Err(_) => Ok(()),
            }
        } else {
            match super::write(board, format, &mut parts) {
                Ok(()) => parts.flush(),
                Err(_) => Ok(()),
            }
        };
    });
    let parts = stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|part| part.map(|part| Ok(Frame::data(part))))
    });
    let mut response = Response::new(StreamBody::new(parts).boxed_unsync());
    let kind = HeaderValue::from_static(match format {
        Format::Plain => "text/plain; version=0.0.4; charset=utf-8",
        Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
    });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if is_zipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// OpenMetrics for who prefers it to text (RFC 9110, section 12.5.1).
fn format(headers: &HeaderMap) -> Format {
    let mut weights = (0.0, 0.0);
    for (kind, weight) in listed(headers, ACCEPT.as_str()) {
        let best = match kind.split(';').next().unwrap_or_default().trim() {
            "application/openmetrics-text" => &mut weights.0,
            "text/plain" | "text/*" | "*/*" => &mut weights.1,
            _ => continue,
        };
        *best = f32::max(*best, weight);
    }
    if weights.0 > 0.0 && weights.0 >= weights.1 { Format::OpenMetrics } else { Format::Plain }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut named = None;
    let mut any = false;
    for (coding, weight) in listed(headers, ACCEPT_ENCODING.as_str()) {
        match coding.split(';').next().unwrap_or_default().trim() {
            "gzip" => named = Some(weight > 0.0),
            "*" => any = weight > 0.0,
            _ => {}
        }
    }
    named.unwrap_or(any)
}

/// The members of a list with their weights.
fn listed<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = (&'h str, f32)> {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(|member| {
        let weight = member
            .split(';')
            .skip(1)
            .find_map(|parameter| parameter.trim().strip_prefix("q="))
            .map_or(Some(1.0), |weight| weight.trim().parse().ok());
        (member, weight.unwrap_or(0.0))
    })
}

/// Sends what is written to it, in parts.
struct Parts {
    sender: mpsc::Sender<Bytes>,
    handle: Handle,
    /// When the whole page is to be sent.
    until: Instant,
    part: Vec<u8>,
}

impl Parts {
    fn send(&mut self) -> io::Result<()> {
        let part = Bytes::from(std::mem::replace(&mut self.part, Vec::with_capacity(PART)));
        let sender = &self.sender;
        // A client that does not read must not keep a thread.
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let sending = async { tokio::time::timeout(PATIENCE.min(left), sender.send(part)).await };
        match self.handle.block_on(sending) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_gone)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl io::Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.extend_from_slice(bytes);
        if self.part.len() >= PART {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.part.is_empty() { Ok(()) } else { self.send() }
    }
}

impl fmt::Write for Parts {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_all(text.as_bytes()).map_err(|_gone| fmt::Error)
    }
}

/// Text, compressed.
struct Zipped(GzEncoder<Parts>);

impl fmt::Write for Zipped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_all(text.as_bytes()).map_err(|_gone| fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn the_format_is_what_the_client_prefers() {
        // Prometheus 2.42's own.
        let prometheus = "application/openmetrics-text;version=1.0.0,\
             application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, wanted) in [
            (prometheus, Format::OpenMetrics),
            ("application/openmetrics-text; version=1.0.0; q=0.2, text/plain", Format::Plain),
            ("application/openmetrics-text;q=0", Format::Plain),
            ("application/openmetrics-text;q=none", Format::Plain),
            ("*/*", Format::Plain),
            ("", Format::Plain),
            ("text/html", Format::Plain),
        ] {
            assert_eq!(format(&headers("accept", accept)), wanted, "{accept}");
        }
        assert_eq!(format(&HeaderMap::new()), Format::Plain);
    }

    #[test]
    fn a_page_that_is_read_slowly_for_too_long_is_given_up() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (sender, mut receiver) = mpsc::channel(AHEAD);
        let until = Instant::now() + Duration::from_millis(50);
        let handle = runtime.handle().clone();
        let mut parts = Parts { sender, handle, until, part: Vec::new() };
        let reading = runtime.spawn(async move { while receiver.recv().await.is_some() {} });
        let given_up = Instant::now() + Duration::from_secs(30);
        let part = vec![b'x'; PART];
        let error = loop {
            assert!(Instant::now() < given_up, "it goes on for ever");
            if let Err(error) = io::Write::write(&mut parts, &part) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(Instant::now() >= until);
        drop(parts);
        runtime.block_on(reading).expect("no panic");
    }

    #[test]
    fn only_who_asks_gets_gzip() {
        for (accept, wanted) in [
            ("gzip", true),
            ("deflate, gzip;q=0.5", true),
            ("gzip;q=0, *", false),
            ("*", true),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(&headers("accept-encoding", accept)), wanted, "{accept}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
