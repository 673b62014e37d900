use std::rc::Rc;

use http::Method;

use super::Fields;
use crate::proxy::{access_log::Journal, counters::Timing, spans::Trace};

/// The version that a message came with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// HTTP/1.0, and whatever is older.
    Http10,
    /// HTTP/1.1, and later minor versions.
    #[default]
    Http11,
    /// HTTP/2.
    Http2,
}

/// How long a body is, as its message's head says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// There is none, not even an empty one.
    #[default]
    None,
    /// So many bytes.
    Exact(u64),
    /// Until its own end: chunked, the end of the stream, or that of the connection.
    Unknown,
}

/// The head of a request. Used again for the next one: [`clear`](Self::clear) keeps its room.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// The path and query as the client wrote them, beginning with `/`; `*` of OPTIONS; empty where
    /// the client wrote none.
    pub(crate) target: String,
    /// The host and port that the target names: of an absolute-form target, or `:authority`. Empty
    /// where there is none. Not yet checked.
    pub(crate) authority: String,
    /// The target as the client wrote it, where it was rewritten and will be asked for again.
    pub(crate) original: Option<String>,
    /// `:protocol` of an extended CONNECT (RFC 8441); empty otherwise.
    pub(crate) protocol: String,
    /// The fields, without pseudo-fields.
    pub(crate) fields: Fields,
    /// What follows.
    pub(crate) body: BodyLength,
    /// What is remembered for the access log or for spans, if one of them is to have this request.
    pub(crate) journal: Option<Rc<Journal>>,
    /// How long its parts take.
    pub(crate) timing: Timing,
    /// What a FastCGI application is told beside the fields; `None` for all others. Values may hold
    /// any bytes but NUL.
    pub(crate) parameters: Option<Box<Fields>>,
    /// The method that its client has proved a password for: a proof is good for one request, of
    /// which the page of an error is a part, whatever its own method.
    pub(crate) proved: Option<Box<str>>,
}

impl RequestHead {
    /// As if new, keeping its room.
    pub(crate) fn clear(&mut self) {
        self.method = Method::GET;
        self.version = Version::Http11;
        self.target.clear();
        self.authority.clear();
        self.original = None;
        self.protocol.clear();
        self.fields.clear();
        self.body = BodyLength::None;
        self.journal = None;
        self.parameters = None;
        self.proved = None;
    }

    /// Its part in a trace, where somebody takes spans.
    pub(crate) fn trace(&self) -> Option<&Trace> {
        self.journal.as_deref()?.trace.as_deref()
    }

    /// How long it would be over HTTP/1.1, as it came. Bytes.
    pub(crate) fn length_as_http1(&self) -> u32 {
        let line = self.method.as_str().len() + self.target.len() + "  HTTP/1.1\r\n".len();
        let host = match self.authority.len() {
            0 => 0,
            length => length + "host: \r\n".len(),
        };
        let fields = self.fields.iter().map(|field| field.name.len() + field.value.len() + 4);
        u32::try_from(line + host + fields.sum::<usize>() + 2).unwrap_or(u32::MAX)
    }

    /// The target's path, without query.
    pub(crate) fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The target's query, without `?`.
    pub(crate) fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }
}

/// The head of an answer. Used again like [`RequestHead`].
#[derive(Clone, Debug, Default)]
pub(crate) struct ResponseHead {
    /// 100 to 999.
    pub(crate) status: u16,
    /// What an HTTP/1 upstream wrote after the status; empty: the usual words.
    pub(crate) reason: Vec<u8>,
    pub(crate) fields: Fields,
    /// What follows. `None` also where the request or status rules a body out (HEAD, 204, 304):
    /// `Content-Length` then says what there would have been.
    pub(crate) body: BodyLength,
}

impl ResponseHead {
    /// As if new, keeping its room.
    pub(crate) fn clear(&mut self) {
        self.status = 0;
        self.reason.clear();
        self.fields.clear();
        self.body = BodyLength::None;
    }

    /// 1xx: another head follows.
    pub(crate) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}
