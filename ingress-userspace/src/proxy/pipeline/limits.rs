//! How much one client may have (reference section 1.5): step 9.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use super::{explain, stages::Located};
use crate::{
    model::{LimitKey, Limits, Policies},
    proxy::{
        access_log::Limited,
        client::Client,
        limits::{Rejected, Slot},
        message::RequestHead,
    },
};

/// Counts the request. Its slot is free again when the answer has ended; `Err`: it is turned away with this
/// status.
pub(super) fn admit(
    client: &Client,
    head: &RequestHead,
    located: &Located<'_>,
    policies: &Arc<Policies>,
    limits: &Limits,
) -> Result<Option<Slot>, u16> {
    let address = located.origin.ip.to_canonical();
    if limits.exempt.iter().any(|range| range.contains(address)) {
        return Ok(None);
    }
    let octets;
    let key: Cow<'_, [u8]> = match (&limits.key, address) {
        (LimitKey::Address, IpAddr::V4(address)) => {
            octets = address.octets();
            Cow::Borrowed(&octets)
        }
        (LimitKey::Address, IpAddr::V6(address)) => Cow::Owned(address.octets().to_vec()),
        (LimitKey::Text(text), _) => Cow::Owned(located.seen(client, head).text(text)),
    };
    // As NGINX: without a key there is no limit.
    if key.is_empty() {
        return Ok(None);
    }
    let access = &client.worker.zones;
    let zones = access.zones(&located.route.ingress, policies);
    if client.is_trial() {
        let admitted = zones.would_admit(limits, &key, access.now());
        explain::limits(client, admitted);
        return admitted.map(|()| None).map_err(|rejected| status(limits, rejected));
    }
    let admitted = zones.admit(limits, &key, access.now());
    if let Some(journal) = &head.journal {
        let rejected = admitted.as_ref().err();
        let of = |exists: bool, rejects: bool| {
            exists.then_some(if rejects { Limited::Rejected } else { Limited::Passed })
        };
        let by_rate = matches!(rejected, Some(Rejected::Requests));
        let requests = limits.per_second.is_some() || limits.per_minute.is_some();
        // Connections are counted after requests, and not at all of one that is turned away.
        journal.limits(
            of(requests, by_rate),
            of(limits.connections.is_some() && !by_rate, rejected.is_some()),
        );
    }
    admitted.map_err(|rejected| {
        client.worker.counters.limited(rejected);
        tracing::debug!(?rejected, client.address = %located.origin.address, "turned away");
        status(limits, rejected)
    })
}

fn status(limits: &Limits, rejected: Rejected) -> u16 {
    match rejected {
        Rejected::Requests => limits.request_status,
        Rejected::Connections => limits.connection_status,
    }
}
