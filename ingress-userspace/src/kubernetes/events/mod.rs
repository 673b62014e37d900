//! Events: what is wrong with an object, said on the object, where `kubectl describe` shows it.

mod bucket;
mod note;
mod told;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::{
    api::{core::v1::Event, networking::v1::Ingress},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{sync::watch, time::Instant};

use self::{
    note::Note,
    told::{Occasion, Saying, Told},
};
use super::{
    fault::{Fault, in_time},
    moment::Moment,
    writer::Context,
};
use crate::{
    model::{Diagnostic, ObjectRef},
    stores::Stores,
    translate::Classes,
};

/// Changes are gathered for so long.
const GATHER: Duration = Duration::from_millis(500);
/// Until it is tried again what had to wait for its share, or failed.
const RETRY: Duration = Duration::from_secs(5);
/// Requests under way at once.
const AT_ONCE: usize = 4;

/// Writes Events, while this replica leads.
pub(super) struct EventWriter {
    context: Context,
    /// Also `Sync`, for each Ingress that changed.
    sync: bool,
    /// What else is wrong: found while something was written.
    others: watch::Receiver<Arc<[Diagnostic]>>,
    told: Told,
    fault: Fault,
}

impl EventWriter {
    pub(super) fn new(
        context: Context,
        sync: bool,
        others: watch::Receiver<Arc<[Diagnostic]>>,
    ) -> Self {
        let told = Told::new(Instant::now());
        Self { context, sync, others, told, fault: Fault::new("Events") }
    }

    /// Writes for as long as it is polled.
    pub(super) async fn run(&mut self) {
        let mut before: Option<(Instant, Arc<Moment>)> = None;
        loop {
            let Some((term, moment)) = self.context.led().await else {
                return std::future::pending().await;
            };
            let now = Instant::now();
            let mut sayings = Vec::new();
            // What changed before this replica led, another has said.
            if let Some((_, before)) = before.filter(|(of, _)| self.sync && *of == term) {
                for object in changed(&self.context.options, &before.stores, &moment.stores) {
                    let note = Note::sync(object, &moment.stores);
                    sayings.extend(self.told.happened(note, now));
                }
            }
            let others = Arc::clone(&self.others.borrow_and_update());
            let diagnostics = moment.diagnostics.iter().chain(others.iter());
            let notes = diagnostics.filter_map(|one| Note::of(one, &moment.stores)).collect();
            before = Some((term, moment));
            let (lasting, waits) = self.told.lasting(notes, now);
            sayings.extend(lasting);
            let all_said = self.say(sayings).await;
            let pause = if all_said && !waits { told::AGAIN } else { RETRY };
            tokio::select! {
                () = self.context.changed() => {}
                Ok(()) = self.others.changed() => {}
                () = tokio::time::sleep(pause) => continue,
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// False: not all of it.
    async fn say(&mut self, sayings: Vec<Saying>) -> bool {
        let context = &self.context;
        let written = stream::iter(sayings).map(|saying| write(context, saying));
        let outcomes: Vec<_> = written.buffer_unordered(AT_ONCE).collect().await;
        let mut all = true;
        for (note, outcome) in outcomes {
            match outcome {
                Ok(Written::New) => {}
                Ok(Written::WasThere) => self.told.was_there(&note),
                Ok(Written::NotLeading) => {
                    self.told.failed(&note);
                    all = false;
                }
                // Of a namespace that ends or is not there, or gone meanwhile: as good as said.
                Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 422) => {
                    self.fault.said(&status.message);
                }
                Err(error) => {
                    self.told.failed(&note);
                    self.fault.told(&error);
                    all = false;
                }
            }
        }
        all
    }
}

/// How an Event came to be there.
enum Written {
    New,
    WasThere,
    NotLeading,
}

async fn write(context: &Context, saying: Saying) -> (Note, kube::Result<Written>) {
    let Saying { note, time } = saying;
    if context.leadership.term().is_none() {
        return (note, Ok(Written::NotLeading));
    }
    let api: Api<Event> = Api::namespaced(context.account.client(), note.namespace());
    if let Occasion::Again(count) = time {
        let mut patch = json!({"lastTimestamp": Time(Timestamp::now())});
        if let Some(count) = count {
            patch["count"] = count.into();
        }
        let (name, parameters, patch) = (note.name(), PatchParams::default(), Patch::Merge(patch));
        match in_time(api.patch(&name, &parameters, &patch)).await {
            // Forgotten meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => return (note, other.map(|_| Written::New)),
        }
    }
    let host = context.identity.name.as_deref().unwrap_or_default();
    let event = note.event(host, Timestamp::now());
    let outcome = match in_time(api.create(&PostParams::default(), &event)).await {
        Ok(_) => Ok(Written::New),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Written::WasThere),
        Err(error) => Err(error),
    };
    (note, outcome)
}

/// Our Ingresses that say something else than before.
fn changed(options: &crate::translate::Options, before: &Stores, now: &Stores) -> Vec<ObjectRef> {
    let classes = Classes::new(options, now);
    let says_else = |before: &Ingress, now: &Ingress| {
        before.spec != now.spec || before.metadata.annotations != now.metadata.annotations
    };
    let changes = before.ingresses.changes(&now.ingresses);
    let ours = changes.filter_map(|(key, before, now)| {
        let now = now?;
        let is_news = before.is_none_or(|before| says_else(before, now));
        (is_news && classes.is_ours(key, now))
            .then(|| ObjectRef::new("Ingress", key.namespace.clone(), key.name.clone()))
    });
    ours.collect()
}
