//! What is written into a cluster, seen by an API server.

mod server;
mod webhook;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use http::Method;
use serde_json::{Value, json};
use tokio::{runtime::Builder, sync::watch, time::sleep};

use self::server::Server;
use super::{
    Access,
    account::Account,
    address_or_name,
    moment::Moments,
    vips::VipPool,
    writer,
    writes::{Election, Identity, Publish, Writes},
};
use crate::{
    model::{AddressRange, Diagnostic, ObjectRef, Severity},
    translate::Options,
};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/edge/leases/leader";
const TTL: Duration = Duration::from_secs(2);

/// One replica that writes.
struct Replica {
    stop: watch::Sender<bool>,
    power: watch::Sender<bool>,
    thread: thread::JoinHandle<()>,
    diagnostics: watch::Sender<Vec<Diagnostic>>,
}

impl Replica {
    fn start(server: &Server, name: &str, change: impl FnOnce(&mut Writes)) -> Self {
        Self::with(server, name, None, change)
    }

    /// One that asks as this says it.
    fn with(
        server: &Server,
        name: &str,
        access: Option<Access>,
        change: impl FnOnce(&mut Writes),
    ) -> Self {
        let mut writes = writes(name);
        change(&mut writes);
        let (stop, stopped) = watch::channel(false);
        let (diagnostics, told) = watch::channel(Vec::new());
        let moments = server.watched(told);
        let (power, cut) = watch::channel(false);
        let thread = run(server, access, writes, moments, stopped, cut);
        Self { stop, power, thread, diagnostics }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        let ended = tokio::task::spawn_blocking(|| self.thread.join()).await;
        ended.expect("it is waited for").expect("it ends in order");
    }

    /// Its power is cut.
    fn die(self) {
        self.power.send_replace(true);
    }
}

fn writes(name: &str) -> Writes {
    Writes {
        identity: Identity { name: Some(name.to_owned()), namespace: Some("edge".to_owned()) },
        election: Some(Election { id: "leader".to_owned(), ttl: TTL }),
        status: true,
        clear_status: true,
        interval: Duration::from_secs(60),
        publish: Publish::Addresses(vec![address_or_name("192.0.2.1")]),
        sync_events: true,
        vip_pool: VipPool::default(),
    }
}

/// Writes on a thread of its own, like the agent.
fn run(
    server: &Server,
    access: Option<Access>,
    writes: Writes,
    moments: Moments,
    stop: watch::Receiver<bool>,
    mut cut: watch::Receiver<bool>,
) -> thread::JoinHandle<()> {
    let server = server.clone();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let options = Options::default();
            let writing = async {
                match access {
                    Some(access) => {
                        let ledger = Default::default();
                        writer::run(access, writes, options, moments, ledger, stop).await;
                    }
                    None => {
                        let account = Account::fixed(server.client());
                        let ledger = Default::default();
                        writer::write(account, writes, options, moments, ledger, stop).await;
                    }
                }
            };
            tokio::select! {
                () = writing => {}
                _ = cut.wait_for(|cut| *cut) => {}
            }
        });
    })
}

fn ingress(class: &str) -> Value {
    json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": class}},
           "spec": {"defaultBackend": {"service": {"name": "app", "port": {"number": 80}}}}})
}

fn place(name: &str) -> String {
    format!("/apis/networking.k8s.io/v1/namespaces/web/ingresses/{name}")
}

fn addresses(server: &Server, path: &str) -> Vec<String> {
    let object = server.get(path).unwrap_or_default();
    let points = object["status"]["loadBalancer"]["ingress"].as_array().cloned();
    let text =
        |point: &Value| point["ip"].as_str().or(point["hostname"].as_str()).map(str::to_owned);
    points.unwrap_or_default().iter().filter_map(text).collect()
}

fn holder(server: &Server) -> String {
    let lease = server.get(LEASE).unwrap_or_default();
    let identity = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    // What follows tells one container of a pod from the next.
    identity.split('_').next().unwrap_or_default().to_owned()
}

