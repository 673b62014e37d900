//! A file of captured packets, as Wireshark and tcpdump read it
//! (draft-ietf-opsawg-pcapng: section header, interface description and enhanced packet blocks).

use std::io::{self, Write};

/// Ethernet (`LINKTYPE_ETHERNET`).
const ETHERNET: u16 = 1;
/// Option numbers.
const COMMENT: u16 = 1;
const NAME: u16 = 2;
const APPLICATION: u16 = 4;
const RESOLUTION: u16 = 9;

/// Writes packets to a file.
pub(super) struct Pcapng<W> {
    out: W,
    /// Interfaces by the numbers that the kernel gave them, in the order of their blocks.
    interfaces: Vec<u32>,
    snap: u32,
}

impl<W: Write> Pcapng<W> {
    /// Begins a file whose packets are cut after `snap` bytes.
    ///
    /// # Errors
    /// The writer's, as of all that follow.
    pub(super) fn new(mut out: W, snap: u32) -> io::Result<Self> {
        // The byte order by which readers tell ours, version 1.0, and a length not known yet.
        let mut body = 0x1a2b_3c4d_u32.to_ne_bytes().to_vec();
        body.extend(1u16.to_ne_bytes());
        body.extend(0u16.to_ne_bytes());
        body.extend(u64::MAX.to_ne_bytes());
        option(&mut body, APPLICATION, b"penstock");
        end(&mut body);
        block(&mut out, 0x0a0d_0d0a, &body)?;
        Ok(Self { out, interfaces: Vec::new(), snap })
    }

    /// Adds a packet: when, in nanoseconds since 1970; its beginning; its whole length.
    pub(super) fn packet(
        &mut self,
        interface: (u32, &str),
        time: u64,
        data: &[u8],
        length: u32,
        comment: &str,
    ) -> io::Result<()> {
        let number = match self.interfaces.iter().position(|known| *known == interface.0) {
            Some(number) => number,
            None => {
                let mut body = ETHERNET.to_ne_bytes().to_vec();
                body.extend([0; 2]);
                body.extend(self.snap.to_ne_bytes());
                option(&mut body, NAME, interface.1.as_bytes());
                // Nanoseconds.
                option(&mut body, RESOLUTION, &[9]);
                end(&mut body);
                block(&mut self.out, 1, &body)?;
                self.interfaces.push(interface.0);
                self.interfaces.len() - 1
            }
        };
        let mut body = (number as u32).to_ne_bytes().to_vec();
        body.extend(((time >> 32) as u32).to_ne_bytes());
        body.extend((time as u32).to_ne_bytes());
        body.extend((data.len() as u32).to_ne_bytes());
        body.extend(length.max(data.len() as u32).to_ne_bytes());
        body.extend(data);
        pad(&mut body);
        option(&mut body, COMMENT, comment.as_bytes());
        end(&mut body);
        block(&mut self.out, 6, &body)?;
        // Whoever reads along sees packets as they come.
        self.out.flush()
    }
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
    body.extend(code.to_ne_bytes());
    body.extend((value.len() as u16).to_ne_bytes());
    body.extend(value);
    pad(body);
}

fn end(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

fn block(out: &mut impl Write, kind: u32, body: &[u8]) -> io::Result<()> {
    let length = (body.len() as u32 + 12).to_ne_bytes();
    out.write_all(&kind.to_ne_bytes())?;
    out.write_all(&length)?;
    out.write_all(body)?;
    out.write_all(&length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
    }

    #[test]
    fn blocks_are_as_long_as_they_say() {
        let mut out = Vec::new();
        let mut file = Pcapng::new(&mut out, 1024).expect("a vector takes everything");
        for (interface, data) in [(3, &b"abcde"[..]), (3, b"abcd"), (7, b"")] {
            file.packet((interface, "eth0"), 1 << 33 | 5, data, 9, "why").expect("as above");
        }
        let mut kinds = Vec::new();
        let mut at = 0;
        while at < out.len() {
            let length = word(&out, at + 4) as usize;
            assert_eq!(word(&out, at + length - 4) as usize, length);
            kinds.push(word(&out, at));
            at += length;
        }
        // One description for each interface, before its first packet.
        assert_eq!((at, kinds), (out.len(), vec![0x0a0d_0d0a, 1, 6, 6, 1, 6]));
    }
}
