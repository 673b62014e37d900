//! The source against an API server in memory, in the time of the tests.

#[path = "../../../tests/agent/support/api_server.rs"]
mod api_server;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use api_server::ApiServer;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, sleep, timeout},
};

use super::{Scoped, Watched, gather::Gatherer, session::Session};
use crate::{
    source::{SourceState, Update},
    stores::Stores,
    translate,
};

const LONG: Duration = Duration::from_secs(600);

/// A source that follows an API server.
struct Follower {
    updates: UnboundedReceiver<Update>,
    state: Arc<SourceState>,
    latest: Option<Update>,
}

impl Follower {
    fn start(server: &ApiServer) -> Self {
        Self::start_with(server, Watched { options: options(), ..Watched::default() })
    }

    fn start_with(server: &ApiServer, watched: Watched) -> Self {
        let server = server.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let answer = server.answer(&request);
            async move { answer }
        });
        let client = kube::Client::new(service, "default");
        let session = Arc::new(Session::new(client, None));
        let state = Arc::<SourceState>::default();
        let (sender, updates) = unbounded_channel();
        let gatherer = Gatherer::start(&session, watched, &state);
        tokio::spawn(gatherer.run(move |update| {
            let _ended = sender.send(update);
        }));
        Self { updates, state, latest: None }
    }

    /// Waits until the objects are as wanted.
    async fn until(&mut self, what: &str, is: impl Fn(&Update) -> bool) -> Update {
        let start = Instant::now();
        loop {
            if let Some(update) = self.latest.as_ref().filter(|update| is(update)) {
                return update.clone();
            }
            let left = LONG.saturating_sub(start.elapsed());
            let next = timeout(left, self.updates.recv()).await;
            self.latest = Some(next.unwrap_or_else(|_| panic!("{what}")).expect("it runs"));
        }
    }

    async fn until_stores(&mut self, what: &str, is: impl Fn(&Stores) -> bool) -> Arc<Stores> {
        self.until(what, |update| is(&update.stores)).await.stores
    }

    /// Nothing was handed on that was not looked at.
    fn is_silent(&mut self) -> bool {
        self.updates.try_recv().is_err()
    }
}

fn options() -> translate::Options {
    translate::Options { watch_ingress_without_class: true, ..translate::Options::default() }
}

fn object(kind: &str, name: &str, more: Value) -> Value {
    let version = match kind {
        "Ingress" | "IngressClass" => "networking.k8s.io/v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        _ => "v1",
    };
    let mut object = json!({ "kind": kind, "apiVersion": version, "metadata": { "name": name } });
    if !matches!(kind, "IngressClass" | "Node" | "Namespace") {
        object["metadata"]["namespace"] = json!("web");
    }
    for (key, value) in more.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}

fn ingress(name: &str, secret: &str) -> Value {
    object("Ingress", name, json!({ "spec": { "tls": [{ "secretName": secret }] } }))
}

fn ingress_of(name: &str, hosts: &[&str], secret: &str) -> Value {
    let mut ingress = ingress(name, secret);
    ingress["spec"]["rules"] = hosts.iter().map(|host| json!({ "host": host })).collect();
    ingress
}

fn service(name: &str, port: u16) -> Value {
    object("Service", name, json!({ "spec": { "ports": [{ "port": port }] } }))
}

fn secret(name: &str, text: &str) -> Value {
    let data = data_encoding::BASE64.encode(text.as_bytes());
    object("Secret", name, json!({ "data": { "tls.crt": data } }))
}

fn secret_text(stores: &Stores, name: &str) -> Option<String> {
    let secret = stores.secrets.get("web", name)?;
    let data = secret.data.as_ref()?.get("tls.crt")?;
    String::from_utf8(data.0.clone()).ok()
}

