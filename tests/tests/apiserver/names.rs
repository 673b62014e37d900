//! What external-dns works from. Its module cannot be built (modules that it asks for are withdrawn): so
//! Ingresses as its users write them, and of our status what it reads
//! (`source/ingress.go`: `spec.rules[].host`, `status.loadBalancer.ingress[].ip` and `.hostname`).

use serde_json::{Value, json};
use testbed::kubernetes::Kind;

use crate::{
    place::until,
    site::{Site, pods},
};

/// external-dns' own annotations.
const ANNOTATIONS: [(&str, &str); 4] = [
    ("external-dns.alpha.kubernetes.io/hostname", "other.example.com"),
    ("external-dns.alpha.kubernetes.io/ttl", "60"),
    ("external-dns.alpha.kubernetes.io/set-identifier", "here"),
    ("external-dns.alpha.kubernetes.io/cloudflare-proxied", "false"),
];

/// The Ingress as it is now.
fn ingress(site: &Site) -> Value {
    let kind = Kind::new("networking.k8s.io/v1", "Ingress");
    let found = site.place.server.objects().get(&kind, &site.place.namespace, "web");
    found.expect("an answer").expect("it is there")
}

/// What external-dns makes records to of it.
fn targets(site: &Site) -> Vec<String> {
    let object = ingress(site);
    let points = object["status"]["loadBalancer"]["ingress"].as_array().cloned();
    let target = |point: &Value| {
        ["ip", "hostname"].into_iter().find_map(|key| point[key].as_str().map(str::to_owned))
    };
    points.iter().flatten().filter_map(target).collect()
}

#[test]
fn external_dns_finds_names_and_targets_and_they_go_with_the_last_agent() {
    let test = "external_dns_finds_names_and_targets_and_they_go_with_the_last_agent";
    let Some(site) = Site::shared(test) else { return };
    let ([one], _pods) = pods(["one"]);
    site.place.apply(&site.service(&[one]));
    let mut wanted: Value = serde_json::from_str(&site.ingress("web", "/", &[])).expect("JSON");
    for (key, value) in ANNOTATIONS {
        wanted["metadata"]["annotations"][key] = json!(value);
    }
    site.place.apply(&wanted.to_string());
    assert_eq!(targets(&site), [""; 0], "no record before there is an agent");
    let both = "--publish-status-address=203.0.113.7,edge.example.net";
    let mut agent = site.agent("a", &[both]);
    until("both are published", || targets(&site) == ["203.0.113.7", "edge.example.net"]);
    site.until_pod(&agent, "/", "one");
    // They are nobody's business here: nothing is said about them, and they stay.
    let state = agent.agent().admin("/state").expect("an answer").1;
    assert!(!state.contains("external-dns"), "{state}");
    let object = ingress(&site);
    assert_eq!(object["spec"]["rules"][0]["host"], site.host());
    for (key, value) in ANNOTATIONS {
        assert_eq!(object["metadata"]["annotations"][key], value);
    }
    agent.agent().stop().expect("it ends");
    assert_eq!(targets(&site), [""; 0], "the records go");
}
