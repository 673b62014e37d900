//! Single datagrams, with the address of this machine that they were sent to.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd as _,
};

use nix::{
    libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrLike as _, SockaddrStorage, recvmsg,
        sendmsg,
    },
};
use tokio::net::UdpSocket;

use super::table::Key;

/// No datagram is larger. Bytes.
pub(super) const LARGEST: usize = 65_535;

/// One datagram: its length, its sender, and the address that it was sent to.
pub(super) fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
    let mut control = nix::cmsg_space!(in6_pktinfo);
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::empty();
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    let local = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::V4(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes())))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)))
        }
        _ => None,
    });
    let client = message.address.as_ref().and_then(address);
    let client = client.ok_or_else(|| io::Error::other("a datagram without sender"))?;
    Ok((message.bytes, client, local))
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if storage.family()? == nix::sys::socket::AddressFamily::Inet6 {
        let address = storage.as_sockaddr_in6()?;
        return Some(std::net::SocketAddrV6::from(*address).into());
    }
    storage.as_sockaddr_in().map(|address| std::net::SocketAddrV4::from(*address).into())
}

/// Sends an answer to a session's client, from the address that the client sent to.
pub(super) fn reply(socket: &UdpSocket, key: Key, datagram: &[u8]) -> io::Result<()> {
    let (v4, v6);
    let control = match key.local {
        Some(IpAddr::V4(local)) => {
            let nowhere = in_addr { s_addr: 0 };
            let from = in_addr { s_addr: u32::from_ne_bytes(local.octets()) };
            v4 = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: from, ipi_addr: nowhere };
            Some(ControlMessage::Ipv4PacketInfo(&v4))
        }
        Some(IpAddr::V6(local)) => {
            let from = in6_addr { s6_addr: local.octets() };
            v6 = in6_pktinfo { ipi6_addr: from, ipi6_ifindex: 0 };
            Some(ControlMessage::Ipv6PacketInfo(&v6))
        }
        None => None,
    };
    sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(datagram)],
        control.as_slice(),
        MsgFlags::empty(),
        Some(&SockaddrStorage::from(key.client)),
    )?;
    Ok(())
}
