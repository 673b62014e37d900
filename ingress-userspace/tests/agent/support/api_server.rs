//! An API server of the tests' making: it keeps objects, lists and watches them as the real one does,
//! and fails as it is told to. Without sockets of its own, so that it can be asked in memory too.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The kinds that it has: kind, where they are, plural.
const KINDS: &[(&str, &str, &str)] = &[
    ("Ingress", "/apis/networking.k8s.io/v1", "ingresses"),
    ("IngressClass", "/apis/networking.k8s.io/v1", "ingressclasses"),
    ("Service", "/api/v1", "services"),
    ("EndpointSlice", "/apis/discovery.k8s.io/v1", "endpointslices"),
    ("Secret", "/api/v1", "secrets"),
    ("ConfigMap", "/api/v1", "configmaps"),
    ("Node", "/api/v1", "nodes"),
    ("Namespace", "/api/v1", "namespaces"),
];

/// What it was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) plural: String,
    pub(crate) namespace: Option<String>,
    /// Of the field selector.
    pub(crate) name: Option<String>,
    pub(crate) watch: bool,
    /// Only names are wanted.
    pub(crate) metadata: bool,
    pub(crate) version: Option<String>,
    pub(crate) limit: Option<usize>,
    pub(crate) more: Option<String>,
    pub(crate) token: Option<String>,
}

/// Status and message that it answers with instead; status 0: the connection breaks.
pub(crate) type Refusal = (u16, String);
type Script = Box<dyn FnMut(&Asked) -> Option<Refusal> + Send>;

/// An API server. Clones are one.
#[derive(Clone)]
pub(crate) struct ApiServer(Arc<Mutex<Inner>>);

struct Inner {
    version: u64,
    /// Watches from before are too old.
    oldest: u64,
    objects: BTreeMap<(String, String, String), Value>,
    events: Vec<(u64, String, &'static str, Value)>,
    watchers: Vec<Watcher>,
    asked: Vec<Asked>,
    script: Script,
}

struct Watcher {
    asked: Asked,
    sender: UnboundedSender<io::Result<Bytes>>,
}

impl Default for ApiServer {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            version: 1000,
            oldest: 0,
            objects: BTreeMap::new(),
            events: Vec::new(),
            watchers: Vec::new(),
            asked: Vec::new(),
            script: Box::new(|_| None),
        })))
    }
}

impl ApiServer {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates or updates an object.
    pub(crate) fn put(&self, mut object: Value) {
        let mut inner = self.lock();
        inner.version += 1;
        let version = inner.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        object["metadata"]["managedFields"] = json!([{ "manager": "test" }]);
        let key = key(&object);
        let known = inner.objects.insert(key.clone(), object.clone());
        let what = if known.is_some() { "MODIFIED" } else { "ADDED" };
        inner.tell(version, key.0, what, object);
    }

    /// Deletes an object, if it is there.
    pub(crate) fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let mut inner = self.lock();
        let key = (plural(kind).to_owned(), namespace.to_owned(), name.to_owned());
        let Some(mut object) = inner.objects.remove(&key) else { return };
        inner.version += 1;
        let version = inner.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        inner.tell(version, key.0, "DELETED", object);
    }

    /// Tells all watches how far they are.
    pub(crate) fn bookmark(&self) {
        let mut inner = self.lock();
        inner.version += 1;
        let version = inner.version.to_string();
        for watcher in &inner.watchers {
            let object = json!({ "kind": "X", "metadata": { "resourceVersion": version } });
            watcher.send("BOOKMARK", &object);
        }
    }

    /// Forgets what happened until now: watches from before are answered 410.
    pub(crate) fn forget(&self) {
        let mut inner = self.lock();
        inner.version += 1;
        inner.oldest = inner.version;
        inner.events.clear();
    }

    /// Sends all watches this event.
    pub(crate) fn event(&self, what: &str, object: &Value) {
        for watcher in &self.lock().watchers {
            watcher.send(what, object);
        }
    }

    /// Ends all watches: in the middle of a chunk, or as an API server does when their time is up.
    pub(crate) fn end_watches(&self, broken: bool) {
        for watcher in self.lock().watchers.drain(..) {
            if broken {
                let _gone = watcher.sender.send(Err(io::Error::other("it breaks off")));
            }
        }
    }

    /// Answers questions this way from now on; `None`: properly.
    pub(crate) fn script(&self, script: impl FnMut(&Asked) -> Option<Refusal> + Send + 'static) {
        self.lock().script = Box::new(script);
    }

    /// All questions since the last call.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.lock().asked)
    }

    /// Answers. An error: there is no answer.
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> io::Result<Response<Body>> {
        let asked = Asked::of(request);
        let mut inner = self.lock();
        inner.asked.push(asked.clone());
        match (inner.script)(&asked) {
            Some((0, message)) => return Err(io::Error::other(message)),
            Some((status, message)) => return Ok(refused(status, &message)),
            None => {}
        }
        Ok(if asked.watch { inner.watch(asked) } else { inner.list(&asked) })
    }
}

