//! The sockets that requests come in at: one per worker, address and port, sharing the port by
//! SO_REUSEPORT so that the kernel spreads connections and no lock is shared.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Listen;

/// Connections that may wait for a worker. The kernel caps it at net.core.somaxconn.
pub(crate) const BACKLOG: i32 = 4096;

/// The sockets of one worker.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) http: Vec<TcpListener>,
    pub(crate) https: Vec<TcpListener>,
}

/// Why a port cannot be listened on; what to do about it is in the message.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({flag}): {}", advice(source))]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// The flag that asked for it.
    pub flag: &'static str,
    /// What the system said.
    pub source: io::Error,
}

fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use by another process; stop that one or choose another port".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need the capability CAP_NET_BIND_SERVICE".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        _ => error.to_string(),
    }
}

/// Opens the sockets of all workers; ports of 0 become the kernel's choice, which is the same for
/// all of them. `segment` is the maximum segment size that they announce, where it has to be less
/// than the interface's. Bytes.
///
/// # Errors
/// [`ListenError`] for the first socket that cannot be opened.
pub(crate) fn open(
    listen: &Listen,
    workers: usize,
    segment: Option<u32>,
) -> Result<Vec<Sockets>, ListenError> {
    let open = |port, flag| open_port(&listen.addresses, port, workers, segment, flag);
    let http = open(listen.http_port, "--http-port")?;
    let https = open(listen.https_port, "--https-port")?;
    Ok(http.into_iter().zip(https).map(|(http, https)| Sockets { http, https }).collect())
}

/// Opens the sockets of all workers at the port of a TCP service; `ours`: sockets of this agent may
/// be there still.
///
/// # Errors
/// [`ListenError`]; nothing stays open then.
pub(crate) fn open_tcp(
    addresses: &[IpAddr],
    port: u16,
    workers: usize,
    segment: Option<u32>,
    ours: bool,
) -> Result<Vec<Vec<TcpListener>>, ListenError> {
    let kind = (Type::STREAM, Protocol::TCP);
    let flag = "--tcp-services-configmap";
    try_port(addresses, port, workers, kind, !ours, flag, |address| listen_on(address, segment))
}

/// The same for UDP.
///
/// # Errors
/// [`ListenError`]; nothing stays open then.
pub(crate) fn open_udp(
    addresses: &[IpAddr],
    port: u16,
    workers: usize,
    ours: bool,
) -> Result<Vec<Vec<UdpSocket>>, ListenError> {
    let kind = (Type::DGRAM, Protocol::UDP);
    let flag = "--udp-services-configmap";
    try_port(addresses, port, workers, kind, !ours, flag, |address| {
        let socket = bind(address, kind, true)?;
        // Which of this machine's addresses a datagram was sent to, so that the answer comes from
        // there.
        if address.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    })
}

fn open_port(
    addresses: &[IpAddr],
    port: u16,
    workers: usize,
    segment: Option<u32>,
    flag: &'static str,
) -> Result<Vec<Vec<TcpListener>>, ListenError> {
    // A port that is free on the first address may be taken on the second: then another one.
    let mut attempts = if port == 0 { 16 } else { 1 };
    loop {
        attempts -= 1;
        let kind = (Type::STREAM, Protocol::TCP);
        let open = |address| listen_on(address, segment);
        match try_port(addresses, port, workers, kind, true, flag, open) {
            Err(error) if attempts > 0 && error.source.kind() == io::ErrorKind::AddrInUse => {}
            outcome => return outcome,
        }
    }
}

/// What a socket is.
type SocketKind = (Type, Protocol);

/// A socket whose address can be asked for.
trait Bound {
    fn address(&self) -> io::Result<SocketAddr>;
}

impl Bound for TcpListener {
    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

impl Bound for UdpSocket {
    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

fn try_port<S: Bound>(
    addresses: &[IpAddr],
    mut port: u16,
    workers: usize,
    kind: SocketKind,
    probe: bool,
    flag: &'static str,
    open: impl Fn(SocketAddr) -> io::Result<S>,
) -> Result<Vec<Vec<S>>, ListenError> {
    let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let everywhere = addresses.is_empty();
    let mut sockets: Vec<Vec<S>> = (0..workers).map(|_| Vec::new()).collect();
    for address in if everywhere { &any[..] } else { addresses } {
        let refused =
            |port, source| ListenError { address: SocketAddr::new(*address, port), flag, source };
        // A second process with SO_REUSEPORT would share the port unnoticed and get half of the
        // connections; a plain bind first finds every other listener.
        match bind(SocketAddr::new(*address, port), kind, !probe) {
            Ok(probe) => drop(probe),
            // The machine may have no IPv6 at all; nobody asked for it by name.
            Err(error) if everywhere && address.is_ipv6() && no_family(&error) => continue,
            Err(error) => return Err(refused(port, error)),
        }
        for worker in &mut sockets {
            let socket =
                open(SocketAddr::new(*address, port)).map_err(|error| refused(port, error))?;
            port = socket.address().map_err(|error| refused(port, error))?.port();
            worker.push(socket);
        }
    }
    Ok(sockets)
}

fn no_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
        || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn bind(address: SocketAddr, kind: SocketKind, shared: bool) -> io::Result<Socket> {
    let (kind, protocol) = kind;
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // For UDP it would let anyone share the port.
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen_on(address: SocketAddr, segment: Option<u32>) -> io::Result<TcpListener> {
    let socket = bind(address, (Type::STREAM, Protocol::TCP), true)?;
    if let Some(segment) = segment {
        socket.set_tcp_mss(segment)?;
    }
    // Accepted sockets inherit it, which saves a system call for each connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Opens one socket that is not shared, for the admin port.
///
/// # Errors
/// [`ListenError`].
pub(crate) fn open_single(
    address: Option<IpAddr>,
    port: u16,
    flag: &'static str,
) -> Result<Vec<TcpListener>, ListenError> {
    let addresses: Vec<_> = address.into_iter().collect();
    let sockets = open_port(&addresses, port, 1, None, flag)?;
    Ok(sockets.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> Listen {
        Listen { addresses: vec![Ipv4Addr::LOCALHOST.into()], http_port: 0, https_port: 0 }
    }

    #[test]
    fn workers_share_one_port_that_the_kernel_picks() {
        let sockets = open(&loopback(), 3, None).expect("loopback is there");
        let ports: Vec<_> = sockets
            .iter()
            .flat_map(|sockets| &sockets.http)
            .map(|socket| socket.local_addr().expect("bound").port())
            .collect();
        assert_eq!(ports.len(), 3);
        assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]));
    }

    #[test]
    fn a_port_in_use_is_named_even_if_its_owner_would_share_it() {
        let first = open(&loopback(), 2, None).expect("loopback is there");
        let taken = first[0].http[0].local_addr().expect("bound");
        let again = Listen { http_port: taken.port(), ..loopback() };
        let error = open(&again, 1, None).expect_err("it is taken").to_string();
        assert!(error.contains(&taken.to_string()) && error.contains("--http-port"), "{error}");
        assert!(error.contains("in use"), "{error}");
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let address: IpAddr = "192.0.2.77".parse().expect("a literal");
        let listen = Listen { addresses: vec![address], ..loopback() };
        let error = open(&listen, 1, None).expect_err("not ours").to_string();
        assert!(error.contains("192.0.2.77") && error.contains("does not have"), "{error}");
    }
}
