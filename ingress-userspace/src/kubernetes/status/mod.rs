//! `status.loadBalancer` of our Ingresses: where they are reached.

mod addresses;
mod plan;

pub use addresses::address_or_name;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::{
    core::v1::{Node, Pod, Service},
    networking::v1::{Ingress, IngressLoadBalancerIngress as Point},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use tokio::time::Instant;

use self::plan::Write;
use super::{
    fault::{Fault, in_time, told},
    moment::Moment,
    writer::Context,
    writes::Publish,
};
use crate::{
    stores::{Key, Stores},
    translate::Classes,
};

/// Requests under way at once.
const AT_ONCE: usize = 10;
/// Between two of them, on average: a change of address at ten thousand Ingresses is told to all
/// agents as often, and is no emergency.
const PACE: Duration = Duration::from_millis(5);
/// Changes are gathered for so long.
const GATHER: Duration = Duration::from_millis(100);
/// After a write failed.
const RETRY: Duration = Duration::from_secs(5);
/// For all of what is removed when the last replica stops.
const CLEARING: Duration = Duration::from_secs(10);
/// The labels of pods that differ with each revision or pod, or with each version of the chart: pods of
/// the version before and after are replicas too.
const OF_REVISION: [&str; 8] = [
    "controller-revision-hash",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
];

/// Writes the status of Ingresses, while this replica leads.
pub(super) struct StatusWriter {
    context: Context,
    publish: Publish,
    interval: Duration,
    /// By Ingress: the version that was answered with success, before its change was seen.
    done: HashMap<Key, String>,
    /// What was looked at when all was written: not looked at again while it is the same.
    settled: Option<(Stores, Vec<Point>)>,
    pods_selector: Option<String>,
    fault: Fault,
    source: Fault,
}

impl StatusWriter {
    pub(super) fn new(context: Context, publish: Publish, interval: Duration) -> Self {
        Self {
            context,
            publish,
            interval,
            done: HashMap::new(),
            settled: None,
            pods_selector: None,
            fault: Fault::new("the status of Ingresses"),
            source: Fault::new("the addresses to publish"),
        }
    }

    /// Writes for as long as it is polled.
    pub(super) async fn run(&mut self) {
        let mut known: Option<(Instant, Instant, Vec<Point>)> = None;
        loop {
            let Some((term, moment)) = self.context.led().await else {
                return std::future::pending().await;
            };
            let of_service = self.service_in(&moment);
            let fresh = known
                .as_ref()
                .filter(|(of, at, _)| *of == term && at.elapsed() < self.interval)
                .map(|(.., points)| points.clone());
            let points = match (of_service, fresh) {
                // Watched: as it is now.
                (Some(service), _) => Some(addresses::sorted(addresses::of_service(&service))),
                (None, Some(points)) => Some(points),
                (None, None) => {
                    let points = self.look().await;
                    known = points.clone().map(|points| (term, Instant::now(), points));
                    points
                }
            };
            let all_written = match points {
                Some(points) => self.write(&moment, &points).await,
                None => false,
            };
            let pause = if all_written { self.interval } else { RETRY };
            tokio::select! {
                () = self.context.changed() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// `--publish-service`, if the objects that are watched have it.
    fn service_in(&self, moment: &Moment) -> Option<Arc<Service>> {
        match &self.publish {
            Publish::Service { namespace, name } => {
                moment.stores.services.get(namespace, name).cloned()
            }
            _ => None,
        }
    }

    /// The addresses, asked of the API server where that is needed; `None`: they cannot be told now,
    /// and what is written stays.
    async fn look(&mut self) -> Option<Vec<Point>> {
        let points = match self.publish.clone() {
            Publish::Addresses(points) => Ok(Some(points)),
            Publish::Service { namespace, name } => self.service(&namespace, &name).await,
            Publish::Nodes { internal } => self.nodes(internal).await,
        };
        match points {
            Ok(Some(points)) => {
                self.source.gone();
                Some(addresses::sorted(points))
            }
            Ok(None) => None,
            Err(error) => {
                self.source.told(&error);
                None
            }
        }
    }

    async fn service(&mut self, namespace: &str, name: &str) -> kube::Result<Option<Vec<Point>>> {
        let api: Api<Service> = Api::namespaced(self.context.account.client(), namespace);
        let service = in_time(api.get_opt(name)).await?;
        if service.is_none() {
            self.source.said(&format!("--publish-service {namespace}/{name} does not exist"));
        }
        Ok(service.as_ref().map(addresses::of_service))
    }

    async fn nodes(&mut self, internal: bool) -> kube::Result<Option<Vec<Point>>> {
        let Some(selector) = self.selector().await? else {
            self.source.said("this is no pod of the cluster: say --publish-status-address");
            return Ok(None);
        };
        let mut pods = self.pods(&selector).await?;
        if selector.is_empty() {
            // Of a pod without labels nobody knows the others.
            pods.retain(|pod| pod.metadata.name == self.context.identity.name);
        }
        let names = addresses::nodes_of(&pods);
        if names.is_empty() {
            // Ours may just be late; names that point here must not vanish for that.
            self.source.said("no pod of the controller is ready; what is written stays");
            return Ok(None);
        }
        let api: Api<Node> = Api::all(self.context.account.client());
        let nodes = stream::iter(names.into_iter().map(|name| in_time(api.get_opt(name))));
        let found: Vec<_> = nodes.buffer_unordered(AT_ONCE).collect().await;
        let mut points = Vec::new();
        for node in found {
            points.extend(node?.and_then(|node| addresses::of_node(&node, internal)));
        }
        if points.is_empty() {
            self.source.said("no node of a ready pod has an address; what is written stays");
            return Ok(None);
        }
        Ok(Some(points))
    }

    /// What the controller's pods have in common: the labels of this one. `None`: there is no such
    /// pod.
    async fn selector(&mut self) -> kube::Result<Option<String>> {
        let identity = &self.context.identity;
        let (Some(name), Some(namespace)) = (&identity.name, &identity.namespace) else {
            return Ok(None);
        };
        if self.pods_selector.is_none() {
            let api: Api<Pod> = Api::namespaced(self.context.account.client(), namespace);
            let pod = in_time(api.get_opt(name)).await?;
            self.pods_selector = pod.map(|pod| selector(pod.metadata.labels.unwrap_or_default()));
        }
        Ok(self.pods_selector.clone())
    }

    /// The pods with these labels beside this one.
    async fn pods(&self, selector: &str) -> kube::Result<Vec<Pod>> {
        let Some(namespace) = &self.context.identity.namespace else { return Ok(Vec::new()) };
        let api: Api<Pod> = Api::namespaced(self.context.account.client(), namespace);
        Ok(in_time(api.list(&ListParams::default().labels(selector))).await?.items)
    }

    /// Writes what differs. False: not all of it.
    async fn write(&mut self, moment: &Moment, points: &[Point]) -> bool {
        let stores = &moment.stores;
        let is_same = |before: &Stores| {
            before.ingresses.same(&stores.ingresses)
                && before.ingress_classes.same(&stores.ingress_classes)
                && before.namespaces.same(&stores.namespaces)
                && before.classes_forbidden == stores.classes_forbidden
        };
        let settled = self.settled.as_ref();
        if settled.is_some_and(|(before, written)| is_same(before) && written == points) {
            return true;
        }
        let mut writes = plan::plan(&self.context.options, &moment.stores, points);
        // Forget what was seen to be right, or to be another object now.
        let due: HashMap<_, _> = writes.iter().map(|write| (&write.key, &write.version)).collect();
        self.done.retain(|key, version| due.get(key) == Some(&&*version));
        writes.retain(|write| self.done.get(&write.key) != Some(&write.version));
        if writes.is_empty() {
            // Only what decides which Ingresses are ours, and what they say.
            let decisive = Stores {
                ingresses: stores.ingresses.clone(),
                ingress_classes: stores.ingress_classes.clone(),
                namespaces: stores.namespaces.clone(),
                classes_forbidden: stores.classes_forbidden,
                ..Stores::default()
            };
            self.settled = Some((decisive, points.to_vec()));
            return true;
        }
        self.settled = None;
        let count = writes.len();
        let context = &self.context;
        let paced = stream::iter(writes).then(|write| async move {
            tokio::time::sleep(PACE).await;
            write
        });
        let written = paced.map(|write| write_one(context, write, points));
        let outcomes: Vec<_> = written.buffer_unordered(AT_ONCE).collect().await;
        let mut all = true;
        for (write, outcome) in outcomes {
            match outcome {
                Outcome::Written => {
                    self.done.insert(write.key, write.version);
                }
                // Seen soon, then decided anew.
                Outcome::Changed => {}
                Outcome::NotLeading => all = false,
                Outcome::Refused(error) => {
                    all = false;
                    self.fault.told(&error);
                }
            }
        }
        if all {
            self.fault.gone();
            tracing::debug!(count, "wrote the status of Ingresses");
        }
        all
    }

    /// Removes the addresses, if no other replica goes on.
    pub(super) async fn clear(&mut self) {
        if self.context.leadership.term().is_none() {
            return;
        }
        let Some(moment) = self.context.moment() else { return };
        let cleared = async {
            // Where this pod is unknown (it may be deleted by force), any other may be a replica.
            let selector = self.selector().await?.unwrap_or_default();
            let pods = self.pods(&selector).await?;
            let identity = &self.context.identity;
            let own = identity.name.as_deref().unwrap_or_default();
            if identity.namespace.is_none() || addresses::others(&pods, own).next().is_some() {
                tracing::info!("other replicas may go on: the status of Ingresses stays");
                return Ok(());
            }
            tracing::info!("the last replica stops: removing the addresses of Ingresses");
            let writes = plan::plan(&self.context.options, &moment.stores, &[]);
            let context = &self.context;
            let written = stream::iter(writes).map(|write| clear_one(context, &moment, write));
            let written = written.buffer_unordered(AT_ONCE);
            written.for_each(|()| std::future::ready(())).await;
            Ok::<_, kube::Error>(())
        };
        match tokio::time::timeout(CLEARING, cleared).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!("cannot tell whether other replicas go on: {}", told(&error));
            }
            Err(_late) => tracing::warn!("could not remove all addresses of Ingresses in time"),
        }
    }
}

/// What became of one write.
enum Outcome {
    Written,
    /// It is gone, or not what it was.
    Changed,
    NotLeading,
    Refused(kube::Error),
}

async fn write_one(context: &Context, write: Write, points: &[Point]) -> (Write, Outcome) {
    if context.leadership.term().is_none() {
        return (write, Outcome::NotLeading);
    }
    let api: Api<Ingress> = Api::namespaced(context.account.client(), &write.key.namespace);
    let patch = Patch::Merge(plan::patch(&write, points));
    let parameters = PatchParams::default();
    let request = api.patch_status(&write.key.name, &parameters, &patch);
    let outcome = match in_time(request).await {
        Ok(_) => Outcome::Written,
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Outcome::Changed,
        Err(error) => Outcome::Refused(error),
    };
    (write, outcome)
}

/// Once more where the object changed meanwhile, if it is ours still: nobody comes after us who would.
async fn clear_one(context: &Context, moment: &Moment, write: Write) {
    let (mut write, mut outcome) = write_one(context, write, &[]).await;
    if matches!(outcome, Outcome::Changed) {
        let api: Api<Ingress> = Api::namespaced(context.account.client(), &write.key.namespace);
        let classes = Classes::new(&context.options, &moment.stores);
        match api.get_opt(&write.key.name).await {
            Ok(Some(ingress)) if classes.is_ours(&write.key, &ingress) => {
                write.version = ingress.metadata.resource_version.unwrap_or_default();
                (write, outcome) = write_one(context, write, &[]).await;
            }
            Ok(_) => {}
            Err(error) => outcome = Outcome::Refused(error),
        }
    }
    if let Outcome::Refused(error) = outcome {
        let Key { namespace, name } = write.key;
        let why = told(&error);
        tracing::warn!("cannot remove the addresses of Ingress {namespace}/{name}: {why}");
    }
}

/// What the pods of one controller have in common, whatever their revision.
fn selector(labels: BTreeMap<String, String>) -> String {
    let lasting = labels.into_iter().filter(|(name, _)| !OF_REVISION.contains(&name.as_str()));
    lasting.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_told_by_the_labels_that_all_revisions_have() {
        let labels = [
            ("app", "penstock"),
            ("pod-template-hash", "abc"),
            ("controller-revision-hash", "def"),
            ("pod-template-generation", "3"),
            ("tier", "edge"),
            ("helm.sh/chart", "penstock-0.1.0"),
            ("app.kubernetes.io/version", "0.1.0"),
            ("apps.kubernetes.io/pod-index", "2"),
        ];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(selector(labels.into()), "app=penstock,tier=edge");
        assert_eq!(selector(BTreeMap::new()), "");
    }
}
