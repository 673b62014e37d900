//! A worker: one thread, one single-threaded runtime, and everything that its connections share.

use std::{
    cell::{Cell, RefCell},
    mem,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::MissedTickBehavior,
};

use super::{
    accept::{self, Door},
    access_log,
    balance::View,
    buffer::Buffers,
    counters::{Counters, Registry},
    credentials::{self, Credentials},
    date::Date,
    deadline::{Deadline, Deadlines, TICK},
    endpoints,
    firewall::{self, Firewall},
    held::Memory,
    http2,
    inquiry::{self, Inquiry},
    limits,
    listen::Sockets,
    message::ResponseHead,
    pipeline::Judges,
    ports, spans,
    taps::Taps,
    upstream::Pool,
};
use crate::{
    config::Timeouts,
    model::{ClientLimits, Settings},
    resolve::Asking,
    snapshot::Reader,
};

/// What the workers are to do; only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Accept and serve.
    Serve,
    /// Accept no more, finish what is there.
    Drain,
    /// Drop everything.
    Stop,
}

/// What a worker is made of; moves to its thread.
pub(crate) struct Setup {
    pub(crate) index: usize,
    pub(crate) sockets: Sockets,
    pub(crate) reader: Reader,
    pub(crate) registry: Arc<Registry>,
    pub(crate) zones: Arc<limits::Registry>,
    pub(crate) timeouts: Timeouts,
    pub(crate) asking: Asking,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) ports: watch::Receiver<ports::Open>,
    pub(crate) credentials: Arc<credentials::Shared>,
    pub(crate) access_log: access_log::Inlet,
    pub(crate) spans: spans::Inlet,
    pub(crate) firewall: Arc<firewall::Shared>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) inquiries: Option<mpsc::Receiver<Inquiry>>,
    pub(crate) taps: Taps,
}

/// What the connections of a worker share.
pub(crate) struct Worker {
    pub(crate) timeouts: Timeouts,
    /// What clients may do, as the settings say now.
    pub(crate) limits: Cell<ClientLimits>,
    pub(crate) deadlines: Rc<Deadlines>,
    pub(crate) pool: Pool,
    pub(crate) counters: Counters,
    pub(crate) zones: limits::Access,
    pub(crate) streams: endpoints::State,
    pub(crate) buffers: Buffers,
    /// Copies of requests under way.
    pub(crate) mirrors: Cell<usize>,
    pub(crate) date: Date,
    /// What HTTP/2 connections share; the heads of requests are lent to all.
    pub(crate) http2: Rc<http2::Setup>,
    /// Heads of answers, to be used again: they keep their room.
    #[expect(clippy::vec_box, reason = "they move between tasks: a pointer, not 200 bytes")]
    answers: RefCell<Vec<Box<ResponseHead>>>,
    /// What external authentication keeps from one request to the next.
    pub(crate) judges: Judges,
    pub(crate) random: RefCell<fastrand::Rng>,
    /// Our own ports as text, one allocation each.
    port_texts: RefCell<Vec<(u16, Rc<str>)>>,
    pub(crate) access_log: access_log::Outlet,
    pub(crate) spans: spans::Outlet,
    /// For what is passed on below HTTP.
    pub(crate) stream_log: access_log::Outlet,
    pub(crate) log_clock: access_log::Clock,
    /// The machine's name.
    pub(crate) hostname: Box<str>,
    /// What is known of passwords.
    pub(crate) credentials: Credentials,
    /// Where the rules of the firewall are run.
    pub(crate) firewall: Firewall,
    /// For bodies that are held.
    pub(crate) memory: Arc<Memory>,
    /// Who watches requests.
    pub(crate) taps: Taps,
    reader: Reader,
    view: RefCell<Rc<View>>,
    draining: Cell<bool>,
    /// Clients are as good as gone: what is not answered yet is not answered any more.
    is_cut: Cell<bool>,
    /// Requests that are being answered.
    answering: Cell<u64>,
    connections: Cell<u64>,
    /// The number of its last connection, among all of the process: see [`Self::next_number`].
    number: Cell<u64>,
    idle: Notify,
}

