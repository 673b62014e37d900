//! The way of a change: objects and names to model to snapshot, in one go, on the thread of who
//! brings the change.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Instant,
};

use tokio::sync::watch;

use super::{
    diagnostics::DiagnosticsLog,
    steering::{Fixed, Steering},
};
use crate::{
    admin::Board,
    kubernetes::{Moment, Moments},
    model::{Backend, Diagnostic, Member, Model},
    names::Names,
    proxy::Ports,
    resolve::Wanted,
    route::RouteTable,
    snapshot::{Publisher, Snapshot},
    source::Update,
    stores::Stores,
    tls::{Handshakes, Lasting},
    translate::{Options, Translator},
};

/// Turns each state of the objects and names into what is served. The source's thread brings the
/// objects, the resolver's the names.
pub(super) struct Control {
    options: Options,
    tls: Lasting,
    translator: Translator,
    publisher: Publisher,
    board: Arc<Board>,
    steering: Steering,
    /// What of it never changes.
    fixed: Fixed,
    /// The nodes of `--members`, which stand for those of the objects, and what is wrong with them.
    roster: Option<Vec<Member>>,
    bad_roster: Option<Diagnostic>,
    log: DiagnosticsLog,
    /// Tells the resolver what to look up.
    wanted: Wanted,
    asked: BTreeSet<Arc<str>>,
    /// The objects as they are now, and what is wrong with their files.
    stores: Option<(Arc<Stores>, Vec<Diagnostic>)>,
    /// When the first word came of what is not published yet.
    since: Option<Instant>,
    names: Arc<Names>,
    /// Of the routes as they are published.
    bad_routes: Vec<Diagnostic>,
    ports: Ports,
    /// For those who write into the cluster or judge for it, if any.
    moments: watch::Sender<Option<Arc<Moment>>>,
}

impl Control {
    pub(super) fn new(
        options: Options,
        tls: Lasting,
        publisher: Publisher,
        board: Arc<Board>,
        (steering, fixed): (Steering, Fixed),
        wanted: Wanted,
        ports: Ports,
    ) -> Self {
        Self {
            translator: Translator::new(options.clone()),
            options,
            tls,
            publisher,
            board,
            steering,
            fixed,
            roster: None,
            bad_roster: None,
            log: DiagnosticsLog::default(),
            wanted,
            asked: BTreeSet::new(),
            stores: None,
            since: None,
            names: Arc::default(),
            bad_routes: Vec::new(),
            ports,
            moments: watch::channel(None).0,
        }
    }

    /// What there is after each change.
    pub(super) fn moments(&self) -> Moments {
        self.moments.subscribe()
    }

    /// The objects are these now.
    pub(super) fn apply(&mut self, update: Update) {
        self.stores = Some((update.stores, update.diagnostics));
        self.since = update.since;
        self.renew();
    }

    /// The nodes of `--members` are these now; if they cannot be told, those of before.
    pub(super) fn named(&mut self, members: Result<Vec<Member>, Diagnostic>) {
        match members {
            Ok(members) => {
                self.roster = Some(members);
                self.bad_roster = None;
            }
            Err(fault) => self.bad_roster = Some(fault),
        }
        self.renew();
    }

    /// The names stand for these now.
    pub(super) fn resolved(&mut self, names: Names) {
        self.names = Arc::new(names);
        self.since = Some(Instant::now());
        self.renew();
    }

    /// There is no name that nothing is known of yet.
    pub(super) fn knows_names(&self) -> bool {
        self.asked.iter().all(|name| self.names.get(name).is_some())
    }

