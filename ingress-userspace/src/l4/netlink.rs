//! What several parts ask the kernel over netlink.

use futures_util::TryStreamExt as _;
use rtnetlink::{
    Handle,
    packet_route::link::{LinkAttribute, LinkMessage, LinkXdp},
};

use super::L4Error;

/// A netlink connection that the current runtime drives.
pub(super) fn connect() -> Result<Handle, L4Error> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(L4Error::Netlink)?;
    tokio::spawn(connection);
    Ok(handle)
}

/// The name of an interface that runs one of these programs; `None` also where interfaces cannot be
/// listed.
pub(super) async fn interface_with(netlink: &Handle, programs: &[u32]) -> Option<String> {
    let mut links = Box::pin(netlink.link().get().execute());
    while let Ok(Some(link)) = links.try_next().await {
        if runs(&link, programs) {
            let name = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
            return Some(name.unwrap_or_else(|| format!("number {}", link.header.index)));
        }
    }
    None
}

fn runs(link: &LinkMessage, programs: &[u32]) -> bool {
    let xdp = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::Xdp(xdp) => Some(xdp),
        _ => None,
    });
    xdp.flatten().any(|attribute| match attribute {
        // The first is all three where only one of them is set.
        LinkXdp::ProgId(id)
        | LinkXdp::DrvProgId(id)
        | LinkXdp::SkbProgId(id)
        | LinkXdp::HwProgId(id) => programs.contains(id),
        _ => false,
    })
}
