//! `denylist-source-range`, `allowlist-source-range`, `whitelist-source-range` (reference section
//! 1.3).

use super::{Parser, value::Invalid};
use crate::model::{AddressRange, Sources};

pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Option<Sources> {
    let denied = ranges(parser, "denylist-source-range");
    // The second name counts where the first is absent. Empty, either would let everybody in whom
    // its author meant to keep out; ingress-nginx does so with the second.
    let key = "allowlist-source-range";
    let allowed = if parser.values.get(key).is_some() {
        ranges(parser, key)
    } else {
        ranges(parser, "whitelist-source-range")
    };
    let global = &parser.config.sources;
    let sources = Sources {
        denied: denied.unwrap_or_else(|| global.denied.clone()),
        allowed: allowed.unwrap_or_else(|| global.allowed.clone()),
    };
    if sources != Sources::default() {
        return Some(sources);
    }
    // Who is blocked everywhere is not where something else says who may come.
    let denied = parser.config.blocked.clone();
    (!denied.is_empty()).then(|| Sources { denied, ..Sources::default() })
}

fn ranges(parser: &mut Parser<'_, '_>, key: &str) -> Option<Box<[AddressRange]>> {
    parser.refusing(key, list)
}

/// A comma list of ranges, of one at least.
pub(in crate::translate) fn list(value: &str) -> Result<Box<[AddressRange]>, Invalid> {
    const EXPECTED: Invalid = Invalid("a comma list of addresses and ranges like 10.0.0.0/8");
    let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
    let ranges: Option<Box<[_]>> = items.map(AddressRange::parse).collect();
    ranges.filter(|ranges| !ranges.is_empty()).ok_or(EXPECTED)
}
