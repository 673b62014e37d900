use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use kube::client::Body;

use super::session::Failure;

/// The longest line that is read, in bytes. An object has at most 1.5 MiB in etcd, and is told once.
const LONGEST: usize = 16 << 20;

/// The lines of an answer that does not end.
pub(super) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// So much of the buffer has no line feed in it.
    searched: usize,
}

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line; `None` at the end, where half a line is nothing. May be dropped and called
    /// again.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', unsearched) {
                let line = self.buffer.split_to(self.searched + end + 1).freeze();
                self.searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > LONGEST {
                return Err(Failure::Refused("an event is too long to be one".to_owned()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(Failure::unreachable(&error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_told_apart_and_the_last_half_is_none() {
        let mut lines = Lines::new(Body::from(b"one\n\n{two}\nthr".to_vec()));
        for expected in [&b"one\n"[..], b"{two}\n"] {
            assert_eq!(lines.next().await.ok().flatten().expect("a line"), expected);
        }
        assert!(lines.next().await.expect("the end").is_none());
    }

    #[tokio::test]
    async fn a_line_without_end_is_given_up() {
        let mut lines = Lines::new(Body::from(vec![b'x'; LONGEST + 1]));
        assert!(matches!(lines.next().await, Err(Failure::Refused(_))));
    }
}
