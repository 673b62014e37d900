//! An API server that is as simple as can be: objects by path, versions, conflicts, merge patches.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::{
    core::v1::Service,
    networking::v1::{Ingress, IngressClass},
};
use kube::Client;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::moment::{Moment, Moments};
use crate::{
    model::Diagnostic,
    stores::{Key, Store, Stores},
};

const DEADLINE: Duration = Duration::from_secs(20);

/// The server; clones are one.
#[derive(Clone)]
pub(super) struct Server(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    state: Mutex<State>,
    version: watch::Sender<u64>,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    requests: Vec<String>,
    /// Answers to the next requests of this method whose path holds this text.
    refusals: VecDeque<(Method, &'static str, u16)>,
    /// Nothing is answered any more.
    silent: bool,
    /// Who does not bring it is not known; `None`: everybody is.
    token: Option<String>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let server = Self(Arc::new(Inner {
            address: listener.local_addr().expect("bound"),
            state: Mutex::default(),
            version: watch::channel(1).0,
            under_way: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        }));
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let server = server.clone();
                    async move { Ok::<_, Infallible>(server.serve(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        server
    }

    pub(super) fn client(&self) -> Client {
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let uri = format!("http://{}", self.0.address).parse().expect("an address");
        Client::try_from(kube::Config::new(uri)).expect("nothing can be wrong with it")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an object there, or away.
    pub(super) fn put(&self, path: &str, object: Option<Value>) {
        let mut state = self.state();
        match object {
            Some(object) => drop(self.store(&mut state, path, object)),
            None => {
                state.objects.remove(path);
                self.0.version.send_modify(|version| *version += 1);
            }
        }
    }

    fn store(&self, state: &mut State, path: &str, mut object: Value) -> Value {
        let version = *self.0.version.borrow() + 1;
        let mut parts = path.rsplit('/');
        object["metadata"]["name"] = parts.next().into();
        if let Some(namespace) = path.split("/namespaces/").nth(1) {
            object["metadata"]["namespace"] = namespace.split('/').next().into();
        }
        object["metadata"]["uid"] = format!("uid-of-{path}").into();
        object["metadata"]["resourceVersion"] = version.to_string().into();
        state.objects.insert(path.to_owned(), object.clone());
        self.0.version.send_replace(version);
        object
    }

    pub(super) fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// The objects whose path holds this text.
    pub(super) fn all(&self, part: &str) -> Vec<Value> {
        let state = self.state();
        let all = state.objects.iter().filter(|(path, _)| path.contains(part));
        all.map(|(_, object)| object.clone()).collect()
    }

    /// Requests so far, as `PATCH /path`.
    pub(super) fn requests(&self, method: &str, part: &str) -> usize {
        let state = self.state();
        let of = |line: &&String| line.starts_with(method) && line.contains(part);
        state.requests.iter().filter(of).count()
    }

    /// The most requests that were under way at once.
    pub(super) fn most_at_once(&self) -> usize {
        self.0.most.load(Ordering::Relaxed)
    }

    /// Answers the next request of this kind so.
    pub(super) fn refuse(&self, method: Method, part: &'static str, code: u16) {
        self.state().refusals.push_back((method, part, code));
    }

    /// Knows nobody from now on but who brings this token.
    pub(super) fn know_only(&self, token: &str) {
        self.state().token = Some(format!("Bearer {token}"));
    }

    /// A kubeconfig with this token.
    pub(super) fn kubeconfig(&self, token: &str) -> String {
        let server = format!("http://{}", self.0.address);
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": server}}],
            "users": [{"name": "it", "user": {"token": token}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        })
        .to_string()
    }

    /// Answers nothing any more, or again.
    pub(super) fn be_silent(&self, silent: bool) {
        self.state().silent = silent;
    }

    /// Waits until this holds of the objects.
    pub(super) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let mut version = self.0.version.subscribe();
        let waiting = async {
            while !holds(self) {
                let _again =
                    tokio::time::timeout(Duration::from_millis(50), version.changed()).await;
            }
        };
        if tokio::time::timeout(DEADLINE, waiting).await.is_err() {
            let state = self.state();
            let objects: Vec<_> = state.objects.values().collect();
            panic!("not in time: {what}\n{objects:#?}\n{:#?}", state.requests);
        }
    }

    /// What a source would tell of these objects, after each change.
    pub(super) fn watched(&self, diagnostics: watch::Receiver<Vec<Diagnostic>>) -> Moments {
        let (sender, moments) = watch::channel(Some(Arc::new(self.moment(&diagnostics))));
        let (server, mut told) = (self.clone(), diagnostics);
        tokio::spawn(async move {
            let mut version = server.0.version.subscribe();
            loop {
                sender.send_replace(Some(Arc::new(server.moment(&told))));
                tokio::select! {
                    changed = version.changed() => if changed.is_err() { return },
                    Ok(()) = told.changed() => {}
                }
            }
        });
        moments
    }

    /// What there is now.
    pub(super) fn moment(&self, diagnostics: &watch::Receiver<Vec<Diagnostic>>) -> Moment {
        let stores = Stores {
            ingresses: self.kind::<Ingress>("/ingresses/"),
            ingress_classes: self.kind::<IngressClass>("/ingressclasses/"),
            services: self.kind::<Service>("/services/"),
            ..Stores::default()
        };
        let diagnostics = diagnostics.borrow().clone().into();
        Moment { stores: Arc::new(stores), names: Arc::default(), diagnostics }
    }

    fn kind<K: DeserializeOwned>(&self, part: &str) -> Store<K> {
        let objects = self.all(part).into_iter().map(|object| {
            let text =
                |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            let key = Key::new(text("namespace"), text("name"));
            (key, Arc::new(serde_json::from_value(object).expect("of its kind")))
        });
        objects.collect()
    }

    /// Asks without sockets: time may be the test's own.
    pub(super) fn client_in_memory(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.serve(request).await) }
        });
        Client::new(service, "default")
    }

    async fn serve<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: http_body::Body<Error: std::fmt::Debug>,
    {
        let now = self.0.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.most.fetch_max(now, Ordering::Relaxed);
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let brought = request.headers().get(AUTHORIZATION).cloned();
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        // Others get a turn, as over a network.
        tokio::task::yield_now().await;
        let path = uri.path().to_owned();
        let (silent, known) = {
            let mut state = self.state();
            state.requests.push(format!("{method} {path}"));
            let token = state.token.as_deref();
            let is_it = |token: &str| brought.as_ref().is_some_and(|brought| brought == token);
            (state.silent, token.is_none_or(is_it))
        };
        if silent {
            std::future::pending::<()>().await;
        }
        let (code, answer) = match known {
            true => self.answer(&method, &path, uri.query().unwrap_or_default(), body),
            false => failure(401, "Unauthorized"),
        };
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
        let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
        *response.status_mut() = StatusCode::from_u16(code).expect("a status");
        response
    }

    fn answer(&self, method: &Method, path: &str, query: &str, body: Value) -> (u16, Value) {
        let mut state = self.state();
        let refused =
            state.refusals.front().is_some_and(|(of, part, _)| of == method && path.contains(part));
        if refused && let Some((.., code)) = state.refusals.pop_front() {
            return failure(code, "as the test wants");
        }
        let place = path.strip_suffix("/status").unwrap_or(path);
        let version =
            |object: &Value| object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
        match *method {
            Method::GET if is_collection(path) => {
                let kind = path.rsplit('/').next().unwrap_or_default();
                let prefix = path.strip_suffix(kind).unwrap_or(path);
                let selector =
                    query.split('&').find_map(|part| part.strip_prefix("labelSelector="));
                let selector = selector.unwrap_or_default().replace("%3D", "=").replace("%2C", ",");
                let of = |path: &&String, object: &Value| {
                    path.starts_with(prefix)
                        && path.split('/').rev().nth(1) == Some(kind)
                        && selector
                            .split(',')
                            .filter_map(|one| one.split_once('='))
                            .all(|(name, value)| object["metadata"]["labels"][name] == value)
                };
                let all = state.objects.iter().filter(|(path, object)| of(path, object));
                let items: Vec<_> = all.map(|(_, object)| object.clone()).collect();
                (200, json!({"metadata": {}, "items": items}))
            }
            Method::GET => match state.objects.get(place) {
                Some(object) => (200, object.clone()),
                None => failure(404, "not found"),
            },
            Method::POST => {
                let name = body["metadata"]["name"].as_str().unwrap_or_default();
                let place = format!("{path}/{name}");
                if state.objects.contains_key(&place) {
                    return failure(409, "already exists");
                }
                (201, self.store(&mut state, &place, body))
            }
            Method::PUT | Method::PATCH => {
                let Some(present) = state.objects.get(place).cloned() else {
                    return failure(404, "not found");
                };
                if version(&body).is_some_and(|asked| Some(asked) != version(&present)) {
                    return failure(409, "the object has been modified");
                }
                let object = match *method == Method::PUT {
                    true => body,
                    false => merged(present, body),
                };
                (200, self.store(&mut state, place, object))
            }
            _ => failure(405, "no such method"),
        }
    }
}

fn is_collection(path: &str) -> bool {
    const KINDS: [&str; 6] = ["ingresses", "services", "pods", "nodes", "events", "leases"];
    path.rsplit('/').next().is_some_and(|last| KINDS.contains(&last))
}

fn failure(code: u16, message: &str) -> (u16, Value) {
    let body = json!({"kind": "Status", "status": "Failure", "code": code, "message": message});
    (code, body)
}

/// RFC 7396.
fn merged(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else { return patch };
    let mut target = target;
    if !target.is_object() {
        target = json!({});
    }
    for (key, value) in patch {
        let before = target[&key].take();
        match value {
            Value::Null => drop(target.as_object_mut().and_then(|own| own.remove(&key))),
            value => target[key] = merged(before, value),
        }
    }
    target
}
