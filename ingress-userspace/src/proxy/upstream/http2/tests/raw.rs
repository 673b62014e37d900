//! Frames by hand (RFC 9113, section 4.1).

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
const HEADERS: u8 = 1;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small one").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub(super) fn goaway(last: u32, code: u32) -> Vec<u8> {
    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

/// Reads the preface, says its settings, and waits for so many requests.
pub(super) async fn requests(stream: &mut TcpStream, wanted: usize) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.expect("a preface");
    assert!(preface.starts_with(b"PRI * HTTP/2.0"));
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.expect("it is there");
    let mut seen = 0;
    while seen < wanted {
        let mut header = [0; 9];
        stream.read_exact(&mut header).await.expect("a frame");
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.expect("all of it");
        match header[3] {
            HEADERS => seen += 1,
            SETTINGS if header[4] == 0 => {
                stream.write_all(&frame(SETTINGS, 1, 0, &[])).await.expect("it is there");
            }
            _ => {}
        }
    }
}

/// A listener whose connections are each served so.
pub(super) async fn listener<F: Future<Output = ()> + 'static>(
    serve: impl Fn(TcpStream) -> F + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(serve(stream));
        }
    });
    address
}