    /// Translates and publishes. A bug in it costs this update, never the agent: what was served
    /// before goes on.
    fn renew(&mut self) {
        let Some((stores, diagnostics)) = self.stores.clone() else { return };
        let started = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| self.publish(&stores, diagnostics))) {
            Ok(generation) => {
                tracing::debug!(generation, elapsed = ?started.elapsed(), "published");
            }
            Err(_panic) => {
                self.board.ledger.failed();
                tracing::error!("a change was not applied, by a bug; what was served before stays");
                // What it remembered may be half done.
                self.translator = Translator::new(self.options.clone());
            }
        }
    }

    fn publish(&mut self, stores: &Arc<Stores>, mut diagnostics: Vec<Diagnostic>) -> u64 {
        let begun = Instant::now();
        let translation = self.translator.translate(stores, &self.names);
        let translated = Instant::now();
        let model = translation.model;
        let before = self.publisher.current();
        let same_hosts = Arc::ptr_eq(&before.model.hosts, &model.hosts);
        let routes = self.routes(&before, &model, same_hosts);
        let handshakes = self.handshakes(&before, &model, same_hosts);
        if !same_hosts || before.generation == 0 || is_renamed(&before.model, &model) {
            self.board.registry.publish(&model, &routes);
        }
        let generation = self.publisher.publish(Arc::clone(&model), routes, handshakes);
        let live = self.since.take().map(|since| since.elapsed());
        self.board.ledger.published(translated - begun, translated.elapsed(), live);
        self.board.set_stores(Arc::clone(stores));
        self.warm_firewall();
        self.board.readiness.published();
        if let Some(levels) = &self.board.levels {
            levels.configure(model.settings.log_level);
        }
        let services = self.fixed.services(stores, &model);
        self.steering.update(self.roster.as_ref().unwrap_or(&model.members), services);
        if !same_hosts {
            self.board.zones.prune(&model);
        }
        self.wanted.set_ipv6(model.settings.ipv6_names);
        if self.asked != translation.names {
            self.asked.clone_from(&translation.names);
            self.wanted.tell(translation.names);
        }

        diagnostics.extend(self.bad_roster.clone());
        diagnostics.extend(self.ports.update(&model.streams));
        diagnostics.extend(translation.diagnostics);
        diagnostics.extend_from_slice(&self.bad_routes);
        diagnostics.sort();
        diagnostics.dedup();
        self.log.update(&diagnostics);
        let diagnostics: Arc<[_]> = diagnostics.into();
        if self.moments.receiver_count() > 0 {
            let (stores, names) = (Arc::clone(stores), Arc::clone(&self.names));
            let moment = Moment { stores, names, diagnostics: Arc::clone(&diagnostics) };
            self.moments.send_replace(Some(Arc::new(moment)));
        }
        self.board.set_diagnostics(diagnostics);
        generation
    }

    /// New rules of the firewall are compiled beside everything else, before or while the first
    /// request needs them.
    fn warm_firewall(&self) {
        let fresh = self.options.firewall.fresh();
        if fresh.is_empty() {
            return;
        }
        let warm = move || fresh.iter().for_each(|rules| rules.warm());
        if let Err(error) = thread::Builder::new().name("rules".to_owned()).spawn(warm) {
            tracing::warn!(%error, "the firewall's rules are compiled when they are first needed");
        }
    }

    fn routes(&mut self, before: &Snapshot, model: &Model, same_hosts: bool) -> Arc<RouteTable> {
        if same_hosts {
            return Arc::clone(&before.routes);
        }
        let (routes, bad_routes) = before.routes.next(model);
        self.bad_routes = bad_routes;
        Arc::new(routes)
    }

    fn handshakes(&self, before: &Snapshot, model: &Model, same_hosts: bool) -> Arc<Handshakes> {
        let same = same_hosts
            && Arc::ptr_eq(&before.model.certificates, &model.certificates)
            && before.model.default_certificate == model.default_certificate
            && before.model.settings.tls == model.settings.tls
            && before.model.ticket_keys == model.ticket_keys
            && before.generation > 0;
        match same {
            true => Arc::clone(&before.handshakes),
            false => Arc::new(before.handshakes.next(model, &self.tls)),
        }
    }
}

/// Backends are called otherwise, or have others asked instead of them: what metrics show of a route
/// is not what it was, though its host is the same.
fn is_renamed(before: &Model, model: &Model) -> bool {
    let canary = |own: &Backend| own.balancing.canary.as_ref().map(|own| own.backend);
    before.backends.len() != model.backends.len()
        || before.backends.iter().zip(&model.backends).any(|(was, is)| {
            !Arc::ptr_eq(was, is) && (was.key != is.key || canary(was) != canary(is))
        })
}
