//! Waiting for sockets: epoll, level-triggered.

use std::{net::SocketAddr, os::fd::AsFd, time::Duration};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};
use socket2::{Domain, Protocol, Socket, Type};

/// Waits for many sockets, each of which has a number.
pub(crate) struct Poll {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

/// What to wait for on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Bytes to read, or the end.
    Read,
    /// Room to write.
    Write,
}

impl Interest {
    fn event(self, token: usize) -> EpollEvent {
        let flags = match self {
            Self::Read => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP,
            Self::Write => EpollFlags::EPOLLOUT,
        };
        EpollEvent::new(flags, token as u64)
    }
}

impl Poll {
    pub(crate) fn new() -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("epoll_create1")?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); 512] })
    }

    pub(crate) fn add(&self, socket: impl AsFd, token: usize, interest: Interest) -> Result<()> {
        self.epoll.add(socket, interest.event(token)).context("epoll_ctl")
    }

    pub(crate) fn change(&self, socket: impl AsFd, token: usize, interest: Interest) -> Result<()> {
        self.epoll.modify(socket, &mut interest.event(token)).context("epoll_ctl")
    }

    /// The numbers of the sockets that are ready, into `ready`. None where nothing was for so long.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<usize>) -> Result<()> {
        ready.clear();
        let timeout = match timeout {
            None => EpollTimeout::NONE,
            Some(time) => EpollTimeout::try_from(time).unwrap_or(EpollTimeout::MAX),
        };
        match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => {
                ready.extend(self.events.iter().take(count).map(|event| event.data() as usize));
                Ok(())
            }
            Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("epoll_wait"),
        }
    }
}

/// Listens with a queue that takes what a load opens at once, which std's does not.
pub(crate) fn listen(address: SocketAddr) -> Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into()).with_context(|| address.to_string())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