fn pod(name: &str, node: &str) -> (String, Value) {
    let pod = json!({
        "metadata": {"labels": {"app": "penstock", "controller-revision-hash": name}},
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    (format!("/api/v1/namespaces/edge/pods/{name}"), pod)
}

#[tokio::test]
async fn the_status_of_our_ingresses_says_where_they_are_reached() {
    let server = Server::start().await;
    server.put(&place("ours"), Some(ingress("penstock")));
    server.put(&place("foreign"), Some(ingress("nginx")));
    let replica = Replica::start(&server, "a", |_| {});
    server.until("a status", |server| addresses(server, &place("ours")) == ["192.0.2.1"]).await;
    // One that comes later, and one that somebody else wrote something into.
    server.put(&place("later"), Some(ingress("penstock")));
    let mut wrong = ingress("penstock");
    wrong["status"] = json!({"loadBalancer": {"ingress": [{"hostname": "old.test"}]}});
    server.put(&place("wrong"), Some(wrong));
    for name in ["later", "wrong"] {
        server.until(name, |server| addresses(server, &place(name)) == ["192.0.2.1"]).await;
    }
    assert!(addresses(&server, &place("foreign")).is_empty());
    assert_eq!(server.requests("PATCH", "/ingresses/foreign"), 0);
    assert_eq!(server.requests("PATCH", "/status"), 3);
    replica.stop().await;
}

#[tokio::test]
async fn a_conflict_and_a_refusal_are_tried_again() {
    let server = Server::start().await;
    server.refuse(Method::PATCH, "/ingresses/", 409);
    server.put(&place("ours"), Some(ingress("penstock")));
    let replica = Replica::start(&server, "a", |_| {});
    server.until("a conflict", |server| server.requests("PATCH", "/status") == 1).await;
    // What made it a conflict is seen.
    server.put(&place("ours"), Some(ingress("penstock")));
    server.refuse(Method::PATCH, "/ingresses/", 500);
    server.until("a status", |server| addresses(server, &place("ours")) == ["192.0.2.1"]).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_burst_of_ingresses_has_few_requests_under_way() {
    let server = Server::start().await;
    for number in 0..300 {
        server.put(&place(&format!("i{number}")), Some(ingress("penstock")));
    }
    let replica = Replica::start(&server, "a", |_| {});
    let last = place("i99");
    server
        .until("all", |server| {
            addresses(server, &last) == ["192.0.2.1"] && server.requests("PATCH", "/status") == 300
        })
        .await;
    // Ten, the Lease and Events.
    assert!(server.most_at_once() <= 16, "{}", server.most_at_once());
    replica.die();
}

#[tokio::test]
async fn the_nodes_of_ready_pods_are_published_and_the_last_pod_removes_them() {
    let server = Server::start().await;
    server.put(&place("ours"), Some(ingress("penstock")));
    for (name, node, ip) in [("a", "n1", "10.0.0.1"), ("b", "n2", "10.0.0.2")] {
        let (path, object) = pod(name, node);
        server.put(&path, Some(object));
        let addresses = json!([{"type": "InternalIP", "address": ip}]);
        server.put(
            &format!("/api/v1/nodes/{node}"),
            Some(json!({"status": {"addresses": addresses}})),
        );
    }
    let of_nodes = |writes: &mut Writes| writes.publish = Publish::Nodes { internal: false };
    let replica = Replica::start(&server, "a", of_nodes);
    let both = ["10.0.0.1", "10.0.0.2"];
    server.until("both", |server| addresses(server, &place("ours")) == both).await;
    // Another goes on: nothing is removed.
    replica.stop().await;
    assert_eq!(addresses(&server, &place("ours")), both);
    assert_eq!(holder(&server), "");
    let replica = Replica::start(&server, "a", of_nodes);
    server.until("it leads", |server| server.requests("GET", "/pods/a") == 2).await;
    let (other, _) = pod("b", "n2");
    server.put(&other, None);
    replica.stop().await;
    assert!(addresses(&server, &place("ours")).is_empty());
}

#[tokio::test]
async fn the_addresses_of_a_service_are_followed() {
    let server = Server::start().await;
    server.put(&place("ours"), Some(ingress("penstock")));
    let service = |ip: &str| {
        json!({"spec": {"type": "LoadBalancer"},
               "status": {"loadBalancer": {"ingress": [{"ip": ip}]}}})
    };
    let path = "/api/v1/namespaces/edge/services/front";
    server.put(path, Some(service("192.0.2.7")));
    let replica = Replica::start(&server, "a", |writes| {
        let (namespace, name) = ("edge".to_owned(), "front".to_owned());
        writes.publish = Publish::Service { namespace, name };
    });
    server.until("the first", |server| addresses(server, &place("ours")) == ["192.0.2.7"]).await;
    server.put(path, Some(service("192.0.2.8")));
    server.until("the second", |server| addresses(server, &place("ours")) == ["192.0.2.8"]).await;
    // One that is gone says nothing: what is written stays.
    server.put(path, None);
    server.put(&place("later"), Some(ingress("penstock")));
    server.until("a look", |server| server.requests("GET", "/services/front") > 0).await;
    assert_eq!(addresses(&server, &place("ours")), ["192.0.2.8"]);
    replica.die();
}

#[tokio::test]
async fn one_replica_writes_and_another_follows_when_it_stops_or_dies() {
    let server = Server::start().await;
    let mut replicas: Vec<_> =
        ["a", "b", "c"].map(|name| (name.to_owned(), Replica::start(&server, name, |_| {}))).into();
    for clean in [true, false] {
        server.until("a leader", |server| !holder(server).is_empty()).await;
        let first = holder(&server);
        let place = replicas.iter().position(|(name, _)| *name == first).expect("one of them");
        let (_, leader) = replicas.swap_remove(place);
        let began = Instant::now();
        match clean {
            true => leader.stop().await,
            false => leader.die(),
        }
        server
            .until("another leader", |server| {
                let now = holder(server);
                !now.is_empty() && now != first
            })
            .await;
        let took = began.elapsed();
        let most = if clean { TTL } else { TTL * 3 / 2 };
        assert!(took < most + Duration::from_secs(1), "{took:?}");
    }
    let lease = server.get(LEASE).expect("it is there");
    assert_eq!(lease["spec"]["leaseTransitions"], 2);
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 2);
}

#[tokio::test]
async fn a_leader_that_cannot_renew_writes_no_more() {
    let server = Server::start().await;
    let replica = Replica::start(&server, "a", |_| {});
    server.until("a leader", |server| holder(server) == "a").await;
    server.be_silent(true);
    // The third begins when the term is over.
    let before = server.requests("", "/leases");
    server.until("attempts", |server| server.requests("", "/leases") >= before + 3).await;
    server.be_silent(false);
    // Another has it meanwhile.
    let mut lease = server.get(LEASE).expect("it is there");
    lease["spec"]["holderIdentity"] = "b".into();
    server.put(LEASE, Some(lease));
    server.put(&place("ours"), Some(ingress("penstock")));
    let before = server.requests("GET", "/leases/");
    server.until("a look", |server| server.requests("GET", "/leases/") > before).await;
    assert_eq!(server.requests("PATCH", "/status"), 0);
    replica.die();
}

#[tokio::test]
async fn who_writes_and_is_not_known_any_more_reads_the_account_again() {
    let server = Server::start().await;
    server.know_only("first");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("config");
    std::fs::write(&file, server.kubeconfig("first")).expect("writable");
    let access = Access { kubeconfig: Some(file.clone()), ..Access::default() };
    let replica = Replica::with(&server, "a", Some(access), |_| {});
    server.until("a leader", |server| holder(server) == "a").await;

    server.know_only("second");
    std::fs::write(&file, server.kubeconfig("second")).expect("writable");
    server.put(&place("ours"), Some(ingress("penstock")));
    server.until("a status", |server| addresses(server, &place("ours")) == ["192.0.2.1"]).await;
    replica.stop().await;
    assert_eq!(holder(&server), "", "the Lease is released, by the new account too");
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_the_api_server_takes_few_questions_and_nothing_is_lost() {
    let server = Server::start().await;
    server.put(&place("ours"), Some(ingress("penstock")));
    let (diagnostics, told) = watch::channel(Vec::new());
    let moments = server.watched(told);
    let (stop, stopped) = watch::channel(false);
    let mut writes = writes("a");
    // That of the flags.
    writes.election = Some(Election { id: "leader".to_owned(), ttl: Duration::from_secs(10) });
    let account = Account::fixed(server.client_in_memory());
    let writing =
        writer::write(account, writes, Options::default(), moments, Default::default(), stopped);
    let rejected = |server: &Server| -> Vec<Value> {
        let all = server.all("/namespaces/web/events/").into_iter();
        all.filter(|event| event["reason"] == "Rejected").collect()
    };
    let story = async {
        server.until("a status", |server| addresses(server, &place("ours")).len() == 1).await;
        server.be_silent(true);
        server.put(&place("later"), Some(ingress("penstock")));
        diagnostics.send_replace(vec![diagnostic(Severity::Error, "is no name")]);
        let before = server.requests("", "");
        sleep(Duration::from_secs(3600)).await;
        // The Lease, ever more seldom: with some chance once in twenty seconds.
        let asked = server.requests("", "") - before;
        assert!((50..220).contains(&asked), "{asked}");
        assert!(server.requests("PATCH", "/status") < 5, "who does not lead does not write");
        assert!(addresses(&server, &place("later")).is_empty() && rejected(&server).is_empty());
        server.be_silent(false);
        // Its next attempt may have just failed.
        sleep(Duration::from_secs(120)).await;
        assert_eq!(holder(&server), "a");
        assert_eq!(addresses(&server, &place("later")), ["192.0.2.1"]);
        let events = rejected(&server);
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0]["count"], 1);
        stop.send_replace(true);
    };
    tokio::join!(writing, story);
    assert_eq!(holder(&server), "", "the Lease is released");
}

fn diagnostic(severity: Severity, message: &str) -> Diagnostic {
    Diagnostic {
        severity,
        object: ObjectRef::new("Ingress", "web", "ours"),
        field: "spec.rules[0].host".to_owned(),
        message: message.to_owned(),
    }
}

#[tokio::test]
async fn what_is_wrong_is_an_event_of_its_object_said_once() {
    let server = Server::start().await;
    server.put(&place("ours"), Some(ingress("penstock")));
    let replica = Replica::start(&server, "a", |_| {});
    server.until("a leader", |server| holder(server) == "a").await;
    let wrong = diagnostic(Severity::Error, "is no name");
    replica
        .diagnostics
        .send_replace(vec![wrong.clone(), diagnostic(Severity::Warning, "has no effect")]);
    let of = |server: &Server, reason: &str| -> Vec<Value> {
        let all = server.all("/namespaces/web/events/").into_iter();
        all.filter(|event| event["reason"] == reason).collect()
    };
    server.until("an Event", |server| of(server, "Rejected").len() == 1).await;
    server.until("another", |server| of(server, "NoEffect").len() == 1).await;
    let event = of(&server, "Rejected").remove(0);
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["message"], "spec.rules[0].host: is no name");
    assert_eq!(event["involvedObject"]["uid"], format!("uid-of-{}", place("ours")));
    assert_eq!(event["involvedObject"]["kind"], "Ingress");
    assert_eq!((&event["source"]["component"], &event["count"]), (&json!("penstock"), &json!(1)));
    // An Ingress that changes is said to be served as it is now, and nothing is said twice.
    let mut changed = ingress("penstock");
    changed["metadata"]["annotations"]["a"] = "b".into();
    server.put(&place("ours"), Some(changed));
    server.until("a third", |server| of(server, "Sync").len() == 1).await;
    assert_eq!(server.requests("POST", "/events"), 3);
    replica.stop().await;
    // Nor by the next replica.
    let replica = Replica::start(&server, "b", |_| {});
    replica.diagnostics.send_replace(vec![wrong]);
    server.until("a look", |server| server.requests("POST", "/events") == 4).await;
    assert_eq!(server.all("/events/").len(), 3);
    replica.die();
}

