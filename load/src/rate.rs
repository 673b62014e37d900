//! Open-loop load: requests leave when they are due, and how long an answer took is counted from
//! there, so that a server that stalls cannot hide it by being asked less.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};

use crate::{
    PATIENCE,
    poll::{Interest, Poll},
    response, say,
};

/// Arguments of `rate`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    address: SocketAddr,
    #[arg(long)]
    host: String,
    /// Requests per second.
    #[arg(long)]
    rate: f64,
    #[arg(long)]
    seconds: f64,
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

/// The number that stands for the clock.
const CLOCK: usize = usize::MAX;

/// Prints the number of requests and the 50th, 99th and 99.9th percentile of their latency in µs.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let interval = Duration::from_secs_f64(1.0 / arguments.rate);
    let total = (arguments.rate * arguments.seconds) as usize;
    let mut clients = Clients::connect(arguments)?;
    let mut poll = Poll::new()?;
    for (token, client) in clients.all.iter().enumerate() {
        poll.add(&client.stream, token, Interest::Read)?;
    }
    let clock = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
    let every = Expiration::Interval(TimeSpec::from_duration(interval));
    clock.set(every, TimerSetTimeFlags::empty())?;
    poll.add(&clock, CLOCK, Interest::Read)?;

    let start = Instant::now();
    let due = |number: usize| start + interval.mul_f64(number as f64);
    let mut scheduled = 0;
    let mut ready = Vec::new();
    while clients.latencies.len() < total {
        poll.wait(Some(PATIENCE), &mut ready)?;
        if ready.is_empty() || start.elapsed().as_secs_f64() > arguments.seconds + 20.0 {
            bail!("{} of {total} requests were answered", clients.latencies.len());
        }
        for &token in &ready {
            if token == CLOCK {
                // Takes the expirations away; when requests are due is counted from the start.
                let _ = clock.wait();
            } else {
                clients.read(token)?;
            }
        }
        while scheduled < total && due(scheduled) <= Instant::now() {
            clients.waiting.push_back(due(scheduled));
            scheduled += 1;
        }
        clients.send()?;
    }
    clients.latencies.sort_unstable();
    let at = |share: f64| {
        let index = ((total as f64 * share) as usize).min(total.saturating_sub(1));
        clients.latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    };
    say(&format!("{total} {:.1} {:.1} {:.1}", at(0.5), at(0.99), at(0.999)))
}

/// A connection that is asked one thing at a time.
struct Client {
    stream: TcpStream,
    /// When the request was due.
    due: Option<Instant>,
    received: usize,
    /// Bytes of the answer, once they are known.
    expected: Option<usize>,
    head: Vec<u8>,
}

struct Clients {
    all: Vec<Client>,
    idle: Vec<usize>,
    /// Requests that are due and have no connection yet.
    waiting: VecDeque<Instant>,
    latencies: Vec<Duration>,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Clients {
    fn connect(arguments: &Arguments) -> Result<Self> {
        let mut all = Vec::new();
        for _ in 0..arguments.connections {
            let stream = TcpStream::connect(arguments.address)?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            all.push(Client { stream, due: None, received: 0, expected: None, head: Vec::new() });
        }
        Ok(Self {
            idle: (0..all.len()).collect(),
            all,
            waiting: VecDeque::new(),
            latencies: Vec::new(),
            request: response::request(&arguments.host, "/").into_bytes(),
            buffer: vec![0; 64 * 1024],
        })
    }

    /// Sends what waits, as far as connections are idle.
    fn send(&mut self) -> Result<()> {
        while let Some(&due) = self.waiting.front()
            && let Some(index) = self.idle.pop()
        {
            self.waiting.pop_front();
            let client = self.all.get_mut(index).context("an idle connection that is none")?;
            client.due = Some(due);
            client.stream.write_all(&self.request).context("cannot send a request")?;
        }
        Ok(())
    }

    fn read(&mut self, token: usize) -> Result<()> {
        let Some(client) = self.all.get_mut(token) else { return Ok(()) };
        let count = match client.stream.read(&mut self.buffer) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("cannot read an answer"),
        };
        client.received += count;
        if client.expected.is_none() {
            client.head.extend_from_slice(self.buffer.get(..count).unwrap_or_default());
            client.expected = response::length(&client.head)?;
        }
        if client.expected.is_some_and(|expected| client.received >= expected)
            && let Some(due) = client.due.take()
        {
            self.latencies.push(due.elapsed());
            (client.received, client.expected) = (0, None);
            client.head.clear();
            self.idle.push(token);
        }
        Ok(())
    }
}
