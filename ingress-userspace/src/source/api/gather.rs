//! What the feeds tell, put together.
//!
//! Changes wait a few milliseconds for those that come with them. A change of Ingresses, or of what
//! they name, is taken over when all that they name then is there: else a host would be without its
//! certificate, or its paths without their list of users, for as long as one question takes. Endpoints
//! never wait for that. What is not there after some seconds, because very much is named or because the
//! API server does not come to an end with it, keeps only the Ingresses waiting that name it, and those
//! that have a host in common with them: they stay what they were.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    marker::PhantomData,
    mem,
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Node, Secret, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, interval_at, sleep_until},
};

use super::{
    Scope, Scoped, Watched,
    feed::Feed,
    kind::{Decoded, Kept, Kind, Mark, store_key},
    referenced::{Fetched, Referenced},
    session::Session,
};
use crate::{
    model::{Diagnostic, ObjectRef, Severity},
    source::{SourceState, Update},
    stores::{Changes, Key, Object, Store, Stores},
    translate::{Naming, Reference, References, naming_any, references, shared},
};

/// How long the first of some changes waits for the others.
const TOGETHER: Duration = Duration::from_millis(3);
/// Where changes keep coming, half of the time is spent on them; but this is the longest wait.
const LATEST: Duration = Duration::from_millis(100);
/// How often to say what is waited for.
const SAY: Duration = Duration::from_secs(10);
/// First questions are spread over this.
const SPREAD: Duration = Duration::from_millis(100);

/// Which feed.
pub(super) type FeedId = usize;

/// What a feed or a fetch tells.
pub(super) enum Message {
    /// All objects of the feed.
    Listed(FeedId, Vec<Decoded>),
    Changed(Decoded),
    Gone(ObjectRef),
    /// The feed is forbidden, and it goes without.
    Dispensed(FeedId, String),
    /// A feed does not work: see [`SourceState`].
    Failed,
    Fetched(Reference, u64, Fetched),
}

struct Followed {
    kind: &'static str,
    scope: Scope,
    listed: bool,
    dispensed: bool,
}

/// Puts together what the feeds tell.
pub(super) struct Gatherer {
    watched: Watched,
    state: Arc<SourceState>,
    messages: UnboundedReceiver<Message>,
    feeds: Vec<Followed>,
    /// What was told since, the last word about each; `None`: gone.
    told: BTreeMap<ObjectRef, Option<Object>>,
    /// All that is known.
    latest: Stores,
    references: References,
    /// All of those: what the objects in `latest` name, and what is needed anyway.
    named: BTreeSet<Reference>,
    /// They are asked for, and no others.
    is_asked_for: bool,
    /// What waits for what it names. What comes later does not make it wait longer.
    next: Option<(Stores, BTreeSet<Reference>)>,
    /// What those Ingresses name, as they were, that wait for what is late.
    held: BTreeSet<Reference>,
    referenced: Referenced,
    faults: BTreeMap<ObjectRef, Diagnostic>,
    /// What was handed on last.
    published: Option<(Arc<Stores>, Vec<Diagnostic>)>,
    due: Option<Instant>,
    /// When the first word came of what was not handed on yet.
    since: Option<Instant>,
    /// Not before this, for others to get their share.
    rest: Instant,
}

impl Gatherer {
    /// Starts the feeds.
    pub(super) fn start(
        session: &Arc<Session>,
        watched: Watched,
        state: &Arc<SourceState>,
    ) -> Self {
        let (sender, messages) = unbounded_channel();
        let mut starting = Starting {
            session: Arc::clone(session),
            state: Arc::clone(state),
            sender: sender.clone(),
            spread: SPREAD.mul_f64(fastrand::f64()),
            feeds: Vec::new(),
        };
        // Whoever watches one namespace may have no right to what has none, as for ingress-nginx.
        let namespaced = watched.options.watch_namespace.is_some();
        starting.follow::<Ingress>(watched.scopes(Scoped::Ingresses), false);
        starting.follow::<IngressClass>(vec![Scope::All], namespaced);
        starting.follow::<Service>(watched.scopes(Scoped::Services), false);
        starting.follow::<EndpointSlice>(watched.scopes(Scoped::Services), false);
        starting.follow::<Mark<Secret>>(watched.scopes(Scoped::Secrets), false);
        starting.follow::<Mark<ConfigMap>>(watched.scopes(Scoped::ConfigMaps), false);
        if watched.nodes {
            starting.follow::<Node>(vec![Scope::All], false);
        }
        if watched.options.watch_namespace_selector.is_some() {
            starting.follow::<Namespace>(vec![Scope::All], false);
        }
        let referenced = Referenced::new(Arc::clone(session), Arc::clone(state), sender);
        let named = watched.always.clone();
        let gatherer = Self {
            watched,
            state: Arc::clone(state),
            messages,
            feeds: starting.feeds,
            told: BTreeMap::new(),
            latest: Stores::default(),
            references: References::default(),
            named,
            is_asked_for: false,
            next: None,
            held: BTreeSet::new(),
            referenced,
            faults: BTreeMap::new(),
            published: None,
            due: None,
            since: None,
            rest: Instant::now(),
        };
        gatherer.say_what_is_missing();
        gatherer
    }