#[tokio::test]
async fn services_of_the_class_get_addresses_and_none_twice() {
    let server = Server::start().await;
    let path = |name: &str| format!("/api/v1/namespaces/web/services/{name}");
    let service = json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": "penstock.dev/xdp",
                                  "ipFamilies": ["IPv4"]}});
    server.put(&path("one"), Some(service.clone()));
    let range = AddressRange::parse("192.0.2.0/30").expect("a range");
    let replica = Replica::start(&server, "a", |writes| {
        writes.vip_pool = VipPool::new(vec![range], []);
    });
    server.until("the first", |server| addresses(server, &path("one")) == ["192.0.2.1"]).await;
    let status = server.get(&path("one")).unwrap_or_default();
    assert_eq!(status["status"]["loadBalancer"]["ingress"][0]["ipMode"], "VIP");
    server.put(&path("three"), Some(service.clone()));
    server.until("the next", |server| addresses(server, &path("three")) == ["192.0.2.2"]).await;
    server.put(&path("two"), Some(service));
    let said = |server: &Server| {
        server.all("/namespaces/web/events/").into_iter().any(|event| {
            event["involvedObject"]["name"] == "two"
                && event["message"].as_str().is_some_and(|text| text.contains("--vip-pool"))
        })
    };
    server.until("an Event", said).await;
    assert!(addresses(&server, &path("two")).is_empty());
    // What is given back is given again.
    server.put(&path("one"), None);
    server.until("an address", |server| addresses(server, &path("two")) == ["192.0.2.1"]).await;
    replica.stop().await;
}

