//! What an agent writes: status, Events, and who of several does so.

use std::time::{Duration, Instant};

use testbed::kubernetes::Kind;

use crate::{
    place::until,
    site::{Site, pods},
};

/// The first address in an Ingress's status.
fn published(site: &Site, name: &str) -> Option<String> {
    let kind = Kind::new("networking.k8s.io/v1", "Ingress");
    let ingress = site.place.server.objects().get(&kind, &site.place.namespace, name).ok()??;
    Some(ingress["status"]["loadBalancer"]["ingress"][0]["ip"].as_str()?.to_owned())
}

/// Waits until an Ingress's status says this address.
pub(crate) fn until_published(site: &Site, name: &str, address: &str) {
    until(&format!("{name} is at {address}"), || published(site, name).as_deref() == Some(address));
}

/// Who leads.
fn leader(site: &Site) -> Option<String> {
    let kind = Kind::new("coordination.k8s.io/v1", "Lease");
    let objects = site.place.server.objects();
    let lease = objects.get(&kind, &site.place.namespace, "penstock-leader").ok()??;
    let holder = lease["spec"]["holderIdentity"].as_str()?;
    (!holder.is_empty()).then(|| holder.to_owned())
}

#[test]
fn the_status_of_our_ingresses_and_no_others_says_where_we_are() {
    let test = "the_status_of_our_ingresses_and_no_others_says_where_we_are";
    let Some(site) = Site::shared(test) else { return };
    let own = format!("\"ingressClassName\":\"{}\"", site.place.namespace);
    let foreign =
        site.ingress("foreign", "/foreign", &[]).replace(&own, "\"ingressClassName\":\"nginx\"");
    site.place.apply(&foreign);
    site.place.apply(&site.ingress("web", "/", &[]));
    let mut agent = site.agent("a", &["--publish-status-address=203.0.113.7"]);
    until_published(&site, "web", "203.0.113.7");
    // One that comes later.
    site.place.apply(&site.ingress("late", "/late", &[]));
    until_published(&site, "late", "203.0.113.7");
    assert_eq!(published(&site, "foreign"), None);
    // Nobody else is there: the last one takes its address with it.
    agent.agent().stop().expect("it ends");
    assert_eq!(published(&site, "web"), None);
    assert_eq!(published(&site, "late"), None);
}

#[test]
fn one_of_several_that_stops_leaves_the_status_alone() {
    let Some(site) = Site::shared("one_of_several_that_stops_leaves_the_status_alone") else {
        return;
    };
    site.place.apply(&site.ingress("web", "/", &[]));
    let flags = ["--publish-status-address=203.0.113.7"];
    let mut one = site.agent("one", &flags);
    until_published(&site, "web", "203.0.113.7");
    let _two = site.agent("two", &flags);
    // As its kubelet would have it.
    let status = "apiVersion: v1\nkind: Pod\nmetadata: {name: two, namespace: NS}\n\
                  status: {phase: Running}\n";
    let status = site.place.named(status);
    site.place.server.objects().apply_status(&status).expect("it is accepted");
    one.agent().stop().expect("it ends");
    assert_eq!(published(&site, "web").as_deref(), Some("203.0.113.7"));
}

#[test]
fn kubectl_describe_shows_what_is_wrong() {
    let Some(site) = Site::shared("kubectl_describe_shows_what_is_wrong") else { return };
    let ([one], _pods) = pods(["one"]);
    site.place.apply(&site.service(&[one]));
    let _agent = site.agent("a", &[]);
    site.place.apply(&site.ingress("bad", "/", &[("whitelist-source-range", "nowhere")]));
    let mut said = String::new();
    until("kubectl describe says what is wrong", || {
        let namespace = ["-n", &site.place.namespace, "describe", "ingress", "bad"];
        said = site.place.server.kubectl(&namespace).expect("it is there");
        let events = said.split_once("Events:").map(|(_, events)| events);
        events.is_some_and(|events| {
            events.contains("Warning") && events.contains("whitelist-source-range")
        })
    });
}

#[test]
fn another_takes_over_when_the_leader_dies() {
    let Some(site) = Site::shared("another_takes_over_when_the_leader_dies") else { return };
    site.place.apply(&site.ingress("web", "/", &[]));
    let mut one = site.agent("one", &["--publish-status-address=203.0.113.1"]);
    until("one leads", || leader(&site).is_some_and(|holder| holder.contains("one")));
    let _two = site.agent("two", &["--publish-status-address=203.0.113.2"]);
    until_published(&site, "web", "203.0.113.1");

    one.agent().crash().expect("it runs");
    let start = Instant::now();
    until("two leads", || leader(&site).is_some_and(|holder| holder.contains("two")));
    let taken = start.elapsed();
    assert!(taken < Duration::from_secs(15), "{taken:?}");
    until_published(&site, "web", "203.0.113.2");
}

#[test]
fn a_leader_that_stops_hands_over_at_once() {
    let Some(site) = Site::shared("a_leader_that_stops_hands_over_at_once") else { return };
    site.place.apply(&site.ingress("web", "/", &[]));
    let mut one = site.agent("one", &["--publish-status-address=203.0.113.1"]);
    until_published(&site, "web", "203.0.113.1");
    let _two = site.agent("two", &["--publish-status-address=203.0.113.2"]);
    one.agent().stop().expect("it ends");
    until("two leads", || leader(&site).is_some_and(|holder| holder.contains("two")));
    until_published(&site, "web", "203.0.113.2");
}