    /// Hands on every new state. Ends only by being dropped.
    pub(super) async fn run(mut self, mut sink: impl FnMut(Update)) {
        let mut saying = interval_at(Instant::now() + SAY, SAY);
        loop {
            let due = self.due;
            tokio::select! {
                message = self.messages.recv() => {
                    let Some(message) = message else { return };
                    self.take(message);
                    while let Ok(message) = self.messages.try_recv() {
                        self.take(message);
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.due = None;
                    let start = Instant::now();
                    if let Some(update) = self.settle() {
                        sink(update);
                        let pause = if self.held.is_empty() { start.elapsed() } else { LATEST };
                        self.rest = Instant::now() + pause.min(LATEST);
                    }
                    // Of what is late by then, nothing may be heard.
                    self.due = self.next.as_ref().and_then(|_| self.referenced.late_next());
                }
                _ = saying.tick(), if self.published.is_none() => {
                    tracing::warn!(
                        "not ready: waiting for {}{}",
                        self.missing().join(", "),
                        self.state
                            .troubles()
                            .iter()
                            .map(|trouble| format!("; {trouble}"))
                            .collect::<String>(),
                    );
                }
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Listed(feed, objects) => self.listed(feed, objects),
            Message::Changed(decoded) => self.changed(decoded),
            Message::Gone(id) => self.gone(id),
            Message::Dispensed(feed, why) => self.dispensed(feed, &why),
            // Nothing to hand on; it may be what the first state waits for.
            Message::Failed => return self.say_what_is_missing(),
            Message::Fetched(reference, ticket, fetched) => {
                match self.referenced.fetched(&reference, ticket, fetched) {
                    None => {}
                    Some(Fetched::Is(decoded)) => self.is(decoded),
                    Some(Fetched::Missing) => {
                        let id = reference.object();
                        self.faults.remove(&id);
                        self.told.insert(id, None);
                    }
                    Some(Fetched::Failed(why)) => {
                        let id = reference.object();
                        self.fault(id, format!("cannot be read: {why}"));
                    }
                }
            }
        }
        let now = Instant::now();
        self.since.get_or_insert(now);
        let soon = (now + TOGETHER).max(self.rest);
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    fn listed(&mut self, feed: FeedId, objects: Vec<Decoded>) {
        let Some(Followed { kind, scope, .. }) = self.feeds.get(feed) else { return };
        let (kind, scope) = (*kind, scope.clone());
        if let Some(feed) = self.feeds.get_mut(feed) {
            (feed.listed, feed.dispensed) = (true, false);
        }
        if kind == "IngressClass" {
            self.latest.classes_forbidden = false;
        }
        if reference(&ObjectRef::new(kind, "", "")).is_some() {
            let versions = objects
                .into_iter()
                .filter_map(|decoded| Some((reference(&decoded.id)?, decoded.version)))
                .collect();
            let is_in =
                |one: &Reference| one.object().kind == kind && scope.holds(&one.key().namespace);
            return self.referenced.listed(is_in, &versions);
        }
        self.absorb();
        let there: HashSet<_> = objects.iter().map(|decoded| decoded.id.clone()).collect();
        let known = self.latest.ids(kind).filter(|id| scope.holds(&id.namespace));
        let gone: Vec<_> = known.filter(|id| !there.contains(id)).collect();
        self.faults
            .retain(|id, _| id.kind != kind || !scope.holds(&id.namespace) || there.contains(id));
        self.told.extend(gone.into_iter().map(|id| (id, None)));
        for decoded in objects {
            self.is(decoded);
        }
    }

    fn changed(&mut self, decoded: Decoded) {
        match reference(&decoded.id) {
            Some(reference) => self.referenced.touched(&reference, decoded.version.as_deref()),
            None => self.is(decoded),
        }
    }

    fn gone(&mut self, id: ObjectRef) {
        match reference(&id) {
            Some(reference) => self.referenced.touched(&reference, None),
            None => {
                self.faults.remove(&id);
                self.told.insert(id, None);
            }
        }
    }

    /// The object is this now. One that cannot be read stays what it was.
    fn is(&mut self, decoded: Decoded) {
        match decoded.kept {
            Ok(Kept::Object(object)) => {
                self.faults.remove(&decoded.id);
                self.told.insert(decoded.id, Some(object));
            }
            Ok(Kept::Name) => {}
            Err(why) => {
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                self.fault(decoded.id, format!("cannot be understood{why}"));
            }
        }
    }

    fn fault(&mut self, object: ObjectRef, why: String) {
        let fault = Diagnostic {
            severity: Severity::Error,
            object: object.clone(),
            field: "metadata.name".to_owned(),
            message: format!("{why}; the last good state of the object stays, if there was one"),
        };
        self.faults.insert(object, fault);
    }

    fn dispensed(&mut self, feed: FeedId, why: &str) {
        let Some(feed) = self.feeds.get_mut(feed) else { return };
        feed.listed = true;
        if !mem::replace(&mut feed.dispensed, true) {
            tracing::warn!("{}: {why}; all goes on as if there were none", feed.kind);
            // Only they are dispensable.
            self.latest.classes_forbidden = true;
        }
    }

    /// Takes over what was told, leaving alone what is the same.
    fn absorb(&mut self) {
        let mut changes = Changes::default();
        for (id, object) in mem::take(&mut self.told) {
            match (self.latest.object(&id), object) {
                (Some(before), Some(now)) if before == now => {}
                (_, Some(now)) => changes.applied(&id, &now),
                (Some(before), None) => changes.deleted(&id, &before),
                (None, None) => {}
            }
        }
        self.latest.apply(changes);
    }

    /// What is to be handed on, if it is complete and anything is new.
    fn settle(&mut self) -> Option<Update> {
        self.absorb();
        if self.feeds.iter().any(|feed| !feed.listed) {
            self.say_what_is_missing();
            return None;
        }
        self.look_for_names();
        let Some(stores) = self.complete() else {
            self.say_what_is_missing();
            return None;
        };
        let diagnostics: Vec<_> = self.faults.values().cloned().collect();
        if let Some((before, told)) = &self.published
            && before.same(&stores)
            && *told == diagnostics
        {
            self.since = None;
            return None;
        }
        let stores = Arc::new(stores);
        let mut since = self.since.take();
        if self.published.is_none() {
            since = None;
            self.state.waits_for(Vec::new());
            tracing::info!(
                ingresses = stores.ingresses.len(),
                services = stores.services.len(),
                endpoint_slices = stores.endpoint_slices.len(),
                "all objects of the cluster are there"
            );
        }
        self.published = Some((Arc::clone(&stores), diagnostics.clone()));
        Some(Update { stores, diagnostics, since: since.map(Instant::into_std) })
    }

    /// The newest state in which nothing is named that is not known; `None`: there is none yet.
    fn complete(&mut self) -> Option<Stores> {
        let late = self.late();
        if self.referenced.is_complete_but(&late) {
            self.next = None;
            let latest = self.latest.clone();
            let ingresses = self.hold(&latest, &late);
            self.forget_unnamed();
            return Some(Stores { ingresses, ..self.latest.clone() });
        }
        if let Some((next, _)) =
            self.next.take_if(|(_, named)| self.referenced.is_complete_for(named, &late))
        {
            self.next = Some((self.latest.clone(), self.named.clone()));
            // What Ingresses may name depends on it: by another one they may name what is not there.
            let settings = self.watched.options.configmap.as_ref();
            let is_same = settings.is_none_or(|(namespace, name)| {
                let settings =
                    |stores: &Stores| stores.config_maps.get(namespace, name).map(Arc::as_ptr);
                settings(&next) == settings(&self.latest)
            });
            if is_same {
                let ingresses = self.hold(&next, &late);
                return Some(Stores {
                    ingresses,
                    ingress_classes: next.ingress_classes,
                    namespaces: next.namespaces,
                    classes_forbidden: next.classes_forbidden,
                    ..self.latest.clone()
                });
            }
        }
        let latest = &self.latest;
        if self.next.is_none() {
            self.next = Some((latest.clone(), self.named.clone()));
        }
        let (published, _) = self.published.as_ref()?;
        Some(Stores {
            services: latest.services.clone(),
            endpoint_slices: latest.endpoint_slices.clone(),
            nodes: latest.nodes.clone(),
            ..Stores::clone(published)
        })
    }

    /// What is late and concerns only the Ingresses that name it. The first state has everything; what
    /// flags and the ConfigMap name concerns all.
    fn late(&self) -> BTreeSet<Reference> {
        if self.published.is_none() {
            return BTreeSet::new();
        }
        let mut late = self.referenced.late();
        if !late.is_empty() {
            let shared = shared(&self.latest, &self.watched.options);
            late.retain(|reference| {
                !shared.contains(reference) && !self.watched.always.contains(reference)
            });
        }
        late
    }

    /// The Ingresses of this state; those that name what is late, and those that wait with them, as they
    /// were handed on last, with what they named then.
    fn hold(&mut self, state: &Stores, late: &BTreeSet<Reference>) -> Store<Ingress> {
        let mut held = match &self.next {
            Some(_) => self.replaced(),
            None => BTreeSet::new(),
        };
        let mut ingresses = state.ingresses.clone();
        if let Some((published, _)) = self.published.as_ref().filter(|_| !late.is_empty()) {
            let options = &self.watched.options;
            let mut waiting = naming_any(state, options, late);
            let naming = Naming::new(&options.annotations_prefix);
            wait_together(&mut waiting, &published.ingresses, &state.ingresses, &naming);
            let before = |key: &Key| published.ingresses.get(&key.namespace, &key.name).cloned();
            let as_they_were: Store<Ingress> =
                waiting.iter().filter_map(|key| Some(((*key).clone(), before(key)?))).collect();
            let others = state.ingresses.iter().filter(|(key, _)| !waiting.contains(*key));
            ingresses = as_they_were
                .iter()
                .chain(others)
                .map(|(key, ingress)| (key.clone(), Arc::clone(ingress)))
                .collect();
            held.extend(self.named_by(published, as_they_were));
        }
        if held != self.held {
            self.held = held;
            self.ask();
        }
        ingresses
    }

    /// Asks for what is named now, where what names it changed.
    fn look_for_names(&mut self) {
        let is_news = self.references.go_on(&self.latest, &self.watched.options);
        if is_news {
            self.named = self.references.iter().chain(&self.watched.always).cloned().collect();
        }
        if !is_news && self.is_asked_for {
            return;
        }
        self.is_asked_for = self.next.is_none();
        self.held = self.replaced();
        self.ask();
    }

    /// What the Ingresses name, as they were handed on, that are others now: they may have to stay for
    /// a while.
    fn replaced(&self) -> BTreeSet<Reference> {
        let Some((published, _)) = &self.published else { return BTreeSet::new() };
        let changes = published.ingresses.changes(&self.latest.ingresses);
        let before =
            changes.filter_map(|(key, before, _)| Some((key.clone(), Arc::clone(before?))));
        self.named_by(published, before.collect())
    }

    /// What these Ingresses name in this state.
    fn named_by(&self, state: &Stores, ingresses: Store<Ingress>) -> BTreeSet<Reference> {
        match ingresses.is_empty() {
            true => BTreeSet::new(),
            false => references(&Stores { ingresses, ..state.clone() }, &self.watched.options),
        }
    }

    /// Asks for all that is named by what is, what waits, and what is held.
    fn ask(&mut self) {
        let mut wanted = self.named.clone();
        wanted.extend(self.next.iter().flat_map(|(_, named)| named.iter().cloned()));
        wanted.extend(self.held.iter().cloned());
        let feeds = &self.feeds;
        self.referenced.want(&wanted, |reference| {
            let kind = reference.object().kind;
            let namespace = &reference.key().namespace;
            feeds.iter().any(|feed| feed.kind == kind && feed.scope.holds(namespace))
        });
    }

    /// What nothing names any more is not kept.
    fn forget_unnamed(&mut self) {
        let mut unnamed = BTreeSet::new();
        for kind in ["Secret", "ConfigMap"] {
            unnamed.extend(self.latest.ids(kind).filter(|id| {
                reference(id).is_none_or(|reference| !self.referenced.contains(&reference))
            }));
        }
        self.faults.retain(|id, _| {
            reference(id).is_none_or(|reference| self.referenced.contains(&reference))
        });
        if unnamed.is_empty() {
            return;
        }
        self.told.extend(unnamed.into_iter().map(|id| (id, None)));
        self.absorb();
    }

    /// What the first complete state waits for.
    fn missing(&self) -> Vec<String> {
        let feeds = self.feeds.iter().filter(|feed| !feed.listed);
        let mut missing: Vec<_> = feeds
            .map(|feed| match &feed.scope {
                Scope::All => format!("the list of {}", feed.kind),
                Scope::Namespace(name) => format!("the list of {} in {name}", feed.kind),
            })
            .collect();
        missing.extend(self.referenced.outstanding().map(|one| one.object().to_string()).take(10));
        missing
    }

    fn say_what_is_missing(&self) {
        if self.published.is_none() {
            self.state.waits_for(self.missing());
        }
    }
}

/// Adds to the Ingresses that wait those that changed, or are gone, and had a host in common with what
/// one of them is to be: what they give up there may be what that one takes over. They wait too then,
/// and others with them. Only within a namespace: nobody keeps another one's Ingress.
fn wait_together<'s>(
    waiting: &mut BTreeSet<&'s Key>,
    before: &'s Store<Ingress>,
    now: &'s Store<Ingress>,
    naming: &Naming,
) {
    // By namespace and host, and by what follows the first label of that, for wildcards above.
    let mut changed: BTreeMap<(&str, String), Vec<&'s Key>> = BTreeMap::new();
    for (key, ingress, _) in before.changes(now) {
        for name in ingress.iter().flat_map(|ingress| naming.names(ingress)) {
            let beneath = name.split_once('.').map(|(_, suffix)| format!(".{suffix}"));
            for name in [Some(name.to_string()), beneath].into_iter().flatten() {
                changed.entry((&*key.namespace, name)).or_default().push(key);
            }
        }
    }
    let mut next: Vec<&'s Key> = waiting.iter().copied().collect();
    while let Some(key) = next.pop() {
        let ingress = now.get(&key.namespace, &key.name);
        for name in ingress.iter().flat_map(|ingress| naming.names(ingress)) {
            let star = if name.starts_with("*.") { "" } else { "*" };
            let related = name.split_once('.').map(|(_, suffix)| format!("{star}.{suffix}"));
            for name in [Some(name.to_string()), related].into_iter().flatten() {
                let found = changed.remove(&(&*key.namespace, name)).unwrap_or_default();
                next.extend(found.into_iter().filter(|key| waiting.insert(*key)));
            }
        }
    }
}

/// What kinds are only kept where something names them.
fn reference(id: &ObjectRef) -> Option<Reference> {
    match id.kind {
        "Secret" => Some(Reference::Secret(store_key(id))),
        "ConfigMap" => Some(Reference::ConfigMap(store_key(id))),
        _ => None,
    }
}

struct Starting {
    session: Arc<Session>,
    state: Arc<SourceState>,
    sender: UnboundedSender<Message>,
    spread: Duration,
    feeds: Vec<Followed>,
}

impl Starting {
    fn follow<K: Kind>(&mut self, scopes: Vec<Scope>, dispensable: bool) {
        for scope in scopes {
            let feed = Feed::<K> {
                id: self.feeds.len(),
                scope: scope.clone(),
                session: Arc::clone(&self.session),
                state: Arc::clone(&self.state),
                messages: self.sender.clone(),
                dispensable,
                of: PhantomData,
            };
            tokio::spawn(feed.run(self.spread));
            self.feeds.push(Followed { kind: K::NAME, scope, listed: false, dispensed: false });
        }
    }
}
