//! The objects of a live cluster, read once with the caller's own rights.

use std::{fmt::Debug, sync::Arc};

use k8s_openapi::{Metadata, Resource, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::ListParams};
use serde::de::DeserializeOwned;

use crate::{
    kubernetes::{Access, ClientError},
    model::{Diagnostic, ObjectRef, Severity},
    source::Reading,
    stores::{Key, Store, Stores},
};

/// Objects of one answer. The API server pages the rest.
const PAGE: u32 = 500;

/// Why a cluster cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no kubeconfig, or it does not say what is needed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The API server does not answer, or refuses.
    #[error("cannot list {kind} of the cluster")]
    List {
        /// The kind.
        kind: &'static str,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// No task can be run.
    #[error("cannot start")]
    Runtime(#[source] std::io::Error),
}

/// Which cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster(pub(super) Access);

impl Cluster {
    /// Lists what Ingresses can refer to. What the caller may not list is said, and counts as not
    /// there; Ingresses must be listed.
    pub(super) fn read(&self) -> Result<Reading, ClusterError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ClusterError::Runtime)?;
        runtime.block_on(async {
            let client = self.0.client().await?;
            let mut diagnostics = Vec::new();
            let stores = Stores {
                ingresses: list(&client).await?,
                ingress_classes: may(list(&client).await, &mut diagnostics)?,
                services: may(list(&client).await, &mut diagnostics)?,
                endpoint_slices: may(list(&client).await, &mut diagnostics)?,
                secrets: may(list(&client).await, &mut diagnostics)?,
                config_maps: may(list(&client).await, &mut diagnostics)?,
                nodes: Store::default(),
                namespaces: Store::default(),
                classes_forbidden: false,
            };
            Ok(Reading { stores, diagnostics, ..Reading::default() })
        })
    }
}

async fn list<K>(client: &Client) -> Result<Store<K>, ClusterError>
where
    K: Clone + Debug + DeserializeOwned + Resource + Metadata<Ty = ObjectMeta>,
    K: kube::Resource<DynamicType = ()>,
{
    let api: Api<K> = Api::all(client.clone());
    let mut objects = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = api.list(&page).await.map_err(|error| ClusterError::List {
            kind: <K as Resource>::KIND,
            source: Box::new(error),
        })?;
        for object in list.items {
            let metadata = Metadata::metadata(&object);
            let namespace = metadata.namespace.clone().unwrap_or_default();
            let name = metadata.name.clone().unwrap_or_default();
            objects.push((Key::new(namespace, name), Arc::new(object)));
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(objects.into_iter().collect()),
        }
    }
}

/// What may not be listed is left out, with a word about it.
fn may<K>(
    listed: Result<Store<K>, ClusterError>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Store<K>, ClusterError> {
    match listed {
        Err(ClusterError::List { kind, source }) if matches!(&*source, kube::Error::Api(status) if status.code == 403) =>
        {
            diagnostics.push(Diagnostic {
                severity: Severity::Warning,
                object: ObjectRef::new(kind, "", "*"),
                field: String::new(),
                message: "may not be listed; what refers to one is checked as if it did not exist"
                    .to_owned(),
            });
            Ok(Store::default())
        }
        other => other,
    }
}
