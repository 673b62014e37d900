//! Where connections may come in, what names are looked up for, and how long an end may take
//! (reference section 9.1).

use std::{net::IpAddr, sync::Arc};

use super::{Config, Reader};
use crate::{
    model::Denial,
    translate::{annotations::Invalid, quantity::time},
};

impl Reader<'_, '_> {
    pub(super) fn listen(&mut self, config: &mut Config) {
        let mut ipv6_off = false;
        self.boolean("disable-ipv6", &mut ipv6_off);
        config.settings.doors.ipv6 = !ipv6_off;
        let mut dns_off = false;
        self.boolean("disable-ipv6-dns", &mut dns_off);
        config.settings.ipv6_names = !dns_off;
        self.value("worker-shutdown-timeout", &mut config.settings.drain, |value| {
            time(value).map(Some).map_err(|_of_a_time| Invalid("a time such as 240s or 4m"))
        });
        // What was to be closed must not be open because of a typing error.
        let Some(list) = self.get("bind-address").filter(|list| !list.is_empty()) else { return };
        let parsed = super::list(list)
            .into_iter()
            .map(|item| item.parse::<IpAddr>().map_err(|_no_address| item));
        match parsed.collect::<Result<Vec<_>, _>>() {
            Ok(addresses) => config.settings.doors.addresses = Arc::from(addresses),
            Err(item) => {
                let message = format!("`{item}` is no address; everything answers 503");
                self.report.error("data.bind-address", message);
                config.denial.get_or_insert_with(|| Denial { key: Arc::from("bind-address") });
            }
        }
    }
}
