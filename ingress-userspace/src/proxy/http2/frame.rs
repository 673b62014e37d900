//! The layout of frames (RFC 9113, sections 4.1 and 6).

use super::error::Code;

/// The length of a frame's header. Bytes.
pub(super) const HEADER: usize = 9;
/// The longest payload that we take: the initial SETTINGS_MAX_FRAME_SIZE, never raised, as any
/// longer one would have to be waited for. Also the longest that we send. Bytes.
pub(super) const LONGEST: usize = 16_384;
/// What a client sends first (section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The types of frames.
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const PRIORITY: u8 = 2;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(in super::super) const PUSH_PROMISE: u8 = 5;
    pub(in super::super) const PING: u8 = 6;
    pub(in super::super) const GOAWAY: u8 = 7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;
}

/// The flags of frames.
pub(super) mod flag {
    pub(in super::super) const ACK: u8 = 1;
    pub(in super::super) const END_STREAM: u8 = 1;
    pub(in super::super) const END_HEADERS: u8 = 4;
    pub(in super::super) const PADDED: u8 = 8;
    pub(in super::super) const PRIORITY: u8 = 0x20;
}

/// The parameters of SETTINGS.
pub(super) mod setting {
    pub(in super::super) const HEADER_TABLE_SIZE: u16 = 1;
    pub(in super::super) const ENABLE_PUSH: u16 = 2;
    pub(in super::super) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(in super::super) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(in super::super) const MAX_FRAME_SIZE: u16 = 5;
    pub(in super::super) const MAX_HEADER_LIST_SIZE: u16 = 6;
    /// RFC 8441, section 3.
    pub(in super::super) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Of the payload. Bytes.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// 0: the connection.
    pub(super) stream: u32,
}

impl Header {
    /// Reads one from the front of `bytes`; `None`: it is not complete.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<HEADER>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        // The highest bit is reserved, and ignored.
        Some(Self { length, kind, flags, stream: u32::from_be_bytes(stream) & MAX_ID })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Appends it to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let [_, a, b, c] = (self.length as u32).to_be_bytes();
        let [d, e, f, g] = self.stream.to_be_bytes();
        out.extend_from_slice(&[a, b, c, self.kind, self.flags, d, e, f, g]);
    }
}

/// The largest identifier of a stream.
pub(super) const MAX_ID: u32 = (1 << 31) - 1;

/// Four bytes of a payload as a number.
pub(super) fn number(payload: &[u8], at: usize) -> Option<u32> {
    let bytes = payload.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

/// What is between the length of the padding and the padding, in HEADERS (section 6.2).
///
/// # Errors
/// There is more padding than payload: PROTOCOL_ERROR.
pub(super) fn without_padding(header: Header, payload: &[u8]) -> Result<&[u8], Code> {
    if !header.has(flag::PADDED) {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(Code::FrameSize)?;
    let length = rest.len().checked_sub((*padding).into()).ok_or(Code::Protocol)?;
    Ok(rest.get(..length).unwrap_or_default())
}

/// Appends a frame with this payload.
pub(super) fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    Header { length: payload.len(), kind, flags, stream }.write(out);
    out.extend_from_slice(payload);
}

/// Appends RST_STREAM.
pub(super) fn write_reset(out: &mut Vec<u8>, stream: u32, code: Code) {
    write(out, kind::RST_STREAM, 0, stream, &(code as u32).to_be_bytes());
}

/// Appends WINDOW_UPDATE.
pub(super) fn write_window(out: &mut Vec<u8>, stream: u32, increment: u32) {
    write(out, kind::WINDOW_UPDATE, 0, stream, &increment.to_be_bytes());
}

/// Appends GOAWAY: streams above `last` were not looked at.
pub(super) fn write_goaway(out: &mut Vec<u8>, last: u32, code: Code) {
    Header { length: 8, kind: kind::GOAWAY, flags: 0, stream: 0 }.write(out);
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&(code as u32).to_be_bytes());
}

/// Appends SETTINGS.
pub(super) fn write_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    Header { length: 6 * settings.len(), kind: kind::SETTINGS, flags: 0, stream: 0 }.write(out);
    for (setting, value) in settings {
        out.extend_from_slice(&setting.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_header_that_is_written_is_read(
            length in 0..1_usize << 24,
            kind: u8,
            flags: u8,
            stream in 0..=MAX_ID,
        ) {
            let header = Header { length, kind, flags, stream };
            let mut out = Vec::new();
            header.write(&mut out);
            prop_assert_eq!(Header::parse(&out), Some(header));
            prop_assert_eq!(Header::parse(&out[..8]), None);
            out[5] |= 0x80;
            prop_assert_eq!(Header::parse(&out), Some(header), "the reserved bit is ignored");
        }
    }

    #[test]
    fn padding_is_taken_off() {
        let header = Header { length: 0, kind: kind::HEADERS, flags: flag::PADDED, stream: 1 };
        assert_eq!(without_padding(header, &[2, 7, 8, 0, 0]), Ok(&[7, 8][..]));
        assert_eq!(without_padding(header, &[2, 0, 0]), Ok(&[][..]));
        assert_eq!(without_padding(header, &[3, 0, 0]), Err(Code::Protocol));
        assert_eq!(without_padding(header, &[]), Err(Code::FrameSize));
    }
}