impl Worker {
    /// What is served now. One atomic load where nothing changed.
    pub(crate) fn view(&self) -> Rc<View> {
        let mut view = self.view.borrow_mut();
        if let Some(snapshot) = self.reader.newer(view.snapshot.generation) {
            let next = view.next(snapshot);
            *view = next;
            self.settle(&view.snapshot.model.settings);
            self.zones.forget();
            self.credentials.forget();
        }
        Rc::clone(&view)
    }

    /// Takes over what is looked at without a view.
    fn settle(&self, settings: &Settings) {
        self.limits.set(settings.client);
        self.pool.set_limits(settings.pool);
        self.http2.timeouts.set(http2_timeouts(&settings.client, &self.timeouts));
        self.http2.limits.set(http2_limits(&settings.client));
    }

    /// A head to be filled in.
    pub(crate) fn take_answer(&self) -> Box<ResponseHead> {
        self.answers.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_answer(&self, head: Box<ResponseHead>) {
        let mut free = self.answers.borrow_mut();
        if free.len() < HEADS {
            free.push(head);
        }
    }

    /// A port of ours as text.
    pub(crate) fn port_text(&self, port: u16) -> Rc<str> {
        let mut texts = self.port_texts.borrow_mut();
        if let Some((_, text)) = texts.iter().find(|(own, _)| *own == port) {
            return Rc::clone(text);
        }
        let text: Rc<str> = port.to_string().into();
        texts.push((port, Rc::clone(&text)));
        text
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Every client counts as one that has left: the process ends.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// Ready when that is so. `watch`: a deadline of its own, by which the end wakes whoever waits for
    /// something else.
    pub(crate) fn poll_cut(&self, watch: &Deadline, cx: &Context<'_>) -> Poll<()> {
        if self.is_cut() { Poll::Ready(()) } else { watch.poll(cx) }
    }

    pub(crate) fn answer_begun(&self) {
        self.answering.set(self.answering.get() + 1);
    }

    pub(crate) fn answer_ended(&self) {
        self.answering.set(self.answering.get().saturating_sub(1));
    }

    /// Ends the requests under way, so that they are counted and written down as what they came to.
    /// One that waits for nothing with a deadline is not waited for.
    async fn cut(&self) {
        self.is_cut.set(true);
        self.deadlines.wake_all();
        let begun = Instant::now();
        while self.answering.get() > 0 && begun.elapsed() < CUTTING {
            tokio::task::yield_now().await;
        }
    }

    /// Of a connection that begins, whatever it speaks. No other of the process has it, and no worker
    /// asks another: those of the first count from 1, those of the others from 2^40 each.
    pub(crate) fn next_number(&self) -> u64 {
        self.number.set(self.number.get() + 1);
        self.number.get()
    }

    /// Client connections that are open.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.get()
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.set(self.connections.get() + 1);
        self.counters.connections(self.connections.get());
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.set(self.connections.get() - 1);
        self.counters.connections(self.connections.get());
        if self.connections.get() == 0 {
            self.idle.notify_one();
        }
    }
}

/// How long the end of a worker waits for its requests to be cut.
const CUTTING: Duration = Duration::from_millis(200);

/// Heads that a worker keeps.
const HEADS: usize = 256;

/// Below the numbers of the connections of this worker.
fn first_number(index: usize) -> u64 {
    // Exact as a floating-point number, as those who read lines of JSON have it, up to 8192 workers.
    (index as u64) << 40
}

fn http2_timeouts(client: &ClientLimits, timeouts: &Timeouts) -> http2::Timeouts {
    http2::Timeouts {
        head: client.header_timeout,
        body: client.body_timeout,
        send: timeouts.send,
        keep_alive: client.keep_alive.unwrap_or_default(),
    }
}

fn http2_limits(client: &ClientLimits) -> http2::Limits {
    http2::Limits {
        streams: client.http2_streams,
        requests: client.keep_alive_requests,
        list: client.header_total,
    }
}

/// The thread of a worker. Returns when drained or stopped.
pub(crate) fn run(setup: Setup) {
    let runtime = match Builder::new_current_thread()
        .enable_all()
        // Epoll is asked for new events after that many polls of ready tasks; the default of 61 is
        // for tasks that do more than answer one request.
        .event_interval(61)
        .build_local(LocalOptions::default())
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, worker = setup.index, "cannot start the worker's runtime");
            return;
        }
    };
    runtime.block_on(serve(setup));
}

