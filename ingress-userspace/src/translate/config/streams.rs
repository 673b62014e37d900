//! The PROXY protocol, the number of connections, and TCP and UDP services (reference sections 5.3
//! and 9.1).

use std::time::Duration;

use super::Reader;
use crate::{
    model::{Settings, StreamSettings},
    translate::{
        annotations::Invalid,
        quantity::{time, whole},
    },
};

impl Reader<'_, '_> {
    /// What is done before HTTP or TLS.
    pub(super) fn arrivals(&mut self, settings: &mut Settings) {
        self.boolean("use-proxy-protocol", &mut settings.proxy_protocol);
        self.value("proxy-protocol-header-timeout", &mut settings.proxy_protocol_timeout, time);
        self.value("max-worker-connections", &mut settings.max_connections, |value| {
            whole(value).ok_or(NUMBER)
        });
    }

    /// How TCP and UDP services are passed on.
    pub(super) fn streams(&mut self) -> StreamSettings {
        let mut stream = StreamSettings::default();
        self.value("proxy-stream-timeout", &mut stream.timeout, time);
        self.boolean("proxy-stream-next-upstream", &mut stream.next_upstream);
        let place = &mut stream.next_upstream_timeout;
        self.value("proxy-stream-next-upstream-timeout", place, time_or_none);
        self.value("proxy-stream-next-upstream-tries", &mut stream.next_upstream_tries, number);
        self.value("proxy-stream-responses", &mut stream.responses, number);
        stream
    }
}

const NUMBER: Invalid = Invalid("a number, 0 or more");

fn number(value: &str) -> Result<u32, Invalid> {
    whole(value).and_then(|number| u32::try_from(number).ok()).ok_or(NUMBER)
}

/// A time of nginx, of which zero stands for none.
fn time_or_none(value: &str) -> Result<Duration, Invalid> {
    match value {
        "0" | "0s" => Ok(Duration::ZERO),
        value => time(value),
    }
}
