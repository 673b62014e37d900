//! As much of HTTP/1.1 as a client of ours must know: where an answer ends.

use anyhow::{Context, Result, bail};

use crate::backend::{end_of_head, value};

/// Bytes of the answer that stands at the beginning of `bytes`, once its head is whole.
pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = end_of_head(bytes) else { return Ok(None) };
    let head = bytes.get(..end).unwrap_or_default();
    if !head.starts_with(b"HTTP/1.1 200 ") {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        bail!("answered with {}", String::from_utf8_lossy(line));
    }
    let body: usize = value(head, "content-length")
        .context("an answer without Content-Length")?
        .parse()
        .context("Content-Length is no number")?;
    Ok(Some(end.saturating_add(body)))
}

/// The request that our clients send.
pub(crate) fn request(host: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: penstock-load\r\nAccept: */*\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        assert_eq!(length(answer).unwrap(), Some(answer.len()));
        assert_eq!(length(&answer[..30]).unwrap(), None);
        assert!(length(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").is_err());
        assert!(length(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
