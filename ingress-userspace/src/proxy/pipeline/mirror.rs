//! Copies of requests (reference section 1.7): step 11, after everything that could refuse the
//! request.

use std::net::SocketAddr;

use super::stages::Located;
use crate::{
    model::{Mirror, MirrorHost},
    names::{Known as KnownName, Names},
    proxy::{
        client::Client,
        counters::Copied,
        message::{BodyLength, Known, RequestHead},
        mirror::Copy,
    },
};

/// The copy of a request that is ready for its upstream, if it waits for the request's body; one
/// that waits for nothing is on its way.
pub(super) fn copy(
    client: &Client,
    head: &RequestHead,
    located: &Located<'_>,
    names: &Names,
    mirror: &Mirror,
) -> Option<Box<Copy>> {
    let worker = &client.worker;
    let (Some(address), Some(copy)) =
        (address(client, names, mirror), rewritten(client, head, located, mirror))
    else {
        worker.counters.mirrored(Copied::Dropped);
        return None;
    };
    let waits = copy.body != BodyLength::None;
    let copy = Copy::new(worker, copy, address, &mirror.proxying)?;
    if waits {
        return Some(copy);
    }
    copy.send(b"");
    None
}

/// One of the addresses of the target.
fn address(client: &Client, names: &Names, mirror: &Mirror) -> Option<SocketAddr> {
    let ip = match &mirror.to {
        MirrorHost::Address(ip) => *ip,
        MirrorHost::Name(name) => match names.get(name)? {
            KnownName::Addresses { addresses, .. } => {
                *addresses.get(client.worker.random.borrow_mut().usize(..addresses.len().max(1)))?
            }
            KnownName::Nothing(_) => return None,
        },
    };
    Some(SocketAddr::new(ip, mirror.port))
}

/// The head as the target gets it. `None`: with this request's variables it would be none.
fn rewritten(
    client: &Client,
    head: &RequestHead,
    located: &Located<'_>,
    mirror: &Mirror,
) -> Option<RequestHead> {
    let is_harmless = |text: &str| text.bytes().all(|byte| byte > b' ' && byte != 0x7F);
    let seen = located.seen(client, head);
    let mut target = String::from_utf8(seen.text(&mirror.target)).ok()?;
    let host = String::from_utf8(seen.text(&mirror.host)).ok()?;
    if !is_harmless(&target) || !is_harmless(&host) || host.is_empty() {
        return None;
    }
    if !target.starts_with('/') {
        target.insert(0, '/');
    }
    let mut copy = RequestHead {
        method: head.method.clone(),
        target,
        fields: head.fields.clone(),
        body: if mirror.body { head.body } else { BodyLength::None },
        ..RequestHead::default()
    };
    copy.fields.set(Known::Host, host.as_bytes());
    // A copy that becomes another protocol could not be read to its end.
    copy.fields.remove(Known::Upgrade);
    copy.fields.remove(Known::Connection);
    Some(copy)
}
