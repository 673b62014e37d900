//! Virtual addresses for Services of type LoadBalancer whose class is ours. Given by the leader alone
//! and remembered by nobody but the Services' status.

mod plan;
mod pool;

pub use pool::VipPool;

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use tokio::sync::watch;

use self::plan::{Plan, Write, plan};
use super::{
    fault::{Fault, in_time},
    moment::Moment,
    writer::Context,
    writes::Publish,
};
use crate::{log::DIAGNOSTICS, model::Diagnostic, stores::Key};

/// Changes are gathered for so long.
const GATHER: Duration = Duration::from_millis(100);
/// After a write failed: all Services are read for another.
const RETRY: Duration = Duration::from_secs(30);
/// Objects of one answer.
const PAGE: u32 = 500;

/// Gives addresses to Services, while this replica leads.
pub(super) struct VipWriter {
    context: Context,
    pool: VipPool,
    /// `--publish-service`: its traffic Penstock answers itself.
    own: Option<Key>,
    diagnostics: watch::Sender<Arc<[Diagnostic]>>,
    fault: Fault,
}

impl VipWriter {
    /// What is wrong goes to `diagnostics`.
    pub(super) fn new(
        context: Context,
        pool: VipPool,
        publish: &Publish,
        diagnostics: watch::Sender<Arc<[Diagnostic]>>,
    ) -> Self {
        let own = match publish {
            Publish::Service { namespace, name } => {
                Some(Key::new(namespace.as_str(), name.as_str()))
            }
            _ => None,
        };
        Self { context, pool, own, diagnostics, fault: Fault::new("addresses of Services") }
    }

    /// Gives for as long as it is polled.
    pub(super) async fn run(&mut self) {
        loop {
            let Some((_, moment)) = self.context.led().await else {
                return std::future::pending().await;
            };
            let services = &moment.stores.services;
            let mut planned = plan(services.iter(), &self.pool, |key| self.serves(&moment, key));
            let mut all = true;
            if !planned.writes.is_empty() {
                // What is watched may be late, and an address that another leader gave is given
                // already. Addresses are given seldom.
                match self.anew(&moment).await {
                    Ok(now) => {
                        planned = now;
                        all = self.write(&planned.writes).await;
                    }
                    Err(error) => {
                        self.fault.told(&error);
                        all = false;
                    }
                }
            }
            self.tell(planned.diagnostics);
            let retry = async {
                match all {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(RETRY).await,
                }
            };
            tokio::select! {
                () = self.context.changed() => tokio::time::sleep(GATHER).await,
                () = retry => {}
            }
        }
    }

    /// The plan from the Services as they are now, wherever one may be that has an address.
    async fn anew(&self, moment: &Moment) -> kube::Result<Plan> {
        let mut services = HashMap::new();
        match &self.context.options.watch_namespace {
            Some(watched) => {
                let own = self.own.as_ref().map(|own| &*own.namespace);
                let namespaces = BTreeSet::from_iter(own.into_iter().chain([watched.as_str()]));
                for namespace in namespaces {
                    let client = self.context.account.client();
                    list(&Api::namespaced(client, namespace), &mut services).await?;
                }
            }
            None => list(&Api::all(self.context.account.client()), &mut services).await?,
        }
        Ok(plan(services.iter(), &self.pool, |key| self.serves(moment, key)))
    }

    /// It is for us to give this Service an address: as for Ingresses, its namespace decides.
    fn serves(&self, moment: &Moment, key: &Key) -> bool {
        self.own.as_ref() == Some(key)
            || self.context.options.serves_namespace(&moment.stores.namespaces, &key.namespace)
    }

    /// One after the other: they are few. False: not all of it.
    async fn write(&mut self, writes: &[Write]) -> bool {
        for write in writes {
            if self.context.leadership.term().is_none() {
                return false;
            }
            let Key { namespace, name } = &write.key;
            let api: Api<Service> = Api::namespaced(self.context.account.client(), namespace);
            // Traffic to its own Service comes to Penstock; that to others, to kube-proxy.
            let mode = if self.own.as_ref() == Some(&write.key) { "Proxy" } else { "VIP" };
            let points = |addresses: &[IpAddr]| {
                let point = |ip: &IpAddr| json!({"ip": ip.to_string(), "ipMode": mode});
                addresses.iter().map(point).collect::<Vec<_>>()
            };
            let patch = json!({
                "metadata": {"resourceVersion": write.version},
                "status": {"loadBalancer": {"ingress": points(&write.addresses)}},
            });
            let patch = Patch::Merge(patch);
            match in_time(api.patch_status(name, &PatchParams::default(), &patch)).await {
                Ok(_) => {
                    tracing::info!(addresses = ?write.addresses, "Service {namespace}/{name} got");
                }
                Err(error) => {
                    // The rest was decided with this one in mind.
                    self.fault.told(&error);
                    return false;
                }
            }
        }
        self.fault.gone();
        true
    }

    fn tell(&self, diagnostics: Vec<Diagnostic>) {
        self.diagnostics.send_if_modified(|known| {
            if **known == *diagnostics {
                return false;
            }
            for diagnostic in diagnostics.iter().filter(|one| !known.contains(one)) {
                tracing::error!(target: DIAGNOSTICS, "{diagnostic}");
            }
            *known = diagnostics.into();
            true
        });
    }
}

/// Adds all of these to `services`.
async fn list(api: &Api<Service>, services: &mut HashMap<Key, Arc<Service>>) -> kube::Result<()> {
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = in_time(api.list(&page)).await?;
        for service in list.items {
            let key = Key::new(service.namespace().unwrap_or_default(), service.name_any());
            services.insert(key, Arc::new(service));
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}
