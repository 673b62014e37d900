//! How answers are compressed.

use std::sync::Arc;

/// `use-gzip`, `enable-brotli` and what goes with them (reference section 9.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compression {
    /// `use-gzip`.
    pub gzip: Option<Coding>,
    /// `enable-brotli`. Precedes gzip where a client takes both alike.
    pub brotli: Option<Coding>,
}

/// When and how one coding is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coding {
    /// How hard is tried: 1 to 9 of gzip, 0 to 11 of Brotli.
    pub level: u32,
    /// The shortest answer that is worth it, where its length is known. Bytes.
    pub min_length: u64,
    /// Whose bodies are compressed, beside `text/html`.
    pub types: MediaTypes,
}

/// Media types, lower case, without parameters. `None`: any.
pub type MediaTypes = Option<Arc<[Arc<str>]>>;

/// A body of this `Content-Type` is of one of the types. `text/html` is among them always, as in
/// nginx.
#[must_use]
pub fn takes(types: &MediaTypes, content_type: &[u8]) -> bool {
    let end = content_type.iter().position(|byte| *byte == b';');
    let media = content_type.get(..end.unwrap_or(content_type.len())).unwrap_or_default();
    let media = media.trim_ascii();
    let is = |own: &str| own.as_bytes().eq_ignore_ascii_case(media);
    match types {
        _ if is("text/html") => true,
        None => !media.is_empty(),
        Some(types) => types.iter().any(|own| is(own)),
    }
}

impl Coding {
    /// Bodies of this `Content-Type` are compressed.
    #[must_use]
    pub fn takes(&self, content_type: &[u8]) -> bool {
        takes(&self.types, content_type)
    }
}
