//! All that is written into the cluster: on one thread, beside the requests, and only by the replica
//! that leads.

use std::{io, sync::Arc, thread};

use tokio::{runtime::Builder, sync::watch, time::Instant};

use super::{
    account::Account,
    client::Access,
    election::{Elections, Leadership},
    events::EventWriter,
    moment::{Moment, Moments},
    status::StatusWriter,
    vips::VipWriter,
    writes::{Identity, Writes},
};
use crate::{ledger::Ledger, translate::Options};

/// What each of the writers has.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) account: Account,
    pub(super) options: Arc<Options>,
    pub(super) identity: Identity,
    pub(super) leadership: Leadership,
    pub(super) moments: Moments,
}

impl Context {
    /// The latest moment.
    pub(super) fn moment(&self) -> Option<Arc<Moment>> {
        self.moments.borrow().clone()
    }

    /// Waits until this replica leads and knows the objects: since when it leads, and they. `None`:
    /// there will be no more of them.
    pub(super) async fn led(&mut self) -> Option<(Instant, Arc<Moment>)> {
        loop {
            let moment = self.moments.borrow_and_update().clone();
            match (self.leadership.term(), moment) {
                (Some(term), Some(moment)) => return Some((term, moment)),
                (None, _) => self.leadership.changed().await,
                (Some(_), None) => self.moments.changed().await.ok()?,
            }
        }
    }

    /// Waits until there is something new to look at.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.moments.changed() => {}
            () = self.leadership.changed() => {}
            else => std::future::pending().await,
        }
    }
}

/// Starts to write, until `stop` is true or its sender gone: then removes what is to be removed and
/// lets another lead. `None`: nobody could be elected, for the pod's name and namespace are not
/// known.
///
/// # Errors
/// No thread can be started.
pub(crate) fn start(
    access: Access,
    writes: Writes,
    options: Options,
    moments: Moments,
    ledger: Arc<Ledger>,
    stop: watch::Receiver<bool>,
) -> io::Result<Option<thread::JoinHandle<()>>> {
    if writes.election.is_some()
        && (writes.identity.name.is_none() || writes.identity.namespace.is_none())
    {
        tracing::warn!(
            "neither status nor Events are written: --pod-name and --pod-namespace (or the \
             variables POD_NAME and POD_NAMESPACE) say which pod this is, and are not given"
        );
        return Ok(None);
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let thread = thread::Builder::new().name("cluster-writer".to_owned()).spawn(move || {
        runtime.block_on(run(access, writes, options, moments, ledger, stop));
    })?;
    Ok(Some(thread))
}

pub(super) async fn run(
    access: Access,
    writes: Writes,
    options: Options,
    moments: Moments,
    ledger: Arc<Ledger>,
    mut stop: watch::Receiver<bool>,
) {
    let account = tokio::select! {
        _ = stop.wait_for(|stop| *stop) => return,
        account = Account::of(access) => account,
    };
    let renewing = account.clone();
    tokio::select! {
        () = write(account, writes, options, moments, ledger, stop) => {}
        () = renewing.renew() => {}
    }
}

/// Writes until `stop`, then ends what has to be ended, in this order: nothing is written any more,
/// the addresses of Ingresses go, the Lease is released.
pub(super) async fn write(
    account: Account,
    writes: Writes,
    options: Options,
    moments: Moments,
    ledger: Arc<Ledger>,
    mut stop: watch::Receiver<bool>,
) {
    let Writes { identity, election, .. } = &writes;
    let elections = match (election, &identity.namespace, &identity.name) {
        (Some(election), Some(namespace), Some(name)) => {
            Some(Elections::new(account.clone(), namespace, name, election))
        }
        _ => None,
    };
    let (mut elections, leadership) = match elections {
        Some((elections, leadership)) => (Some(elections), leadership),
        None => (None, Leadership::alone()),
    };
    let asked = leadership.clone();
    ledger.ask_who_leads(move || asked.term().is_some());
    let context = Context {
        account,
        options: Arc::new(options),
        identity: writes.identity.clone(),
        leadership,
        moments,
    };
    let mut status = StatusWriter::new(context.clone(), writes.publish.clone(), writes.interval);
    let (told, others) = watch::channel(Arc::from([]));
    let mut events = EventWriter::new(context.clone(), writes.sync_events, others);
    let mut vips = VipWriter::new(context, writes.vip_pool.clone(), &writes.publish, told);
    let writing = async {
        tokio::join!(
            run_if(writes.status, status.run()),
            events.run(),
            run_if(!writes.vip_pool.is_empty(), vips.run()),
        )
    };
    let end = stop.clone();
    let standing = async {
        match &mut elections {
            Some(elections) => elections.run(end).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        _ = async { tokio::join!(standing, writing) } => {}
    }
    if writes.status && writes.clear_status {
        // Which may take longer than a term that nobody renews.
        let (_never, until) = watch::channel(false);
        let renewing = async {
            match &mut elections {
                Some(elections) => elections.run(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = status.clear() => {}
            () = renewing => {}
        }
    }
    if let Some(elections) = &mut elections {
        elections.release().await;
    }
}

async fn run_if(wanted: bool, writing: impl Future<Output = ()>) {
    if wanted {
        writing.await;
    }
}
