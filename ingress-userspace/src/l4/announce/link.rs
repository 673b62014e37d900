//! The sockets of one interface, and what is asked and said there.

use std::{
    collections::BTreeSet,
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::AsRawFd as _,
    time::Duration,
};

use nix::{
    cmsg_space,
    errno::Errno,
    ifaddrs::getifaddrs,
    net::if_::InterfaceFlags,
    sys::socket::{
        ControlMessageOwned, LinkAddr, MsgFlags, SockaddrIn6, bind, recv, recvmsg, send,
        setsockopt, sockopt::Ipv6RecvHopLimit,
    },
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::{
    io::Interest,
    net::UdpSocket,
    sync::watch,
    time::{Instant, MissedTickBehavior},
};

use super::{Announced, Troubles, arp, discovery};

/// ARP, as `socket(2)` wants it: in the order of the packet.
const ETH_P_ARP: i32 = 0x0806_u16.to_be() as i32;
/// How often a new announcer says so, for any of it may be lost.
const TIMES: u8 = 3;
/// Between two of those.
const PAUSE: Duration = Duration::from_millis(500);
/// And so often it says so again, once: whoever was announcing meanwhile may have been heard last, and
/// a switch that learns its links anew passes nothing on for half a minute. The interface is looked
/// at as often.
const AGAIN: Duration = Duration::from_secs(10);
/// Messages that are read before something else has its turn.
const BATCH: usize = 64;

/// Lets solicitations alone through to the socket for neighbour discovery, so that nothing else of
/// ICMPv6 wakes the thread. A filter of classic BPF, which begins at ICMPv6's header, does the same as
/// `ICMP6_FILTER`, for which there is no safe call.
const SOLICITATIONS: [SockFilter; 4] = [
    // The type (BPF_LD | BPF_B | BPF_ABS).
    SockFilter::new(0x30, 0, 0, 0),
    // The next instruction, or the one behind it (BPF_JMP | BPF_JEQ | BPF_K).
    SockFilter::new(0x15, 0, 1, discovery::SOLICITATION as u32),
    // All of the message, or nothing (BPF_RET | BPF_K).
    SockFilter::new(0x06, 0, 0, u32::MAX),
    SockFilter::new(0x06, 0, 0, 0),
];

/// Why a link is served no longer.
pub(super) enum Ended {
    /// Nobody says any more what is announced.
    Unwanted,
    /// The interface has another address, or is another one.
    Changed,
}

/// An interface on which addresses are announced.
pub(super) struct Link {
    interface: String,
    index: u32,
    mac: [u8; 6],
    /// To the runtime one socket of datagrams is like another.
    arp: UdpSocket,
    /// `None` where the machine has no IPv6.
    discovery: Option<UdpSocket>,
    /// What is announced.
    announced: BTreeSet<IpAddr>,
    /// The groups that are joined.
    groups: BTreeSet<Ipv6Addr>,
}

impl Link {
    /// Opens the sockets of an interface.
    ///
    /// # Errors
    /// There is no such interface, it is down or not Ethernet, or the rights are missing.
    pub(super) fn open(interface: &str) -> io::Result<Self> {
        let (own, index, mac) = link_address(interface)?;
        let arp = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(ETH_P_ARP)))?;
        arp.set_nonblocking(true)?;
        // An address without a protocol leaves the socket's as it is.
        bind(arp.as_raw_fd(), &own)?;
        Ok(Self {
            interface: interface.to_owned(),
            index,
            mac,
            arp: UdpSocket::from_std(arp.into())?,
            discovery: discovery_socket(interface, index)?,
            announced: BTreeSet::new(),
            groups: BTreeSet::new(),
        })
    }

    /// Announces and answers, until nobody says any more what, or the interface is not what it was
    /// when it was opened.
    ///
    /// # Errors
    /// The interface went away or down.
    pub(super) async fn serve(
        &mut self,
        announced: &mut watch::Receiver<Announced>,
        troubles: &Troubles,
    ) -> io::Result<Ended> {
        // What is to be said, and how often still.
        let mut unsaid: Vec<(IpAddr, u8)> = Vec::new();
        let mut turns = tokio::time::interval(PAUSE);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut again = tokio::time::interval_at(Instant::now() + AGAIN, AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        announced.mark_changed();
        loop {
            tokio::select! {
                changed = announced.changed() => {
                    if changed.is_err() {
                        return Ok(Ended::Unwanted);
                    }
                    let now = announced.borrow_and_update().clone();
                    let another = now.steered.get(&self.interface).is_some_and(|at| *at != self.index);
                    // Or this one is newer, and its program is still to come.
                    if another && !self.is_current()? {
                        return Ok(Ended::Changed);
                    }
                    self.announced = now.on(&self.interface, self.index);
                    unsaid = self.announced.iter().map(|address| (*address, TIMES)).collect();
                    self.join();
                    // At once.
                    turns.reset_at(Instant::now());
                }
                _ = turns.tick(), if !unsaid.is_empty() => {
                    for (address, left) in &mut unsaid {
                        self.announce(*address)?;
                        *left -= 1;
                    }
                    // An advertisement that is not sent is no failure, and says nothing.
                    if unsaid.iter().any(|(address, _)| address.is_ipv4()) {
                        troubles.end(&self.interface);
                    }
                    unsaid.retain(|(_, left)| *left > 0);
                }
                _ = again.tick() => {
                    if !self.is_current()? {
                        return Ok(Ended::Changed);
                    }
                    troubles.end(&self.interface);
                    if unsaid.is_empty() {
                        unsaid = self.announced.iter().map(|address| (*address, 1)).collect();
                    }
                }
                ready = self.arp.readable() => {
                    ready?;
                    self.answer_arp()?;
                }
                ready = readable(&self.discovery) => {
                    ready?;
                    self.answer_discovery()?;
                }
            }
        }
    }

    /// Whether the interface has the number and the address that it had: the latter changes when a
    /// bond fails over, or somebody sets another.
    fn is_current(&self) -> io::Result<bool> {
        let (_, index, mac) = link_address(&self.interface)?;
        Ok((index, mac) == (self.index, self.mac))
    }

    /// Says where an address is from now on.
    fn announce(&self, address: IpAddr) -> io::Result<()> {
        let interface = &*self.interface;
        tracing::debug!(interface, %address, "announced");
        match address {
            IpAddr::V4(v4) => arp::announcements(v4, self.mac)
                .iter()
                .try_for_each(|frame| sent(send(self.arp.as_raw_fd(), frame, MsgFlags::empty()))),
            IpAddr::V6(v6) => {
                let message = discovery::advertisement(v6, self.mac, false);
                self.advertise(&message, discovery::ALL_NODES);
                Ok(())
            }
        }
    }

    /// Answers requests that wait.
    fn answer_arp(&self) -> io::Result<()> {
        let mut frame = [0; 128];
        for _ in 0..BATCH {
            let received = self.arp.try_io(Interest::READABLE, || {
                Ok(recv(self.arp.as_raw_fd(), &mut frame, MsgFlags::empty())?)
            });
            let length = match received {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let request = frame.get(..length).and_then(arp::Request::read);
            if let Some(request) = request
                && self.announced.contains(&request.target.into())
            {
                let answer = request.answer(self.mac);
                sent(send(self.arp.as_raw_fd(), &answer, MsgFlags::empty()))?;
            }
        }
        Ok(())
    }

    /// Answers solicitations that wait.
    fn answer_discovery(&self) -> io::Result<()> {
        let Some(socket) = &self.discovery else { return Ok(()) };
        let mut bytes = [0; 256];
        for _ in 0..BATCH {
            let received = socket.try_io(Interest::READABLE, || solicited(socket, &mut bytes));
            let (target, asker) = match received {
                Ok(Some((target, asker))) => (target, asker),
                Ok(None) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if !self.announced.contains(&target.into()) {
                continue;
            }
            if asker.is_unspecified() {
                // Somebody means to take the address (RFC 4862, section 5.4.3): all are told whose
                // it is.
                let message = discovery::advertisement(target, self.mac, false);
                self.advertise(&message, discovery::ALL_NODES);
            } else if !asker.is_multicast() {
                self.advertise(&discovery::advertisement(target, self.mac, true), asker);
            }
        }
        Ok(())
    }

    /// Sends an advertisement. One that cannot be sent is like one that is lost: it is asked for
    /// again.
    fn advertise(&self, message: &[u8], to: Ipv6Addr) {
        let Some(socket) = &self.discovery else { return };
        let to = SocketAddr::from(SocketAddrV6::new(to, 0, 0, self.index));
        if let Err(error) = socket.try_send_to(message, to) {
            let interface = &*self.interface;
            let error = &error as &dyn std::error::Error;
            tracing::debug!(interface, error, "an advertisement is not sent");
        }
    }

    /// Listens to what is asked of the addresses, and no longer to what is asked of others.
    fn join(&mut self) {
        let Some(socket) = &self.discovery else { return };
        let wanted: BTreeSet<Ipv6Addr> = self
            .announced
            .iter()
            .filter_map(|address| match address {
                IpAddr::V6(v6) => Some(discovery::group(*v6)),
                IpAddr::V4(_) => None,
            })
            .collect();
        for group in self.groups.difference(&wanted) {
            let _gone_with_its_interface = socket.leave_multicast_v6(group, self.index);
        }
        for group in wanted.difference(&self.groups) {
            if let Err(error) = socket.join_multicast_v6(group, self.index) {
                let (interface, error) = (&*self.interface, &error as &dyn std::error::Error);
                tracing::warn!(interface, %group, error, "solicitations are not heard");
            }
        }
        self.groups = wanted;
    }
}

/// Reads one message: what it asks for, and who asks; `None` if it is no solicitation of this link's.
fn solicited(socket: &UdpSocket, bytes: &mut [u8]) -> io::Result<Option<(Ipv6Addr, Ipv6Addr)>> {
    let mut control = cmsg_space!(i32);
    let mut parts = [IoSliceMut::new(bytes)];
    let message = recvmsg::<SockaddrIn6>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let hops = message.cmsgs()?.find_map(|one| match one {
        ControlMessageOwned::Ipv6HopLimit(hops) => u32::try_from(hops).ok(),
        _ => None,
    });
    let (length, asker) = (message.bytes, message.address.map(|asker| asker.ip()));
    let target = bytes.get(..length).and_then(discovery::asked);
    Ok(target.zip(asker).filter(|_| hops == Some(discovery::HOPS)))
}

/// Waits for ever where there is none.
async fn readable(socket: &Option<UdpSocket>) -> io::Result<()> {
    match socket {
        Some(socket) => socket.readable().await,
        None => std::future::pending().await,
    }
}

/// What the queue has no room for is like what is lost on the way.
fn sent(outcome: nix::Result<usize>) -> io::Result<()> {
    match outcome {
        Ok(_) | Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The interface's own address, which names it too; its number; and the address for itself.
///
/// # Errors
/// There is no such interface, it is down, or it is not Ethernet.
fn link_address(interface: &str) -> io::Result<(LinkAddr, u32, [u8; 6])> {
    let found = getifaddrs()?
        .filter(|found| found.interface_name == interface)
        .find_map(|found| Some((found.flags, *found.address?.as_link_addr()?)));
    let (flags, own) = found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    // Sockets can be opened there all the same, and then nothing be sent.
    if !flags.contains(InterfaceFlags::IFF_UP) {
        return Err(Errno::ENETDOWN.into());
    }
    let unusable = || io::Error::other(format!("{interface} has no Ethernet address"));
    let mac = own.addr().filter(|mac| own.halen() == 6 && *mac != [0; 6]);
    let mac = mac.ok_or_else(unusable)?;
    let index = u32::try_from(own.ifindex()).map_err(|_too_large| unusable())?;
    Ok((own, index, mac))
}

fn discovery_socket(interface: &str, index: u32) -> io::Result<Option<UdpSocket>> {
    let socket = match Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)) {
        Ok(socket) => socket,
        Err(error) if error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) => return Ok(None),
        Err(error) => return Err(error),
    };
    socket.attach_filter(&SOLICITATIONS)?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_hops_v6(discovery::HOPS)?;
    socket.set_unicast_hops_v6(discovery::HOPS)?;
    socket.set_multicast_loop_v6(false)?;
    setsockopt(&socket, Ipv6RecvHopLimit, &true)?;
    Ok(Some(UdpSocket::from_std(socket.into())?))
}
