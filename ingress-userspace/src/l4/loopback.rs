//! Virtual addresses on the loopback interface: what makes the stack take packets for them, and
//! answer from them, on every node.
//!
//! An address that was there before is left there in the end. What was added is remembered as a
//! directory beside the pins (`lo-<address in hex>`), because it has to outlive the agent.

use std::{fs, io, net::IpAddr, path::Path};

use futures_util::TryStreamExt as _;
use nix::{errno::Errno, net::if_::if_nametoindex};
use rtnetlink::{
    Handle,
    packet_route::address::{AddressAttribute, AddressMessage},
};

use super::{
    L4Error,
    directory::{directory_error, entries},
};

/// Adds the addresses that are missing and removes those that were added and are no longer named.
///
/// # Errors
/// [`L4Error::VirtualAddress`].
pub(super) async fn ensure(
    netlink: &Handle,
    directory: &Path,
    addresses: &[IpAddr],
) -> Result<(), L4Error> {
    if let Some((_, error)) = add(netlink, directory, addresses).await.into_iter().next() {
        return Err(error);
    }
    remove_except(netlink, directory, addresses).await
}

/// Adds the addresses that are missing. Those that could not be added, and why: one does not keep
/// the others out.
pub(super) async fn add(
    netlink: &Handle,
    directory: &Path,
    addresses: &[IpAddr],
) -> Vec<(IpAddr, L4Error)> {
    let present: Vec<IpAddr> = list(netlink).await.iter().filter_map(address_of).collect();
    let mut failed = Vec::new();
    for address in addresses.iter().filter(|address| !present.contains(address)) {
        if let Err(error) = add_one(netlink, directory, *address).await {
            failed.push((*address, error));
        }
    }
    failed
}

async fn add_one(netlink: &Handle, directory: &Path, address: IpAddr) -> Result<(), L4Error> {
    // First that it is ours: should this process end here, it can still be taken away.
    let marker = directory.join(marker(address));
    let remembered = match fs::create_dir(&marker) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(directory_error(&marker, "created")(error)),
    };
    let length = if address.is_ipv4() { 32 } else { 128 };
    let added = netlink.address().add(loopback(), address, length).execute().await;
    if added.is_err() && remembered {
        fs::remove_dir(&marker).map_err(directory_error(&marker, "removed"))?;
    }
    match added {
        Ok(()) => {
            tracing::info!(%address, "added the virtual address to the loopback interface");
            Ok(())
        }
        // Somebody was faster, and it is theirs.
        Err(error) if is(&error, Errno::EEXIST) => Ok(()),
        Err(source) => Err(L4Error::VirtualAddress { address, action: "added to", source }),
    }
}

/// Removes the addresses that were added, except these.
///
/// # Errors
/// [`L4Error::VirtualAddress`].
pub(super) async fn remove_except(
    netlink: &Handle,
    directory: &Path,
    keep: &[IpAddr],
) -> Result<(), L4Error> {
    let present = list(netlink).await;
    for path in entries(directory) {
        let Some(address) = path.file_name().and_then(|name| parse_marker(&name.to_string_lossy()))
        else {
            continue;
        };
        if keep.contains(&address) {
            continue;
        }
        if let Some(message) = present.iter().find(|found| address_of(found) == Some(address)) {
            match netlink.address().del(message.clone()).execute().await {
                Ok(()) => tracing::info!(%address, "removed the virtual address"),
                Err(error) if is(&error, Errno::EADDRNOTAVAIL) => {}
                Err(source) => {
                    let action = "removed from";
                    return Err(L4Error::VirtualAddress { address, action, source });
                }
            }
        }
        fs::remove_dir(&path).map_err(|source| L4Error::Directory {
            path: path.clone(),
            action: "removed",
            source,
        })?;
    }
    Ok(())
}

/// Remembers in `to` what is remembered in `from`: whoever takes the place of another takes its
/// addresses away in the end.
///
/// # Errors
/// [`L4Error::Directory`].
pub(super) fn adopt(from: &Path, to: &Path) -> Result<(), L4Error> {
    for path in entries(from) {
        let Some(name) = path.file_name() else { continue };
        if parse_marker(&name.to_string_lossy()).is_none() {
            continue;
        }
        let marker = to.join(name);
        if !marker.exists() {
            fs::create_dir(&marker).map_err(directory_error(&marker, "created"))?;
        }
    }
    Ok(())
}

/// The loopback interface's index: 1 in every network namespace, unless somebody was inventive.
fn loopback() -> u32 {
    if_nametoindex("lo").unwrap_or(1)
}

async fn list(netlink: &Handle) -> Vec<AddressMessage> {
    netlink
        .address()
        .get()
        .set_link_index_filter(loopback())
        .execute()
        .try_collect()
        .await
        .unwrap_or_default()
}

fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    })
}

fn is(error: &rtnetlink::Error, errno: Errno) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(message)
        if message.to_io().raw_os_error() == Some(errno as i32))
}

fn marker(address: IpAddr) -> String {
    let octets = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("lo-{hex}")
}

fn parse_marker(name: &str) -> Option<IpAddr> {
    let hex = name.strip_prefix("lo-")?;
    match hex.len() {
        8 => u32::from_str_radix(hex, 16).ok().map(|bits| IpAddr::V4(bits.into())),
        32 => u128::from_str_radix(hex, 16).ok().map(|bits| IpAddr::V6(bits.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_names_its_address() {
        for text in ["203.0.113.9", "0.0.0.0", "2001:db8::9", "::1"] {
            let address: IpAddr = text.parse().expect("a literal address");
            assert_eq!(parse_marker(&marker(address)), Some(address));
        }
        assert_eq!(parse_marker("link-eth0-native"), None);
        assert_eq!(parse_marker("lo-zz"), None);
    }
}
