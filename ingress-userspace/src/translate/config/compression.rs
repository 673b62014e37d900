//! `use-gzip`, `enable-brotli` and what goes with them (reference section 9.1).

use std::sync::Arc;

use super::Reader;
use crate::{
    model::{Coding, Compression, MediaTypes},
    translate::{annotations::Invalid, quantity::whole},
};

/// ingress-nginx's default for both codings.
const TYPES: &str = "application/atom+xml application/javascript application/x-javascript \
                     application/json application/rss+xml application/vnd.ms-fontobject \
                     application/x-font-ttf application/x-web-app-manifest+json \
                     application/xhtml+xml application/xml font/opentype image/svg+xml \
                     image/x-icon text/css text/javascript text/plain text/x-component";

impl Reader<'_, '_> {
    /// How answers are compressed; `None`: they are not.
    pub(super) fn compression(&mut self) -> Option<Arc<Compression>> {
        let (mut gzip, mut brotli) = (false, false);
        self.boolean("use-gzip", &mut gzip);
        self.boolean("enable-brotli", &mut brotli);
        // All are read, so that all that is wrong is told.
        let types: MediaTypes = types(TYPES).unwrap_or_default();
        let mut own = Coding { level: 1, min_length: 256, types: types.clone() };
        self.value("gzip-level", &mut own.level, |value| {
            level(value, 1..=9).ok_or(Invalid("a whole number from 1 to 9"))
        });
        self.value("gzip-min-length", &mut own.min_length, length);
        self.value("gzip-types", &mut own.types, types_of);
        let gzip = gzip.then_some(own);
        let mut own = Coding { level: 4, min_length: 20, types };
        self.value("brotli-level", &mut own.level, |value| {
            level(value, 0..=11).ok_or(Invalid("a whole number from 0 to 11"))
        });
        self.value("brotli-min-length", &mut own.min_length, length);
        self.value("brotli-types", &mut own.types, types_of);
        let brotli = brotli.then_some(own);
        let compression = Compression { gzip, brotli };
        (compression != Compression::default()).then(|| Arc::new(compression))
    }
}

fn level(value: &str, allowed: std::ops::RangeInclusive<u32>) -> Option<u32> {
    let level = u32::try_from(whole(value)?).ok()?;
    allowed.contains(&level).then_some(level)
}

fn length(value: &str) -> Result<u64, Invalid> {
    whole(value).ok_or(Invalid("a number of bytes"))
}

fn types_of(value: &str) -> Result<MediaTypes, Invalid> {
    types(value).ok_or(Invalid("media types with spaces between them, or `*`"))
}

/// Media types with spaces between them. A `*` among them stands for all.
pub(in crate::translate) fn types(value: &str) -> Option<MediaTypes> {
    let is_media = |item: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_allowed);
        item.split_once('/').is_some_and(|(kind, rest)| is_part(kind) && is_part(rest))
    };
    let items: Vec<_> = value.split_ascii_whitespace().collect();
    if items.contains(&"*") {
        return Some(None);
    }
    let valid = !items.is_empty() && items.iter().all(|item| is_media(item));
    valid.then(|| Some(items.iter().map(|item| item.to_ascii_lowercase().into()).collect()))
}
