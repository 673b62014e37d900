//! What answers to the cluster within the agent: the writer of status and Events, and the admission
//! webhook. Absent where the objects come from a directory.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::watch;

use super::control::Control;
use crate::{
    config::{Config, Source},
    kubernetes::{self, Moments, WebhookError},
    ledger::Ledger,
};

/// What runs of it.
#[derive(Default)]
pub(super) struct Writing {
    /// `None`: there is no cluster.
    moments: Option<Moments>,
    ledger: Arc<Ledger>,
    writer: Option<(watch::Sender<bool>, thread::JoinHandle<()>)>,
    webhook: Option<(watch::Sender<bool>, thread::JoinHandle<()>)>,
}

impl Writing {
    /// Opens the webhook's port; it refuses nothing before the first objects are known.
    pub(super) fn prepare(
        config: &Config,
        control: &Mutex<Control>,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, WebhookError> {
        let Source::Cluster(_) = &config.source else { return Ok(Self::default()) };
        let moments = control.lock().unwrap_or_else(PoisonError::into_inner).moments();
        let mut writing =
            Self { moments: Some(moments.clone()), ledger: Arc::clone(ledger), ..Self::default() };
        if let Some(webhook) = &config.webhook {
            let (stop, stopped) = watch::channel(false);
            let options = config.translate.clone();
            let ledger = Arc::clone(ledger);
            let (_, thread) =
                kubernetes::serve_webhook(webhook, options, moments, ledger, stopped)?;
            writing.webhook = Some((stop, thread));
        }
        Ok(writing)
    }

    /// Stands for election. Only who serves should lead.
    pub(super) fn start(&mut self, config: &Config) -> io::Result<()> {
        let (Source::Cluster(access), Some(moments)) = (&config.source, self.moments.take()) else {
            return Ok(());
        };
        let (stop, stopped) = watch::channel(false);
        let (writes, options) = (config.writes.clone(), config.translate.clone());
        let ledger = Arc::clone(&self.ledger);
        let access = access.clone();
        let thread = kubernetes::start_writer(access, writes, options, moments, ledger, stopped)?;
        self.writer = thread.map(|thread| (stop, thread));
        Ok(())
    }

    /// Lets another replica lead. Does not wait; the webhook goes on.
    pub(super) fn stop(&self) {
        if let Some((stop, _)) = &self.writer {
            stop.send_replace(true);
        }
    }

    /// One of them has ended, by a bug unless it was told to.
    pub(super) fn any_finished(&self) -> bool {
        [&self.writer, &self.webhook].into_iter().flatten().any(|(_, thread)| thread.is_finished())
    }

    /// Waits for the end of both, unless this is to be `now`. False: a bug.
    pub(super) fn join(self, now: bool) -> bool {
        if let Some((stop, _)) = &self.webhook {
            stop.send_replace(true);
        }
        let both = [self.writer, self.webhook].into_iter().flatten();
        both.filter(|_| !now).fold(true, |sound, (_stop, thread)| thread.join().is_ok() && sound)
    }
}