async fn serve(setup: Setup) {
    let Setup {
        index,
        sockets,
        reader,
        registry,
        zones,
        timeouts,
        asking,
        mut phase,
        ports,
        credentials,
        access_log,
        spans,
        firewall,
        memory,
        mut inquiries,
        taps,
    } = setup;
    let mut random = fastrand::Rng::new();
    let view = View::new(reader.current(), &mut random);
    let deadlines = Deadlines::new(Instant::now());
    let buffers = Buffers::default();
    let settings = &view.snapshot.model.settings;
    let client = settings.client;
    let worker = Rc::new(Worker {
        pool: Pool::new(Rc::clone(&deadlines), settings.pool),
        limits: Cell::new(client),
        counters: registry.counters(index),
        zones: limits::Access::new(zones),
        http2: http2::Setup::new(
            buffers.clone(),
            Rc::clone(&deadlines),
            http2_timeouts(&client, &timeouts),
            http2_limits(&client),
        ),
        streams: endpoints::State::default(),
        buffers,
        mirrors: Cell::new(0),
        date: Date::new(SystemTime::now()),
        answers: RefCell::default(),
        judges: Judges::new(asking),
        random: RefCell::new(random),
        port_texts: RefCell::default(),
        credentials: Credentials::new(credentials),
        stream_log: access_log::Outlet::new(access_log.clone()),
        access_log: access_log::Outlet::new(access_log),
        spans: spans::Outlet::new(spans),
        log_clock: access_log::Clock::default(),
        hostname: access_log::hostname().into(),
        firewall: Firewall::new(firewall),
        memory,
        taps,
        view: RefCell::new(view),
        draining: Cell::new(false),
        is_cut: Cell::new(false),
        answering: Cell::new(0),
        connections: Cell::new(0),
        number: Cell::new(first_number(index)),
        idle: Notify::new(),
        deadlines,
        timeouts,
        reader,
    });
    let mut accepting = Vec::new();
    for (sockets, door) in [(sockets.http, Door::Http), (sockets.https, Door::Https)] {
        for socket in sockets {
            let task = accept::run(Rc::clone(&worker), socket, door, phase.clone());
            accepting.push(tokio::task::spawn_local(task));
        }
    }
    let task = ports::serve(Rc::clone(&worker), index, ports, phase.clone());
    accepting.push(tokio::task::spawn_local(task));
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                worker.deadlines.tick(Instant::now());
                worker.date.tick(SystemTime::now());
                worker.pool.reap();
                worker.counters.upstream_idle(worker.pool.idle());
                worker.access_log.flush();
                worker.spans.flush();
                worker.counters.flush();
                worker.stream_log.flush();
                // Lets go of the snapshot before also where no request comes in.
                drop(worker.view());
            }
            () = worker.idle.notified() => {}
            inquiry = next(&mut inquiries) => match inquiry {
                Some(inquiry) => inquiry::answer(&worker, inquiry),
                None => inquiries = None,
            },
            changed = phase.changed() => {
                let now = *phase.borrow_and_update();
                if changed.is_err() || now == Phase::Stop {
                    worker.cut().await;
                    break;
                }
                if now == Phase::Drain {
                    tokio::task::spawn_local(drain(Rc::clone(&worker), mem::take(&mut accepting)));
                }
            }
        }
        if worker.draining() && worker.connections.get() == 0 {
            break;
        }
    }
    worker.counters.flush();
    worker.pool.clear();
    // Each has a line to write, as long as there is a worker.
    worker.streams.datagrams.clear();
}

/// The next question, for as long as somebody may ask.
async fn next(inquiries: &mut Option<mpsc::Receiver<Inquiry>>) -> Option<Inquiry> {
    match inquiries {
        Some(inquiries) => inquiries.recv().await,
        None => std::future::pending().await,
    }
}

/// What the kernel accepted before the listeners close is taken, not reset; then all connections are
/// told. Meanwhile the worker's clock goes on.
async fn drain(worker: Rc<Worker>, accepting: Vec<JoinHandle<()>>) {
    for task in accepting {
        let _ended = task.await;
    }
    worker.draining.set(true);
    worker.deadlines.wake_all();
    // Perhaps nobody is there.
    worker.idle.notify_one();
}
