//! The chart, as the API server sees it.

use std::{fs, path::Path, process::Command};

use http::Method;
use serde_json::{Value, json};
use testbed::{kubernetes::Kind, requirement};

use crate::place::{Place, until};

/// The folder with everything that is installed.
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// The chart's objects in the place's namespace and under its name; `None` after saying that `test`
/// is skipped.
pub(crate) fn rendered(test: &str, place: &Place, arguments: &[&str]) -> Option<String> {
    let helm = requirement::helm(test)?;
    let output = Command::new(helm)
        .args(["template", &place.namespace])
        .arg(Path::new(DEPLOY).join("helm/penstock"))
        .args(["--namespace", &place.namespace])
        .args(arguments)
        .output()
        .expect("helm can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(String::from_utf8(output.stdout).expect("YAML is text"))
}

/// Lets the server check objects as if they were created.
fn check(place: &Place, yaml: &str) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), yaml).expect("writable");
    let path = file.path().to_str().expect("text");
    let arguments = ["create", "--dry-run=server", "--validate=strict", "-f", path];
    let said = place.server.kubectl(&arguments);
    assert!(said.is_ok(), "{said:#?}\n{yaml}");
}

#[test]
fn what_the_chart_makes_is_accepted() {
    let test = "what_the_chart_makes_is_accepted";
    let Some(place) = Place::shared(test) else { return };
    for values in ["", "takeover", "steering", "pods"] {
        let file = format!("{DEPLOY}/helm/penstock/ci/{values}-values.yaml");
        let file = ["-f", &file];
        // A namespace that is watched has to be there.
        let scope = format!("controller.scope.namespace={}", place.namespace);
        let arguments = if values.is_empty() { &[][..] } else { &file[..] };
        let mut arguments = arguments.to_vec();
        if values == "pods" {
            arguments.extend(["--set", &scope]);
        }
        let Some(yaml) = rendered(test, &place, &arguments) else { return };
        check(&place, &yaml);
    }
}

