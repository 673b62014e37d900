//! The way of a change: objects to model to snapshot, in one go, on the source's thread.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
};

use super::{diagnostics::DiagnosticsLog, steering::Steering};
use crate::{
    admin::Board,
    proxy::Ports,
    snapshot::Publisher,
    source::Update,
    translate::{Options, Translator},
};

/// Turns each state of the objects into what is served. Runs on the source's thread.
pub(super) struct Control {
    options: Options,
    translator: Translator,
    publisher: Publisher,
    board: Arc<Board>,
    steering: Steering,
    log: DiagnosticsLog,
    ports: Ports,
}

impl Control {
    pub(super) fn new(
        options: Options,
        publisher: Publisher,
        board: Arc<Board>,
        steering: Steering,
        ports: Ports,
    ) -> Self {
        let translator = Translator::new(options.clone());
        Self {
            options,
            translator,
            publisher,
            board,
            steering,
            log: DiagnosticsLog::default(),
            ports,
        }
    }

    /// Translates and publishes. A bug in it costs this update, never the agent: what was served
    /// before goes on.
    pub(super) fn apply(&mut self, update: Update) {
        let started = std::time::Instant::now();
        match catch_unwind(AssertUnwindSafe(|| self.publish(update))) {
            Ok(generation) => {
                tracing::debug!(generation, elapsed = ?started.elapsed(), "published");
            }
            Err(_panic) => {
                self.board.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!("a change was not applied, by a bug; what was served before stays");
                // What it remembered may be half done.
                self.translator = Translator::new(self.options.clone());
            }
        }
    }

    fn publish(&mut self, update: Update) -> u64 {
        let translation = self.translator.translate(&update.stores);
        let model = translation.model;
        let before = self.publisher.current();
        let (routes, bad_routes) = before.routes.next(&model);
        let certificates = before.certificates.next(&model);
        let generation = self.publisher.publish(Arc::clone(&model), routes, certificates);
        self.board.readiness.published();
        self.steering.update(&model.members);
        self.board.registry.prune(&model);

        let mut diagnostics = update.diagnostics;
        diagnostics.extend(self.ports.update(&model.streams));
        diagnostics.extend(translation.diagnostics);
        diagnostics.extend(bad_routes);
        diagnostics.sort();
        diagnostics.dedup();
        self.log.update(&diagnostics);
        self.board.set_diagnostics(diagnostics);
        generation
    }
}
