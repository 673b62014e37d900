//! The headers that tell an upstream about its client (reference section 5.1). What the client sent
//! under these names is replaced or removed, so that an upstream can rely on them.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{Entry, HOST},
};

use super::origin::{
    Origin, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO,
};
use crate::proxy::client::Client;

const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_SCHEME: HeaderName = HeaderName::from_static("x-scheme");
const X_FORWARDED_SCHEME: HeaderName = HeaderName::from_static("x-forwarded-scheme");
const X_ORIGINAL_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-original-forwarded-for");
const X_ORIGINAL_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-original-forwarded-host");

pub(super) fn apply(headers: &mut HeaderMap, origin: Origin, client: &Client) {
    let Origin { address, forwarded_for, scheme, host, port } = origin;
    rename(headers, X_FORWARDED_FOR, X_ORIGINAL_FORWARDED_FOR);
    rename(headers, X_FORWARDED_HOST, X_ORIGINAL_FORWARDED_HOST);
    if headers.get(X_REQUEST_ID).is_none_or(HeaderValue::is_empty) {
        headers.insert(X_REQUEST_ID, request_id(client));
    }
    headers.insert(HOST, host.clone());
    headers.insert(X_REAL_IP, address);
    headers.insert(X_FORWARDED_FOR, forwarded_for);
    headers.insert(X_FORWARDED_HOST, host);
    headers.insert(X_FORWARDED_PORT, port);
    headers.insert(X_FORWARDED_PROTO, scheme.clone());
    headers.insert(X_FORWARDED_SCHEME, scheme.clone());
    headers.insert(X_SCHEME, scheme);
}

/// What came in under the one name goes out under the other, several values as one list; what came
/// in under the other does not.
fn rename(headers: &mut HeaderMap, from: HeaderName, to: HeaderName) {
    headers.remove(&to);
    if let Entry::Occupied(entry) = headers.entry(from) {
        let (_, mut values) = entry.remove_entry_mult();
        let first = values.next();
        let rest: Vec<_> = values.collect();
        let value = first.and_then(|first| {
            if rest.is_empty() {
                return Some(first);
            }
            let all: Vec<_> =
                std::iter::once(&first).chain(&rest).map(HeaderValue::as_bytes).collect();
            HeaderValue::from_bytes(&all.join(&b", "[..])).ok()
        });
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            headers.insert(to, value);
        }
    }
}

/// 32 hexadecimal digits, as nginx's `$request_id`. Tells requests apart; is no secret.
fn request_id(client: &Client) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let number = client.worker.random.borrow_mut().u128(..);
    let text: [u8; 32] = std::array::from_fn(|place| {
        let digit = (number >> (place * 4)) & 15;
        DIGITS[usize::try_from(digit).expect("four bits")]
    });
    HeaderValue::from_bytes(&text).expect("hexadecimal digits are visible ASCII")
}
