//! `limit-rps`, `limit-rpm`, `limit-burst-multiplier`, `limit-connections`, `limit-allowlist`,
//! `limit-whitelist` (reference section 1.5). `limit-rate` is with proxying.

use std::num::NonZeroU32;

use super::{Parser, sources, value::Invalid};
use crate::{
    model::{AddressRange, Limits, RequestRate},
    translate::quantity::whole,
};

pub(super) fn parse(parser: &mut Parser<'_, '_>) -> Option<Limits> {
    let per_second = parser.refusing("limit-rps", most).flatten();
    let per_minute = parser.refusing("limit-rpm", most).flatten();
    let connections = parser.refusing("limit-connections", most).flatten();
    let exempt = exempt(parser);
    let multiplier = parser.dropping("limit-burst-multiplier", |value| {
        let number = most(value).ok().flatten();
        number.ok_or(Invalid("a whole number from 1"))
    });
    let multiplier = multiplier.map_or(5, u32::from);
    let none = per_second.is_none() && per_minute.is_none() && connections.is_none();
    if none {
        // Who wrote them meant to limit something.
        for key in ["limit-burst-multiplier", "limit-allowlist", "limit-whitelist"] {
            if parser.values.get(key).is_some() {
                let message = "has no effect without limit-rps, limit-rpm and limit-connections";
                parser.warn(key, message);
            }
        }
        return None;
    }
    let rate = |most: NonZeroU32, seconds| {
        RequestRate::new(most.get(), seconds, u64::from(most.get()) * u64::from(multiplier))
    };
    let keys = &parser.config.limits;
    Some(Limits {
        per_second: per_second.map(|most| rate(most, 1)),
        per_minute: per_minute.map(|most| rate(most, 60)),
        connections,
        exempt,
        key: keys.key.clone(),
        request_status: keys.request_status,
        connection_status: keys.connection_status,
    })
}

/// A whole number; zero and below are no limit, as in ingress-nginx, and more than 2^32 is as many.
fn most(value: &str) -> Result<Option<NonZeroU32>, Invalid> {
    let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
    let number = whole(digits).ok_or(Invalid("a whole number; 0 is no limit"))?;
    let number = if value.starts_with('-') { 0 } else { number };
    Ok(NonZeroU32::new(u32::try_from(number).unwrap_or(u32::MAX)))
}

/// The second name counts where the first is absent or empty.
fn exempt(parser: &mut Parser<'_, '_>) -> Box<[AddressRange]> {
    let is_empty = |value: &str| value.trim_matches([',', ' ', '\n']).is_empty();
    let key = ["limit-allowlist", "limit-whitelist"]
        .into_iter()
        .find(|key| parser.values.get(key).is_some_and(|value| !is_empty(value)));
    key.and_then(|key| parser.refusing(key, sources::list)).unwrap_or_default()
}
