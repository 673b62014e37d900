//! Connections of clients and to endpoints, and who is believed about a client's address
//! (reference sections 5.2, 5.4 and 9.1).

use std::sync::Arc;

use super::Reader;
use crate::{
    model::{AddressRange, ClientAddress, ClientLimits, UpstreamPool},
    translate::{
        annotations::Invalid,
        quantity::{optional_seconds, seconds, size, time, whole},
    },
};

/// What one buffer of a connection holds, and therefore all of a head. Bytes.
const BUFFER: usize = 32 * 1024;

impl Reader<'_, '_> {
    /// What clients' connections may do.
    pub(super) fn client(&mut self) -> ClientLimits {
        let mut limits = ClientLimits::default();
        self.boolean("use-http2", &mut limits.http2);
        self.value("keep-alive", &mut limits.keep_alive, optional_seconds);
        self.value("keep-alive-requests", &mut limits.keep_alive_requests, count);
        self.value("client-header-timeout", &mut limits.header_timeout, seconds);
        self.value("client-body-timeout", &mut limits.body_timeout, seconds);
        let mut buffers = (4, limits.header_line as u64);
        self.value("large-client-header-buffers", &mut buffers, |value| {
            let (number, each) = value.split_once(' ').ok_or(BUFFERS)?;
            let number = whole(number).filter(|number| *number > 0).ok_or(BUFFERS)?;
            let each = size(each.trim_start()).map_err(|_of_a_size| BUFFERS)?;
            if each < 512 { Err(BUFFERS) } else { Ok((number, each)) }
        });
        let (number, each) = buffers;
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let total = bytes(number.saturating_mul(each));
        if total > BUFFER {
            let message = "is more than 32 KiB in all; a head may have 32 KiB";
            self.report.warning("data.large-client-header-buffers", message);
        }
        limits.header_line = bytes(each).min(BUFFER);
        limits.header_total = total.min(BUFFER);
        self.value("http2-max-concurrent-streams", &mut limits.http2_streams, count);
        limits
    }

    /// What becomes of connections to endpoints after a request.
    pub(super) fn pool(&mut self) -> UpstreamPool {
        let mut pool = UpstreamPool::default();
        self.value("upstream-keepalive-connections", &mut pool.connections, |value| {
            let number = whole(value).and_then(|number| usize::try_from(number).ok());
            number.filter(|number| *number <= 1_000_000).ok_or(Invalid("a number up to 1000000"))
        });
        self.value("upstream-keepalive-timeout", &mut pool.timeout, seconds);
        self.value("upstream-keepalive-requests", &mut pool.requests, count);
        self.value("upstream-keepalive-time", &mut pool.time, time);
        pool
    }

    /// Where a client's address is taken from.
    pub(super) fn address(&mut self) -> ClientAddress {
        let mut address = ClientAddress::default();
        self.boolean("enable-real-ip", &mut address.real_ip);
        self.value("forwarded-for-header", &mut address.field, |value| {
            let valid = super::fields::is_token(value);
            valid.then(|| value.into()).ok_or(Invalid("the name of a header"))
        });
        // To trust everyone where the operator trusts a few would let clients forge addresses.
        if let Some(value) = self.get("proxy-real-ip-cidr").filter(|value| !value.is_empty()) {
            address.trusted = ranges(value).unwrap_or_else(|item| {
                let message = format!(
                    "`{item}` is no address or range like 10.0.0.0/8; no one is trusted, and \
                     forwarded headers are ignored"
                );
                self.report.error("data.proxy-real-ip-cidr", message);
                Arc::default()
            });
        }
        address
    }
}

const BUFFERS: Invalid = Invalid("a number and a size of 512 bytes or more, like `4 8k`");

/// A whole number above zero.
fn count(value: &str) -> Result<u32, Invalid> {
    let number = whole(value).and_then(|number| u32::try_from(number).ok());
    number.filter(|number| *number > 0).ok_or(Invalid("a whole number from 1"))
}

/// A comma list of ranges; the error is the first item that is none.
fn ranges(value: &str) -> Result<Arc<[AddressRange]>, &str> {
    let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| AddressRange::parse(item).ok_or(item)).collect()
}
