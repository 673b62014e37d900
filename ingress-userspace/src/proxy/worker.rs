//! A worker: one thread, one single-threaded runtime, and everything that its connections share.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use hyper::server::conn::{http1, http2};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{Notify, watch},
    time::MissedTickBehavior,
};
use tokio_rustls::TlsAcceptor;

use super::{
    accept::{self, Door},
    balance::View,
    connection,
    counters::{Counters, Registry},
    deadline::{Deadlines, TICK},
    endpoints,
    listen::Sockets,
    patience::StreamExecutor,
    ports,
    upstream::Pool,
};
use crate::{config::Timeouts, snapshot::Reader};

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
    pub(crate) tls: Arc<rustls::ServerConfig>,
    pub(crate) reader: Reader,
    pub(crate) registry: Arc<Registry>,
    pub(crate) timeouts: Timeouts,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) ports: watch::Receiver<ports::Open>,
}

/// What the connections of a worker share.
pub(crate) struct Worker {
    pub(crate) timeouts: Timeouts,
    pub(crate) deadlines: Rc<Deadlines>,
    pub(crate) pool: Pool,
    pub(crate) counters: Counters,
    pub(crate) tls: TlsAcceptor,
    pub(crate) streams: endpoints::State,
    pub(crate) http1: http1::Builder,
    pub(crate) http2: http2::Builder<StreamExecutor>,
    pub(crate) random: RefCell<fastrand::Rng>,
    reader: Reader,
    view: RefCell<Rc<View>>,
    draining: Cell<bool>,
    connections: Cell<u64>,
    idle: Notify,
}

impl Worker {
    /// What is served now. One atomic load where nothing changed.
    pub(crate) fn view(&self) -> Rc<View> {
        let mut view = self.view.borrow_mut();
        if let Some(snapshot) = self.reader.newer(view.snapshot.generation) {
            *view = View::new(snapshot, &mut self.random.borrow_mut());
            self.counters.forget();
        }
        Rc::clone(&view)
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.get()
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
    let Setup { index, sockets, tls, reader, registry, timeouts, mut phase, ports } = setup;
    let mut random = fastrand::Rng::new();
    let view = View::new(reader.current(), &mut random);
    let deadlines = Deadlines::new(Instant::now());
    let worker = Rc::new(Worker {
        pool: Pool::new(Rc::clone(&deadlines), &timeouts),
        counters: registry.counters(index),
        tls: TlsAcceptor::from(tls),
        streams: endpoints::State::default(),
        http1: connection::http1(),
        http2: connection::http2(StreamExecutor::new(Rc::clone(&deadlines), timeouts.send)),
        random: RefCell::new(random),
        view: RefCell::new(view),
        draining: Cell::new(false),
        connections: Cell::new(0),
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
                worker.pool.reap();
                // Lets go of the snapshot before also where no request comes in.
                drop(worker.view());
            }
            () = worker.idle.notified() => {}
            changed = phase.changed() => {
                let now = *phase.borrow_and_update();
                if changed.is_err() || now == Phase::Stop {
                    break;
                }
                if now == Phase::Drain {
                    // What the kernel accepted before the listeners close is taken, not reset.
                    for task in accepting.drain(..) {
                        let _ended = task.await;
                    }
                    worker.draining.set(true);
                    worker.deadlines.wake_all();
                }
            }
        }
        if worker.draining() && worker.connections.get() == 0 {
            break;
        }
    }
    worker.pool.clear();
}