#[tokio::test(start_paused = true)]
async fn objects_come_change_and_go() {
    let server = ApiServer::default();
    server.put(service("one", 80));
    let mut follower = Follower::start(&server);
    let first = follower.until_stores("one", |stores| stores.services.len() == 1).await;
    server.put(service("two", 80));
    let second = follower.until_stores("two", |stores| stores.services.len() == 2).await;
    let one = |stores: &Stores| Arc::clone(stores.services.get("web", "one").expect("it is there"));
    assert!(Arc::ptr_eq(&one(&first), &one(&second)), "what did not change is the same");
    assert!(one(&first).metadata.managed_fields.is_none());
    server.delete("Service", "web", "one");
    follower.until_stores("gone", |stores| stores.services.get("web", "one").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_is_handed_on_within_milliseconds_and_many_at_once() {
    let server = ApiServer::default();
    let mut follower = Follower::start(&server);
    follower.until_stores("the first", |_| true).await;
    let start = Instant::now();
    server.put(service("one", 80));
    follower.until_stores("one", |stores| stores.services.len() == 1).await;
    assert!(start.elapsed() <= Duration::from_millis(5), "{:?}", start.elapsed());
    for index in 0..1000 {
        server.put(service(&format!("more-{index}"), 80));
    }
    follower.until_stores("all", |stores| stores.services.len() == 1001).await;
    assert!(follower.is_silent());
}

#[tokio::test(start_paused = true)]
async fn lists_come_in_pages_and_one_that_expires_is_asked_for_whole() {
    let server = ApiServer::default();
    for index in 0..1200 {
        server.put(service(&format!("s-{index}"), 80));
    }
    let mut follower = Follower::start(&server);
    follower.until_stores("all", |stores| stores.services.len() == 1200).await;
    let asked = server.asked();
    let pages = asked.iter().filter(|one| one.plural == "services" && !one.watch);
    assert_eq!(pages.map(|one| one.limit).collect::<Vec<_>>(), [Some(500); 3]);

    server.script(|asked| asked.more.is_some().then(|| (410, "expired".to_owned())));
    let mut follower = Follower::start(&server);
    follower.until_stores("all", |stores| stores.services.len() == 1200).await;
    let asked = server.asked();
    let lists: Vec<_> = asked.iter().filter(|one| one.plural == "services" && !one.watch).collect();
    assert_eq!(lists.last().and_then(|one| one.limit), None);
}

#[tokio::test(start_paused = true)]
async fn what_happened_while_nothing_was_heard_is_learnt() {
    let server = ApiServer::default();
    server.put(service("stays", 80));
    server.put(service("goes", 80));
    let mut follower = Follower::start(&server);
    let first = follower.until_stores("both", |stores| stores.services.len() == 2).await;
    for forgotten in [false, true] {
        server.script(|_| Some((0, "unplugged".to_owned())));
        server.end_watches(true);
        sleep(Duration::from_secs(3600)).await;
        let name = format!("comes-{forgotten}");
        server.put(service(&name, 80));
        server.delete("Service", "web", "goes");
        if forgotten {
            server.forget();
        }
        assert!(follower.is_silent(), "what is known is kept");
        let troubles = follower.state.troubles();
        assert!(troubles.iter().any(|one| one.what.contains("unplugged")), "{troubles:?}");
        let tries = server.asked().len();
        // Six kinds, every fifteen seconds on average.
        assert!((600..4000).contains(&tries), "{tries} questions in an hour");
        server.script(|_| None);
        let start = Instant::now();
        let now = follower
            .until_stores("both", |stores| stores.services.get("web", &name).is_some())
            .await;
        // The longest pause is of 30 s; what was forgotten is listed soon after.
        assert!(start.elapsed() <= Duration::from_secs(32), "{:?}", start.elapsed());
        assert!(now.services.get("web", "goes").is_none());
        let stays = |stores: &Stores| Arc::clone(stores.services.get("web", "stays").expect("it"));
        assert!(Arc::ptr_eq(&stays(&first), &stays(&now)), "listed again, it is the same");
        sleep(Duration::from_secs(60)).await;
        assert!(follower.state.troubles().is_empty());
        server.asked();
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_watch_lists_again_and_a_bookmark_spares_it() {
    let server = ApiServer::default();
    let mut follower = Follower::start(&server);
    follower.until_stores("the first", |_| true).await;
    sleep(Duration::from_secs(1)).await;
    server.forget();
    server.bookmark();
    sleep(Duration::from_secs(1)).await;
    server.asked();
    server.end_watches(false);
    sleep(Duration::from_secs(5)).await;
    let asked = server.asked();
    assert!(asked.len() >= 6 && asked.iter().all(|one| one.watch), "{asked:?}");
    let status = json!({ "kind": "Status", "code": 410, "message": "too old" });
    server.event("ERROR", &status);
    server.put(service("late", 80));
    follower.until_stores("it", |stores| stores.services.len() == 1).await;
    sleep(Duration::from_secs(5)).await;
    let lists = server.asked().iter().filter(|one| !one.watch).count();
    assert_eq!(lists, 6);
    assert!(follower.state.troubles().is_empty());
}

#[tokio::test(start_paused = true)]
async fn silence_is_no_sign_of_life() {
    let server = ApiServer::default();
    let mut follower = Follower::start(&server);
    follower.until_stores("the first", |_| true).await;
    server.asked();
    sleep(Duration::from_secs(200)).await;
    assert!(server.asked().iter().any(|one| one.watch), "watches are opened again");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_none_keeps_its_last_state_and_harms_no_other() {
    let server = ApiServer::default();
    server.put(service("one", 80));
    let mut follower = Follower::start(&server);
    follower.until_stores("one", |stores| stores.services.len() == 1).await;
    let port = |update: &Update| {
        let service = update.stores.services.get("web", "one")?;
        Some(service.spec.as_ref()?.ports.as_ref()?.first()?.port)
    };
    // By an event, then by a list.
    for listed in [false, true] {
        server.put(object("Service", "one", json!({ "spec": { "ports": "none" } })));
        if listed {
            server.forget();
            server.end_watches(true);
        }
        server.put(service(&format!("two-{listed}"), 80));
        let update = follower
            .until("a fault", |update| {
                update.diagnostics.len() == 1
                    && update.stores.services.len() == 2 + usize::from(listed)
            })
            .await;
        assert_eq!(port(&update), Some(80));
        let said = update.diagnostics[0].to_string();
        assert!(
            said.contains("Service web/one") && said.contains("cannot be understood"),
            "{said}"
        );
    }
    server.put(service("one", 81));
    let update = follower.until("no fault", |update| update.diagnostics.is_empty()).await;
    assert_eq!(port(&update), Some(81));
}

#[tokio::test(start_paused = true)]
async fn only_what_is_named_is_fetched_and_kept() {
    let server = ApiServer::default();
    server.put(secret("cert", "one"));
    server.put(secret("private", "never to be seen"));
    server.put(ingress("shop", "cert"));
    let mut follower = Follower::start(&server);
    let stores = follower.until_stores("the first", |_| true).await;
    assert_eq!(secret_text(&stores, "cert").as_deref(), Some("one"));
    assert_eq!(stores.secrets.len(), 1);
    for asked in server.asked() {
        let whole = asked.plural == "secrets" && !asked.metadata;
        assert!(!whole || asked.name.as_deref() == Some("cert"), "{asked:?}");
    }
    server.put(secret("cert", "two"));
    follower
        .until_stores("its change", |stores| secret_text(stores, "cert").as_deref() == Some("two"))
        .await;
    server.delete("Secret", "web", "cert");
    follower.until_stores("its end", |stores| stores.secrets.is_empty()).await;
    server.put(secret("cert", "three"));
    follower.until_stores("its return", |stores| stores.secrets.len() == 1).await;
    server.delete("Ingress", "web", "shop");
    follower
        .until_stores("nobody names it", |stores| {
            stores.ingresses.is_empty() && stores.secrets.is_empty()
        })
        .await;
    server.put(secret("cert", "four"));
    sleep(Duration::from_secs(1)).await;
    assert!(follower.is_silent());
}

#[tokio::test(start_paused = true)]
async fn an_ingress_waits_for_what_it_names_and_endpoints_do_not() {
    let server = ApiServer::default();
    server.put(secret("old", "old"));
    server.put(secret("new", "new"));
    server.put(ingress("shop", "old"));
    let mut follower = Follower::start(&server);
    follower.until_stores("the first", |_| true).await;
    // The API server is slow to say what `new` is.
    server
        .script(|asked| (asked.name.as_deref() == Some("new")).then(|| (503, "later".to_owned())));
    server.put(ingress("shop", "new"));
    server.put(service("meanwhile", 80));
    let named = |stores: &Stores| {
        let ingress = stores.ingresses.get("web", "shop")?;
        ingress.spec.as_ref()?.tls.as_ref()?.first()?.secret_name.clone()
    };
    let stores = follower.until_stores("the Service", |stores| stores.services.len() == 1).await;
    assert_eq!(named(&stores).as_deref(), Some("old"));
    assert_eq!(secret_text(&stores, "old").as_deref(), Some("old"));
    sleep(Duration::from_secs(60)).await;
    assert!(follower.is_silent());
    server.script(|_| None);
    let stores =
        follower.until_stores("the change", |stores| named(stores).as_deref() == Some("new")).await;
    assert_eq!(secret_text(&stores, "new").as_deref(), Some("new"));
    assert_eq!(stores.secrets.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_state_has_what_the_config_map_allows_to_be_named() {
    let server = ApiServer::default();
    server.put(object(
        "ConfigMap",
        "settings",
        json!({ "data": {
        "allow-cross-namespace-resources": "true", "add-headers": "web/fields",
    } }),
    ));
    server.put(object("ConfigMap", "fields", json!({ "data": { "X-A": "b" } })));
    let mut users = secret("users", "eve");
    users["metadata"]["namespace"] = json!("other");
    server.put(users);
    let mut ingress = ingress("shop", "missing");
    ingress["metadata"]["annotations"] =
        json!({ "nginx.ingress.kubernetes.io/auth-secret": "other/users" });
    server.put(ingress);
    let configmap = Some(("web".to_owned(), "settings".to_owned()));
    let options = translate::Options { configmap, ..options() };
    let mut follower = Follower::start_with(&server, Watched { options, ..Watched::default() });
    let stores = follower.until_stores("the first", |_| true).await;
    assert!(stores.secrets.get("other", "users").is_some());
    assert_eq!(stores.config_maps.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn changes_that_keep_coming_keep_none_waiting() {
    let server = ApiServer::default();
    let mut follower = Follower::start(&server);
    follower.until_stores("the first", |_| true).await;
    // At any moment the answer about some Secret is still to come: about the last one, never.
    for index in 0..50 {
        let last = format!("cert-{index}");
        server.put(secret(&last, "text"));
        server.script(move |asked| {
            (asked.name.as_ref() == Some(&last)).then(|| (503, "later".to_owned()))
        });
        server.put(ingress(&format!("i-{index}"), &format!("cert-{index}")));
        sleep(Duration::from_millis(1500)).await;
    }
    let stores = follower.until_stores("most of them", |stores| stores.ingresses.len() > 20).await;
    for (_, ingress) in stores.ingresses.iter() {
        let tls = ingress.spec.as_ref().and_then(|spec| spec.tls.as_ref()).expect("it has");
        let name = tls[0].secret_name.as_deref().expect("it names one");
        assert!(secret_text(&stores, name).is_some(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_never_told_keeps_others_waiting_for_seconds_only() {
    let server = ApiServer::default();
    server.put(ingress("shop", "cursed"));
    server.put(ingress("forum", "forbidden"));
    server.script(|asked| match asked.name.as_deref() {
        Some("cursed") => Some((500, "cannot decrypt".to_owned())),
        Some("forbidden") => Some((403, "secrets \"forbidden\" is forbidden".to_owned())),
        _ => None,
    });
    let mut follower = Follower::start(&server);
    let start = Instant::now();
    let update = follower.until("the first", |_| true).await;
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    let said: Vec<_> = update.diagnostics.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|one| one.contains("cursed") && one.contains("decrypt")), "{said:?}");
    assert!(said.iter().any(|one| one.contains("web/forbidden")), "{said:?}");
    server.put(secret("cursed", "healed"));
    server.script(|_| None);
    follower.until_stores("it", |stores| secret_text(stores, "cursed").is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_handed_on_before_all_is_there() {
    let server = ApiServer::default();
    server.put(service("one", 80));
    server.script(|asked| {
        let message = "services is forbidden: User \"u\" cannot list resource \"services\"";
        (asked.plural == "services").then(|| (403, message.to_owned()))
    });
    let mut follower = Follower::start(&server);
    sleep(Duration::from_secs(120)).await;
    assert!(follower.is_silent());
    assert_eq!(follower.state.waiting(), ["the list of Service"]);
    let troubles = follower.state.troubles();
    assert_eq!(troubles.len(), 1);
    let rule = "apiGroups [\"\"], resources [\"services\"], verbs [\"list\", \"watch\"]";
    assert!(troubles[0].what.contains(rule), "{troubles:?}");
    server.script(|_| None);
    follower.until_stores("one", |stores| stores.services.len() == 1).await;
    assert!(follower.state.troubles().is_empty() && follower.state.waiting().is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_one_namespace_nothing_else_is_asked_and_classes_are_dispensable() {
    let server = ApiServer::default();
    server.put(service("one", 80));
    server.put(ingress("shop", "cert"));
    server.script(|asked| {
        let why = "ingressclasses is forbidden".to_owned();
        asked.namespace.is_none().then_some((403, why))
    });
    let options = translate::Options {
        watch_namespace: Some("web".to_owned()),
        configmap: Some(("ctl".to_owned(), "settings".to_owned())),
        ..options()
    };
    let mut follower = Follower::start_with(&server, Watched { options, ..Watched::default() });
    let stores = follower.until_stores("the first", |stores| stores.services.len() == 1).await;
    assert!(stores.classes_forbidden && follower.state.troubles().is_empty());
    for asked in server.asked() {
        let expected = match &*asked.plural {
            "ingressclasses" => asked.namespace.is_none(),
            "configmaps" => matches!(asked.namespace.as_deref(), Some("web" | "ctl")),
            _ => asked.namespace.as_deref() == Some("web"),
        };
        assert!(expected, "{asked:?}");
    }
    server.script(|_| None);
    follower.until_stores("allowed at last", |stores| !stores.classes_forbidden).await;
    // An API server that begins refuses everything for a moment: what is known stays.
    server.script(|_| Some((403, "not yet".to_owned())));
    server.end_watches(true);
    sleep(Duration::from_secs(300)).await;
    assert!(follower.is_silent());
    assert!(follower.state.troubles().iter().any(|one| one.what.starts_with("IngressClass")));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_over_soon_dispenses_with_nothing() {
    let server = ApiServer::default();
    server.put(object("IngressClass", "penstock", json!({})));
    let mut left = 2;
    server.script(move |asked| {
        let refuses = asked.plural == "ingressclasses" && left > 0;
        left -= i32::from(refuses);
        refuses.then(|| (403, "not yet".to_owned()))
    });
    let options = translate::Options { watch_namespace: Some("web".to_owned()), ..options() };
    let mut follower = Follower::start_with(&server, Watched { options, ..Watched::default() });
    let stores = follower.until_stores("the first", |_| true).await;
    assert!(!stores.classes_forbidden && stores.ingress_classes.len() == 1);
}

#[tokio::test(start_paused = true)]
async fn namespaces_are_selected_by_labels_as_they_are_now() {
    let server = ApiServer::default();
    let namespace = |team: &str| {
        let mut namespace = object("Namespace", "web", json!({}));
        namespace["metadata"]["labels"] = json!({ "team": team });
        namespace
    };
    server.put(namespace("other"));
    server.put(ingress("shop", "cert"));
    server.put(secret("cert", "one"));
    let selector = Some("team=shop".parse().expect("a selector"));
    let options = translate::Options { watch_namespace_selector: selector, ..options() };
    let mut follower = Follower::start_with(&server, Watched { options, ..Watched::default() });
    let stores = follower.until_stores("the first", |_| true).await;
    assert!(stores.secrets.is_empty());
    server.put(namespace("shop"));
    follower.until_stores("selected", |stores| stores.secrets.len() == 1).await;
    server.put(namespace("other"));
    follower.until_stores("no more", |stores| stores.secrets.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_report_of_a_kubelet_is_no_change() {
    let server = ApiServer::default();
    let node = |heartbeat: &str, ready: &str| {
        let status = json!({
            "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }],
            "conditions": [{ "type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat }],
            "images": [{ "names": ["a"], "sizeBytes": 1 }],
        });
        object("Node", "n", json!({ "status": status }))
    };
    server.put(node("2026-01-01T00:00:00Z", "True"));
    let watched = Watched { options: options(), nodes: true, ..Watched::default() };
    let mut follower = Follower::start_with(&server, watched);
    let stores = follower.until_stores("the first", |_| true).await;
    let node_now = stores.nodes.get("", "n").expect("it is there");
    assert!(node_now.status.as_ref().is_some_and(|status| status.images.is_none()));
    server.put(node("2026-01-01T00:05:00Z", "True"));
    sleep(Duration::from_secs(1)).await;
    assert!(follower.is_silent());
    server.put(node("2026-01-01T00:10:00Z", "False"));
    follower.until("a change", |update| !Arc::ptr_eq(&update.stores, &stores)).await;
}

fn watched(flags: &str) -> Watched {
    use crate::config::{Invocation, Parsed, parse};
    let flags = format!("penstock run --apiserver-host=http://127.0.0.1:1 --node-name=n {flags}");
    match parse(flags.split_whitespace().map(Into::into), 1) {
        Parsed::Go(Invocation::Run(config)) => Watched::of(&config),
        other => panic!("{flags}: {other:?}"),
    }
}

#[test]
fn nodes_are_watched_wherever_something_is_steered() {
    for (mode, steers) in [("off", false), ("auto", true), ("xdp", true), ("tc", true)] {
        assert_eq!(watched(&format!("--l4={mode} --interface=lo")).nodes, steers, "{mode}");
    }
    assert!(!watched("--l4=auto").nodes, "there is nothing to steer on");
}

#[test]
fn services_that_flags_name_are_watched_beside_the_one_namespace() {
    let scopes = |flags: &str| {
        let scopes = watched(&format!("--watch-namespace=web {flags}")).scopes(Scoped::Services);
        let names: Vec<_> = scopes.iter().filter_map(|scope| scope.namespace()).collect();
        names.join(" ")
    };
    assert_eq!(scopes("--l4=off"), "web");
    assert_eq!(scopes("--l4=tc --interface=lo --members-service=edge/agents"), "edge web");
    assert_eq!(scopes("--l4=off --publish-service=edge/front"), "web", "the leader asks for it");
    assert_eq!(scopes("--l4=tc --interface=lo --publish-service=edge/front"), "edge web");
    let pool = "--l4=off --publish-service=edge/front --vip-pool=192.0.2.0/28";
    assert_eq!(scopes(pool), "edge web");
}

#[tokio::test(start_paused = true)]
async fn who_names_very_many_keeps_nobody_else_waiting() {
    // More than are fetched without delay: turns come in the order of names.
    const GREEDY: usize = 14;
    const NAMES: usize = 50;
    let server = ApiServer::default();
    server.put(secret("old", "old"));
    let [early, late, last] = ["greedy00", "greedy12", "greedy13"];
    server.put(ingress(last, "old"));
    let mut follower = Follower::start(&server);
    follower.until_stores("the first", |_| true).await;
    let tls = |stores: &Stores, name: &str| {
        let ingress = stores.ingresses.get("web", name)?;
        Some(ingress.spec.as_ref()?.tls.as_ref()?.len())
    };
    for number in 0..GREEDY {
        let mut greedy = ingress(&format!("greedy{number:02}"), "");
        let names = (0..NAMES).map(|one| json!({ "secretName": format!("s{number:02}-{one}") }));
        greedy["spec"]["tls"] = names.collect();
        server.put(greedy);
    }
    sleep(Duration::from_millis(100)).await;
    let (mut other, mut cert) = (ingress("other", "cert"), secret("cert", "text"));
    other["metadata"]["namespace"] = json!("other");
    cert["metadata"]["namespace"] = json!("other");
    server.put(cert);
    server.put(other);
    let start = Instant::now();
    let is_there = |stores: &Stores| stores.ingresses.get("other", "other").is_some();
    let stores = follower.until_stores("the other's", is_there).await;
    assert!(stores.secrets.get("other", "cert").is_some(), "it has what it names");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    // What waits is what it was, with what it named then.
    assert_eq!(tls(&stores, early), Some(NAMES));
    assert_eq!((tls(&stores, late), tls(&stores, last)), (None, Some(1)));
    assert_eq!(secret_text(&stores, "old").as_deref(), Some("old"));
    let stores = follower.until_stores("all", |stores| tls(stores, last) == Some(NAMES)).await;
    assert_eq!(tls(&stores, late), Some(NAMES));
    follower.until_stores("nobody names it", |stores| secret_text(stores, "old").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_takes_long_keeps_only_those_waiting_that_name_it() {
    let server = ApiServer::default();
    let mut follower = Follower::start(&server);
    follower.until_stores("the first", |_| true).await;
    // After five seconds it would count as one that cannot be had.
    server.script(|asked| {
        (asked.name.as_deref() == Some("slow")).then(|| (503, "come again".to_owned()))
    });
    server.put(ingress("slow", "slow"));
    sleep(Duration::from_millis(100)).await;
    server.put(secret("quick", "text"));
    server.put(ingress("quick", "quick"));
    let start = Instant::now();
    let is_there = |stores: &Stores, name| stores.ingresses.get("web", name).is_some();
    let stores = follower.until_stores("it", |stores| is_there(stores, "quick")).await;
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(!is_there(&stores, "slow"));
    assert_eq!(secret_text(&stores, "quick").as_deref(), Some("text"));
}

#[tokio::test(start_paused = true)]
async fn a_host_stays_with_its_ingress_until_the_next_one_is_whole() {
    const HOSTS: [&str; 5] = ["chat", "forum", "shop", "wiki", ".wild"];
    let server = ApiServer::default();
    for name in ["old", "shop", "late", "quick"] {
        server.put(secret(name, name));
    }
    server.put(ingress_of("renamed", &["shop"], "shop"));
    server.put(ingress_of("moved", &["forum", "wiki"], "old"));
    server.put(ingress_of("chat", &["chat"], "old"));
    server.put(ingress_of("one", &["one.wild"], "old"));
    server.put(ingress_of("removed", &["removed"], "old"));
    let mut theirs = ingress_of("theirs", &["shop"], "old");
    theirs["metadata"]["namespace"] = json!("other");
    server.put(theirs);
    let hosts = |stores: &Stores| {
        let mut hosts = BTreeSet::new();
        for (key, ingress) in stores.ingresses.iter() {
            for rule in ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten()) {
                let host = rule.host.as_deref().unwrap_or_default();
                hosts.insert(format!("{} {host}", key.name));
            }
        }
        let is_served = |host: &&str| hosts.iter().any(|one| one.ends_with(*host));
        assert!(HOSTS.iter().all(is_served), "{hosts:?}");
        hosts.into_iter().collect::<Vec<_>>()
    };
    let mut follower = Follower::start(&server);
    let first = follower.until_stores("the first", |_| true).await;
    assert_eq!(hosts(&first).len(), 7);
    server
        .script(|asked| (asked.name.as_deref() == Some("late")).then(|| (503, "later".to_owned())));
    // `new` takes hosts of three over; `moved`, which waits for it, the one of a fourth.
    server.delete("Ingress", "web", "renamed");
    server.delete("Ingress", "web", "one");
    server.put(ingress_of("new", &["shop", "wiki", "*.wild"], "late"));
    server.put(ingress_of("moved", &["forum", "chat"], "old"));
    server.delete("Ingress", "web", "chat");
    // These have nothing to do with it.
    server.delete("Ingress", "web", "removed");
    server.delete("Ingress", "other", "theirs");
    server.put(ingress("quick", "quick"));
    let is_there = |stores: &Stores, name| {
        hosts(stores);
        stores.ingresses.get("web", name).is_some()
    };
    let stores = follower.until_stores("the quick", |stores| is_there(stores, "quick")).await;
    let as_before = ["chat chat", "moved forum", "moved wiki", "one one.wild", "renamed shop"];
    assert_eq!(hosts(&stores), as_before);
    assert_eq!(secret_text(&stores, "shop").as_deref(), Some("shop"));
    server.script(|_| None);
    let stores = follower.until_stores("the new", |stores| is_there(stores, "new")).await;
    let after = ["moved chat", "moved forum", "new *.wild", "new shop", "new wiki"];
    assert_eq!(hosts(&stores), after);
    assert_eq!(secret_text(&stores, "late").as_deref(), Some("late"));
    assert!(secret_text(&stores, "shop").is_none(), "nobody names it any more");
}
