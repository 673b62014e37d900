//! The rights that are shipped are enough, and no more than that.

use std::fs;

use http::Method;
use serde_json::{Value, json};
use testbed::kubernetes::Objects;

use crate::{
    place::until,
    site::{Site, pods},
};

/// Whether the caller may.
fn may(objects: &Objects, verb: &str, what: &str, namespace: &str, name: &str) -> bool {
    let (resource, subresource) = what.split_once('#').unwrap_or((what, ""));
    let (group, resource) = resource.rsplit_once('/').unwrap_or(("", resource));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "verb": verb, "group": group, "resource": resource, "subresource": subresource,
            "namespace": namespace, "name": name,
        }},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = objects.request(Method::POST, path, Some(&review)).expect("anybody may ask");
    let answer: Value = serde_json::from_str(&answer).expect("it is JSON");
    answer["status"]["allowed"].as_bool().expect("yes or no")
}

#[test]
fn the_agents_account_can_do_nothing_but_its_work() {
    let Some(site) = Site::shared("the_agents_account_can_do_nothing_but_its_work") else { return };
    let account = Objects::of(&site.account.kubeconfig).expect("a client");
    let own = site.place.namespace.as_str();
    until("the roles are known", || may(&account, "watch", "networking.k8s.io/ingresses", "", ""));
    for (verb, what, namespace, name) in [
        ("list", "networking.k8s.io/ingresses", "", ""),
        ("patch", "networking.k8s.io/ingresses#status", "default", "any"),
        ("watch", "discovery.k8s.io/endpointslices", "default", ""),
        ("create", "coordination.k8s.io/leases", own, ""),
        ("update", "coordination.k8s.io/leases", own, "penstock-leader"),
    ] {
        assert!(may(&account, verb, what, namespace, name), "{verb} {what} {namespace} {name}");
    }
    let everything = [
        "secrets",
        "configmaps",
        "services",
        "pods",
        "nodes",
        "namespaces",
        "serviceaccounts",
        "networking.k8s.io/ingresses",
        "networking.k8s.io/ingressclasses",
        "discovery.k8s.io/endpointslices",
        "apps/daemonsets",
        "coordination.k8s.io/leases",
        "rbac.authorization.k8s.io/clusterroles",
        "rbac.authorization.k8s.io/rolebindings",
    ];
    for what in everything {
        for verb in ["create", "update", "patch", "delete", "deletecollection"] {
            assert!(!may(&account, verb, what, "default", "any"), "{verb} {what}");
        }
    }
    for (verb, what, namespace, name) in [
        ("*", "*/*", "", ""),
        ("get", "pods", "default", "any"),
        ("list", "pods", "", ""),
        ("create", "pods#exec", own, "any"),
        ("get", "nodes#proxy", "", "n1"),
        ("create", "serviceaccounts#token", own, "penstock"),
        ("impersonate", "users", "", "admin"),
        ("escalate", "rbac.authorization.k8s.io/clusterroles", "", "penstock"),
        ("update", "coordination.k8s.io/leases", own, "another"),
        ("delete", "coordination.k8s.io/leases", own, "penstock-leader"),
        ("get", "coordination.k8s.io/leases", "kube-system", "penstock-leader"),
    ] {
        assert!(!may(&account, verb, what, namespace, name), "{verb} {what} {namespace} {name}");
    }
}

#[test]
fn the_agent_is_refused_nothing_that_it_asks_for() {
    let Some(site) = Site::shared("the_agent_is_refused_nothing_that_it_asks_for") else { return };
    let ([one], _pods) = pods(["one"]);
    site.place.apply(&site.service(&[one]));
    site.place.apply(&site.ingress("web", "/", &[]));
    site.place.apply(&site.ingress("bad", "/bad", &[("whitelist-source-range", "nowhere")]));
    let mut agent = site.agent("a", &["--publish-status-address=203.0.113.7"]);
    site.until_pod(&agent, "/", "one");
    crate::status::until_published(&site, "web", "203.0.113.7");
    agent.agent().stop().expect("it ends");
    let log = fs::read_to_string(site.log("a")).expect("it has logged");
    let refused: Vec<&str> =
        log.lines().filter(|line| line.contains("forbidden") || line.contains("403")).collect();
    assert_eq!(refused, Vec::<&str>::new());
}
