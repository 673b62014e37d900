//! Ctrl-C and its relatives: the boxes go before the process does.

use std::{
    process,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
};

use tokio::signal::unix::{SignalKind, signal};

use crate::{id::BoxId, leftovers};

static LIVE: Mutex<Vec<BoxId>> = Mutex::new(Vec::new());

fn live() -> MutexGuard<'static, Vec<BoxId>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on the box is taken away when the process is told to end.
pub(crate) fn guard(id: &BoxId) {
    live().push(id.clone());
    static WATCH: OnceLock<()> = OnceLock::new();
    WATCH.get_or_init(|| {
        thread::spawn(watch);
    });
}

/// The box is gone.
pub(crate) fn release(id: &BoxId) {
    live().retain(|other| other != id);
}

fn watch() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
            return;
        };
        let number = tokio::select! {
            _ = interrupt.recv() => 2,
            _ = terminate.recv() => 15,
            _ = hangup.recv() => 1,
        };
        // Held to the end: nobody makes a box any more.
        let boxes = live();
        boxes.iter().for_each(leftovers::destroy);
        // As a shell reports a process that a signal ended.
        process::exit(128 + number);
    });
}
