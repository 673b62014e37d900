//! Records: the framing of FastCGI (specification 1.0, section 3.3). All numbers are in network
//! order.

/// The version, the only one.
const VERSION: u8 = 1;
/// The request: a connection has one.
const REQUEST: [u8; 2] = [0, 1];
/// Bytes before a record's content.
pub(super) const HEADER: usize = 8;
/// The most content of one record. Bytes.
const LARGEST: usize = 0xFFFF;

const BEGIN_REQUEST: u8 = 1;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;

/// What is no record, or none that an application sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadRecord;

/// What a record of an application is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of the answer; without content: its end.
    Output,
    /// For the log.
    Complaint,
    /// The request has ended; says how.
    End,
}

/// What stands before the content of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Of the content. Bytes.
    pub(super) length: usize,
    /// What follows the content and means nothing. Bytes.
    pub(super) padding: usize,
}

impl Header {
    /// Reads the first bytes of a record.
    ///
    /// # Errors
    /// It is none, belongs to another request, or is not for a web server.
    pub(super) fn read(bytes: [u8; HEADER]) -> Result<Self, BadRecord> {
        let [version, kind, id_high, id_low, high, low, padding, _reserved] = bytes;
        let kind = match kind {
            STDOUT => Kind::Output,
            STDERR => Kind::Complaint,
            END_REQUEST => Kind::End,
            _ => return Err(BadRecord),
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if version != VERSION || [id_high, id_low] != REQUEST || (kind == Kind::End && length != 8)
        {
            return Err(BadRecord);
        }
        Ok(Self { kind, length, padding: usize::from(padding) })
    }
}

/// How a request ended, by its protocol (section 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Complete,
    /// The application took no request: it has enough of them.
    Refused,
    /// It is no responder, or something unknown.
    Unfit,
}

impl Ending {
    /// Reads the content of [`Kind::End`]; what the application's own code is means nothing here.
    pub(super) fn read(content: [u8; 8]) -> Self {
        match content[4] {
            0 => Self::Complete,
            1 | 2 => Self::Refused,
            _ => Self::Unfit,
        }
    }
}

/// Queues the beginning of a request to a responder that closes the connection at its end.
pub(super) fn begin(queue: &mut Vec<u8>) {
    const RESPONDER: [u8; 8] = [0, 1, 0, 0, 0, 0, 0, 0];
    one(queue, BEGIN_REQUEST, &RESPONDER);
}

/// Queues all parameters, and their end.
pub(super) fn parameters(queue: &mut Vec<u8>, pairs: &[u8]) {
    pairs.chunks(LARGEST).for_each(|chunk| one(queue, PARAMS, chunk));
    one(queue, PARAMS, &[]);
}

/// Queues some of the body; of nothing, nothing. Says how much that is. Bytes.
pub(super) fn body(queue: &mut Vec<u8>, data: &[u8]) -> usize {
    let data = data.get(..LARGEST).unwrap_or(data);
    if !data.is_empty() {
        one(queue, STDIN, data);
    }
    data.len()
}

/// Queues the end of the body.
pub(super) fn end_of_body(queue: &mut Vec<u8>) {
    one(queue, STDIN, &[]);
}

/// `content` is not longer than [`LARGEST`].
fn one(queue: &mut Vec<u8>, kind: u8, content: &[u8]) {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    queue.extend_from_slice(&[VERSION, kind, REQUEST[0], REQUEST[1], high, low, 0, 0]);
    queue.extend_from_slice(content);
}

/// Appends a pair of a name and a value (section 3.4).
pub(super) fn pair(pairs: &mut Vec<u8>, name: &[&[u8]], value: &[&[u8]]) {
    for parts in [name, value] {
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        match u8::try_from(length) {
            Ok(short @ 0..0x80) => pairs.push(short),
            _ => {
                // Both are parts of a head, or of an object of Kubernetes: some KiB.
                let long = u32::try_from(length).unwrap_or(u32::MAX) | 1 << 31;
                pairs.extend_from_slice(&long.to_be_bytes());
            }
        }
    }
    name.iter().chain(value).for_each(|part| pairs.extend_from_slice(part));
}
