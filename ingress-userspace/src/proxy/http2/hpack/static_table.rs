//! The static table (RFC 7541, appendix A).

use super::Kind;
use crate::proxy::message::Known;

/// How many entries it has; the first has index 1.
pub(super) const LENGTH: usize = 61;

/// Names and values.
const TEXTS: [(&str, &str); LENGTH] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// An entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) value: &'static str,
    pub(super) kind: Kind,
}

static ENTRIES: [Entry; LENGTH] = {
    let mut entries = [Entry { name: "", value: "", kind: Kind::Malformed }; LENGTH];
    let mut at = 0;
    while at < LENGTH {
        let (name, value) = TEXTS[at];
        entries[at] = Entry { name, value, kind: Kind::of_static(name) };
        at += 1;
    }
    entries
};

/// The entry of this index, which is 1 at least.
pub(super) fn get(index: usize) -> Option<&'static Entry> {
    ENTRIES.get(index.checked_sub(1)?)
}

/// The index of an entry with the name of each known field; 0: there is none.
static INDICES: [u8; Known::ALL.len()] = {
    let mut indices = [0; Known::ALL.len()];
    let mut at = LENGTH;
    while at > 0 {
        at -= 1;
        if let Kind::Field(Some(known)) = Kind::of_static(TEXTS[at].0) {
            indices[known as usize] = at as u8 + 1;
        }
    }
    indices
};

/// The index of an entry with this name; 0: there is none.
pub(super) fn index_of(known: Known) -> usize {
    INDICES.get(known as usize).copied().unwrap_or(0).into()
}