#[tokio::test]
async fn an_address_that_is_not_seen_yet_is_not_given_again() {
    let server = Server::start().await;
    let path = |name: &str| format!("/api/v1/namespaces/web/services/{name}");
    let service =
        json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": "penstock.dev/xdp"}});
    server.put(&path("old"), Some(service.clone()));
    server.put(&path("new"), Some(service.clone()));
    // A source that is late: it does not know of the address of `old`, which is the first of all.
    let told = watch::channel(Vec::new()).1;
    let (_sender, moments) = watch::channel(Some(Arc::new(server.moment(&told))));
    let mut given = service;
    given["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
    server.put(&path("old"), Some(given));
    let writes = Writes {
        identity: Identity::default(),
        election: None,
        status: false,
        clear_status: false,
        interval: Duration::from_secs(60),
        publish: Publish::Nodes { internal: false },
        sync_events: false,
        vip_pool: VipPool::new(AddressRange::parse("192.0.2.0/29").into_iter().collect(), []),
    };
    let ((_stop, stopped), (_power, cut)) = (watch::channel(false), watch::channel(false));
    let _thread = run(&server, None, writes, moments, stopped, cut);
    server.until("an address", |server| addresses(server, &path("new")) == ["192.0.2.2"]).await;
    assert_eq!(addresses(&server, &path("old")), ["192.0.2.1"]);
}