impl Inner {
    fn tell(&mut self, version: u64, plural: String, what: &'static str, object: Value) {
        for watcher in self.watchers.iter().filter(|watcher| watcher.asked.wants(&plural, &object))
        {
            watcher.send(what, &object);
        }
        self.events.push((version, plural, what, object));
    }

    fn watch(&mut self, asked: Asked) -> Response<Body> {
        let from: u64 = asked.version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0);
        if from < self.oldest {
            return refused(410, "too old resource version");
        }
        let (sender, receiver) = unbounded_channel();
        let watcher = Watcher { asked, sender };
        for (version, plural, what, object) in &self.events {
            if *version > from && watcher.asked.wants(plural, object) {
                watcher.send(what, object);
            }
        }
        self.watchers.push(watcher);
        let lines = stream::unfold(receiver, |mut receiver| async move {
            let line = receiver.recv().await?;
            Some((line.map(Frame::data), receiver))
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }

    fn list(&mut self, asked: &Asked) -> Response<Body> {
        let all: Vec<_> = self
            .objects
            .iter()
            .filter(|((plural, ..), object)| asked.wants(plural, object))
            .map(|(_, object)| asked.shown(object))
            .collect();
        let start: usize = asked.more.as_deref().and_then(|more| more.parse().ok()).unwrap_or(0);
        let end = asked.limit.map_or(all.len(), |limit| (start + limit).min(all.len()));
        let more = if end < all.len() { end.to_string() } else { String::new() };
        let items = all.get(start..end).unwrap_or_default();
        let list = json!({
            "kind": "List", "apiVersion": "v1",
            "metadata": { "resourceVersion": self.version.to_string(), "continue": more },
            "items": if items.is_empty() { Value::Null } else { json!(items) },
        });
        whole(200, &list)
    }
}

impl Watcher {
    fn send(&self, what: &str, object: &Value) {
        let line = json!({ "type": what, "object": self.asked.shown(object) });
        let _gone = self.sender.send(Ok(format!("{line}\n").into()));
    }
}

impl Asked {
    fn of<B>(request: &Request<B>) -> Self {
        let mut asked = Self::default();
        let header = |name: &str| request.headers().get(name)?.to_str().ok();
        asked.metadata = header("accept").is_some_and(|value| value.contains("PartialObject"));
        asked.token = header("authorization").map(str::to_owned);
        let mut parts: Vec<_> = request.uri().path().split('/').collect();
        asked.plural = parts.pop().unwrap_or_default().to_owned();
        if let [.., "namespaces", namespace] = parts[..] {
            asked.namespace = Some(namespace.to_owned());
        }
        for pair in request.uri().query().unwrap_or_default().split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace("%3D", "=");
            match key {
                "watch" => asked.watch = value == "true",
                "resourceVersion" => asked.version = Some(value),
                "limit" => asked.limit = value.parse().ok(),
                "continue" => asked.more = Some(value),
                "fieldSelector" => {
                    asked.name = value.strip_prefix("metadata.name=").map(str::to_owned);
                }
                _ => {}
            }
        }
        asked
    }

    fn wants(&self, plural: &str, object: &Value) -> bool {
        let metadata = |key: &str| object["metadata"][key].as_str();
        self.plural == plural
            && self.namespace.as_deref().is_none_or(|own| metadata("namespace") == Some(own))
            && self.name.as_deref().is_none_or(|own| metadata("name") == Some(own))
    }

    fn shown(&self, object: &Value) -> Value {
        match self.metadata && object["kind"] != "Status" {
            true => json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"],
            }),
            false => object.clone(),
        }
    }
}

fn key(object: &Value) -> (String, String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = object["kind"].as_str().expect("an object has a kind");
    let metadata = &object["metadata"];
    (plural(kind).to_owned(), text(&metadata["namespace"]), text(&metadata["name"]))
}

fn plural(kind: &str) -> &'static str {
    KINDS.iter().find(|(known, ..)| *known == kind).expect("a known kind").2
}

fn refused(status: u16, message: &str) -> Response<Body> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": status, "message": message,
    });
    whole(status, &body)
}

fn whole(status: u16, body: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status.try_into().expect("a status");
    response
}