#[test]
fn a_release_is_installed_changed_taken_back_and_removed() {
    let test = "a_release_is_installed_changed_taken_back_and_removed";
    let Some(helm) = requirement::helm(test) else { return };
    // Of its own: until there is an agent, the webhook refuses everybody's Ingresses.
    let Some(place) = Place::alone(test) else { return };
    let chart = Path::new(DEPLOY).join("helm/penstock");
    let run = |arguments: &[&str]| {
        let output = Command::new(&helm)
            .args(arguments)
            .args(["--namespace", &place.namespace, "--kubeconfig"])
            .arg(place.server.kubeconfig())
            .output()
            .expect("helm can be run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let chart = chart.to_str().expect("text");
    let webhook = "controller.admissionWebhooks.enabled=true";
    let said = run(&["install", "edge", chart, "--set", webhook]);
    assert!(said.contains("rollout status daemonset/edge-penstock-controller"), "{said}");
    let objects = place.server.objects();
    let get = |version, kind, name| {
        let found = objects.get(&Kind::new(version, kind), &place.namespace, name);
        found.expect("an answer")
    };
    let secret = || {
        let secret = get("v1", "Secret", "edge-penstock-admission").expect("it is there");
        secret["data"].clone()
    };
    let settings = || {
        let map = get("v1", "ConfigMap", "edge-penstock-controller").expect("it is there");
        map["data"]["proxy-body-size"].clone()
    };
    let made = secret();
    assert_eq!(settings(), Value::Null);
    let change = ["--set", webhook, "--set", "controller.config.proxy-body-size=8m"];
    run(&[&["upgrade", "edge", chart][..], &change].concat());
    assert_eq!(settings(), "8m");
    // Another certificate would not be the one that the agents have read.
    assert_eq!(secret(), made);
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/\
                edge-penstock-admission";
    let hook: Value =
        serde_json::from_str(&objects.request(Method::GET, path, None).expect("it is there"))
            .expect("JSON");
    assert_eq!(hook["webhooks"][0]["clientConfig"]["caBundle"], made["ca.crt"]);
    run(&["rollback", "edge"]);
    assert_eq!(settings(), Value::Null);
    assert_eq!(secret(), made);
    run(&["uninstall", "edge"]);
    assert!(get("apps/v1", "DaemonSet", "edge-penstock-controller").is_none());
    assert!(get("v1", "Secret", "edge-penstock-admission").is_none());
}

#[test]
fn the_manifests_are_accepted() {
    let Some(place) = Place::alone("the_manifests_are_accepted") else { return };
    let file = Path::new(DEPLOY).join("kubernetes/penstock.yaml");
    let path = file.to_str().expect("text");
    // The namespace is the first of them.
    let said = place.server.kubectl(&["apply", "--validate=strict", "-f", path]);
    let said = said.unwrap_or_else(|error| panic!("{error:#}"));
    assert!(said.contains("daemonset.apps/penstock-controller created"), "{said}");
    let again = place.server.kubectl(&["apply", "--dry-run=server", "-f", path]);
    let again = again.unwrap_or_else(|error| panic!("{error:#}"));
    assert!(!again.contains("created"), "{again}");

    // Whether the chart's account may do this. Verb, group, resource, namespace, name.
    let may = |[verb, group, resource, namespace, name]: [&str; 5]| {
        let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": "system:serviceaccount:penstock:penstock",
                "resourceAttributes": {
                    "verb": verb, "group": group, "resource": resource, "subresource": part,
                    "namespace": namespace, "name": name,
                },
            },
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let said = place.server.objects().request(Method::POST, path, Some(&review));
        let said: Value = serde_json::from_str(&said.expect("an answer")).expect("JSON");
        said["status"]["allowed"] == true
    };
    let net = "networking.k8s.io";
    // The server learns of roles by a watch of its own.
    until("the roles count", || {
        may(["list", net, "ingresses", "", ""])
            && may(["create", "coordination.k8s.io", "leases", "penstock", ""])
    });
    for needed in [
        ["watch", net, "ingresses", "", ""],
        ["list", net, "ingressclasses", "", ""],
        ["patch", net, "ingresses/status", "shop", "web"],
        ["list", "", "services", "", ""],
        ["list", "discovery.k8s.io", "endpointslices", "", ""],
        ["list", "", "secrets", "shop", "tls"],
        ["get", "", "nodes", "", "n1"],
        ["create", "", "events", "shop", ""],
        ["update", "coordination.k8s.io", "leases", "penstock", "penstock-leader"],
        ["list", "", "pods", "penstock", ""],
    ] {
        assert!(may(needed), "{needed:?}");
    }
    for needless in [
        ["update", net, "ingresses", "shop", "web"],
        ["delete", net, "ingresses", "shop", "web"],
        ["create", "", "secrets", "shop", ""],
        ["get", "", "secrets", "shop", "tls"],
        ["update", "", "configmaps", "penstock", "penstock-controller"],
        ["list", "", "pods", "shop", ""],
        ["list", "", "nodes", "", ""],
        ["list", "", "namespaces", "", ""],
        ["patch", "", "services/status", "shop", "web"],
        ["create", "", "pods/exec", "penstock", "x"],
        ["delete", "coordination.k8s.io", "leases", "penstock", "penstock-leader"],
        ["update", "coordination.k8s.io", "leases", "kube-system", "penstock-leader"],
        ["update", "coordination.k8s.io", "leases", "penstock", "another"],
        ["patch", "", "nodes", "", "n1"],
        ["create", "", "serviceaccounts/token", "penstock", "penstock"],
        ["impersonate", "", "users", "", "admin"],
        ["update", "rbac.authorization.k8s.io", "clusterroles", "", "penstock"],
    ] {
        assert!(!may(needless), "{needless:?}");
    }
}
