use std::{fmt, future::Future, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use http::{Method, Request};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;
use tokio::{runtime::Runtime, sync::Semaphore, task::JoinSet};

/// The objects of an API server, for whoever a kubeconfig is for.
pub struct Objects {
    client: Client,
    runtime: Runtime,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client holds a token.
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}

/// Whose changes these are (server-side apply).
const MANAGER: &str = "penstock-tests";
/// How many requests are under way at once where there are many.
const AT_ONCE: usize = 16;
/// The longest that one request may take.
const LIMIT: Duration = Duration::from_secs(30);

impl Objects {
    /// Asks nothing yet.
    pub fn of(kubeconfig: &Path) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let file = Kubeconfig::read_from(kubeconfig)?;
        let client = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(file, &options).await?;
            anyhow::Ok(Client::try_from(config)?)
        })?;
        Ok(Self { client, runtime })
    }

    /// Creates or changes every object of these YAML documents, as `kubectl apply --server-side`.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        for object in documents(yaml)? {
            self.apply_object(&object)?;
        }
        Ok(())
    }

    /// Creates or changes one object.
    pub fn apply_object(&self, object: &Value) -> Result<Value> {
        let (api, name) = self.place(object)?;
        let params = PatchParams::apply(MANAGER).force();
        let done = self.wait(api.patch(&name, &params, &Patch::Apply(object)));
        Ok(serde_json::to_value(done.with_context(|| format!("applying {name}"))?)?)
    }

    /// Creates or changes many objects, some at once.
    pub fn apply_all(&self, objects: Vec<Value>) -> Result<()> {
        let places: Vec<_> =
            objects.iter().map(|object| self.place(object)).collect::<Result<_>>()?;
        let work = Arc::new(Semaphore::new(AT_ONCE));
        self.runtime.block_on(async {
            let mut all = JoinSet::new();
            for (object, (api, name)) in objects.into_iter().zip(places) {
                let turn = Arc::clone(&work).acquire_owned().await;
                all.spawn(async move {
                    let _turn = turn;
                    let params = PatchParams::apply(MANAGER).force();
                    api.patch(&name, &params, &Patch::Apply(&object)).await.map(drop)
                });
            }
            while let Some(done) = all.join_next().await {
                done??;
            }
            Ok(())
        })
    }

    /// Changes the status of the object that this document names to what it says.
    pub fn apply_status(&self, yaml: &str) -> Result<()> {
        for object in documents(yaml)? {
            let (api, name) = self.place(&object)?;
            let params = PatchParams::apply(MANAGER).force();
            let done = self.wait(api.patch_status(&name, &params, &Patch::Apply(&object)));
            done.with_context(|| format!("applying the status of {name}"))?;
        }
        Ok(())
    }

    /// Deletes every object that these YAML documents name.
    pub fn delete(&self, yaml: &str) -> Result<()> {
        for object in documents(yaml)? {
            let (api, name) = self.place(&object)?;
            let done = self.wait(api.delete(&name, &DeleteParams::default()));
            done.with_context(|| format!("deleting {name}"))?;
        }
        Ok(())
    }

    /// An object; `None` if there is none of that name.
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Value>> {
        let api = self.api(kind, Some(namespace));
        let object = self.wait(api.get_opt(name))?;
        Ok(object.map(serde_json::to_value).transpose()?)
    }

    /// All objects of a kind in a namespace.
    pub fn list(&self, kind: &Kind, namespace: &str) -> Result<Vec<Value>> {
        let api = self.api(kind, Some(namespace));
        let list = self.wait(api.list(&ListParams::default()))?;
        list.items.into_iter().map(|object| Ok(serde_json::to_value(object)?)).collect()
    }

    /// Any other request; the answer's body.
    pub fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<String> {
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header(http::header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        self.wait(self.client.request_text(request.body(body)?))
    }

    fn wait<T>(&self, work: impl Future<Output = kube::Result<T>>) -> Result<T> {
        let limited = async { tokio::time::timeout(LIMIT, work).await };
        Ok(self.runtime.block_on(limited).context("the API server takes too long")??)
    }

    fn place(&self, object: &Value) -> Result<(Api<DynamicObject>, String)> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let kind = Kind::of(object)?;
        let name = text(&object["metadata"]["name"]).context("an object without a name")?;
        let namespace = text(&object["metadata"]["namespace"]);
        Ok((self.api(&kind, namespace.as_deref()), name))
    }

    fn api(&self, kind: &Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        let client = self.client.clone();
        match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &kind.0),
            None => Api::all_with(client, &kind.0),
        }
    }
}

/// A kind of objects.
#[derive(Clone, Debug)]
pub struct Kind(ApiResource);

impl Kind {
    /// `networking.k8s.io/v1` and `Ingress`.
    pub fn new(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self(ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)))
    }

    fn of(object: &Value) -> Result<Self> {
        let version = object["apiVersion"].as_str().context("an object without apiVersion")?;
        let kind = object["kind"].as_str().context("an object without kind")?;
        Ok(Self::new(version, kind))
    }
}

fn documents(yaml: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).context("no YAML")?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}
