//! What the API server refuses by the chart's ValidatingAdmissionPolicy.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    chart::rendered,
    place::{Place, until},
};

const RULES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/penstock/files/annotations.yaml");
const PREFIX: &str = "nginx.ingress.kubernetes.io";
/// No key takes this.
const WRONG: &str = "no;such";

/// The value that makes the place's class that of the policy, so that it is no other test's.
fn class(place: &Place) -> String {
    let name = &place.namespace;
    format!("controller.ingressClassResource.name={name},controller.ingressClass={name}")
}

/// A place whose class, named like its namespace, has the policy with these values.
fn policed(test: &str, values: &str) -> Option<Place> {
    let place = Place::shared(test)?;
    let class = class(&place);
    let mut arguments = vec!["-s", "templates/admission-policy.yaml", "--set", &class];
    if !values.is_empty() {
        arguments.extend(["--set", values]);
    }
    let yaml = rendered(test, &place, &arguments)?;
    place.apply(&yaml);
    counts(&place);
    Some(place)
}

/// Waits until the place's policy counts: the server learns of it by a watch of its own. An object that was taken before is judged again when it
/// changes, so it does each time.
fn counts(place: &Place) {
    let mut number = 0;
    until("the policy counts", || {
        number += 1;
        let value = format!("maybe {number}");
        let mut probe = ingress(place, &[("ssl-redirect", &value)]);
        probe["metadata"]["name"] = json!("probe");
        refusal(place, &probe).is_some()
    });
}

/// An Ingress of the place's class, with these annotations without prefix.
fn ingress(place: &Place, annotations: &[(&str, &str)]) -> Value {
    let annotations: serde_json::Map<String, Value> =
        annotations.iter().map(|(key, value)| (format!("{PREFIX}/{key}"), json!(value))).collect();
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "web", "namespace": place.namespace, "annotations": annotations,
        },
        "spec": {
            "ingressClassName": place.namespace,
            "rules": [{ "host": "a.example.com", "http": { "paths": [{
                "path": "/", "pathType": "Prefix",
                "backend": { "service": { "name": "web", "port": { "number": 80 } } },
            }] } }],
        },
    })
}

/// Why the server does not take the object; it is there afterwards, if it does.
fn refusal(place: &Place, object: &Value) -> Option<String> {
    let error = place.server.objects().apply_object(object).err()?;
    Some(format!("{error:#}"))
}

fn refused(place: &Place, annotations: &[(&str, &str)]) -> Option<String> {
    refusal(place, &ingress(place, annotations))
}

#[test]
fn every_rule_refuses_and_says_why() {
    let Some(place) = policed("every_rule_refuses_and_says_why", "") else { return };
    let rules = fs::read_to_string(Path::new(RULES)).expect("the rules");
    let rules: Value = serde_saphyr::from_str(&rules).expect("YAML");
    let mut keys = 0;
    for rule in ["annotations", "snippets"].iter().flat_map(|list| rules[list].as_array()).flatten()
    {
        let message = rule["message"].as_str().expect("a message");
        let expression = rule["expression"].as_str().expect("an expression");
        let (list, _) = expression.split_once(']').expect("a list of keys");
        for key in list.trim_start_matches('[').split(", ").map(|key| key.trim_matches('\'')) {
            // A rule that cannot be evaluated lets pass: it would be seen here.
            let said = refused(&place, &[(key, WRONG)]).unwrap_or_else(|| panic!("{key} passes"));
            let wanted = format!("metadata.annotations[{PREFIX}/{key}] {message}");
            assert!(said.contains(&wanted), "{said}\nis not: {wanted}");
            keys += 1;
        }
    }
    assert!(keys > 80, "{keys}");
}

#[test]
fn what_is_right_is_taken() {
    let Some(place) = policed("what_is_right_is_taken", "") else { return };
    let right = [
        ("ssl-redirect", " true "),
        ("force-ssl-redirect", "0"),
        ("proxy-body-size", "8M"),
        ("proxy-read-timeout", "3600"),
        ("proxy-http-version", "1.1"),
        ("backend-protocol", "grpcs"),
        ("whitelist-source-range", "10.1.2.3/8, 192.0.2.1,2001:db8::/32,::ffff:10.0.0.1"),
        ("denylist-source-range", "::1"),
        ("limit-whitelist", ""),
        ("limit-rps", "-1"),
        ("rewrite-target", "/$1/$2"),
        ("custom-http-errors", "404, 503"),
        ("session-cookie-name", "a'b`c|d"),
        ("session-cookie-path", "/shop~x"),
        ("canary-by-header", ""),
        ("upstream-hash-by", "${host}$request_uri"),
        ("auth-realm", "Who are you"),
        ("configuration-snippet", ""),
        ("enable-modsecurity", "false"),
        ("no-such-key", WRONG),
    ];
    assert_eq!(refused(&place, &right), None);
}

#[test]
fn source_ranges_are_looked_at_one_by_one() {
    let Some(place) = policed("source_ranges_are_looked_at_one_by_one", "") else {
        return;
    };
    for wrong in ["10.0.0.0/33", "10.0.0.1, 10.0.0/8", "::1/129", "example.com", " , "] {
        let said = refused(&place, &[("whitelist-source-range", wrong)]);
        let said = said.unwrap_or_else(|| panic!("{wrong:?} passes"));
        assert!(said.contains("comma list of addresses"), "{said}");
    }
}

#[test]
fn paths_are_as_ingress_nginx_has_them() {
    let Some(place) = policed("paths_are_as_ingress_nginx_has_them", "") else {
        return;
    };
    for (path, kind, passes) in [
        ("/a-b_c/d.e", "Prefix", true),
        ("/a b", "Prefix", false),
        ("/a$", "Exact", false),
        ("/(a|b)/[0-9]{2}$", "ImplementationSpecific", true),
        ("/a\u{1}b", "ImplementationSpecific", false),
    ] {
        let mut object = ingress(&place, &[]);
        let written = &mut object["spec"]["rules"][0]["http"]["paths"][0];
        written["path"] = json!(path);
        written["pathType"] = json!(kind);
        let said = refusal(&place, &object);
        assert_eq!(said.is_none(), passes, "{path} {kind}: {said:?}");
    }
}

#[test]
fn what_was_there_before_stays_changeable() {
    let test = "what_was_there_before_stays_changeable";
    let Some(place) = Place::shared(test) else { return };
    let mut object = ingress(&place, &[("ssl-redirect", "maybe")]);
    assert_eq!(refusal(&place, &object), None, "there is no policy yet");
    // From here on there is one.
    let class = class(&place);
    let arguments = ["-s", "templates/admission-policy.yaml", "--set", &class];
    let Some(yaml) = rendered(test, &place, &arguments) else { return };
    place.apply(&yaml);
    counts(&place);
    object["metadata"]["labels"] = json!({ "team": "a" });
    assert_eq!(refusal(&place, &object), None);
    object["metadata"]["annotations"]["example.com/note"] = json!("x");
    assert!(refusal(&place, &object).is_some());
    object["metadata"]["annotations"][format!("{PREFIX}/ssl-redirect")] = json!("true");
    assert_eq!(refusal(&place, &object), None);
}

#[test]
fn other_classes_are_left_alone() {
    let Some(place) = policed("other_classes_are_left_alone", "") else { return };
    let mut object = ingress(&place, &[("ssl-redirect", "maybe")]);
    object["spec"]["ingressClassName"] = json!("another");
    assert_eq!(refusal(&place, &object), None);
    // No class at all.
    let spec = object["spec"].as_object_mut().expect("a spec");
    spec.remove("ingressClassName");
    object["metadata"]["name"] = json!("classless");
    assert_eq!(refusal(&place, &object), None);
    // The annotation counts where the field is missing.
    object["metadata"]["annotations"]["kubernetes.io/ingress.class"] = json!(place.namespace);
    assert!(refusal(&place, &object).is_some());
}

#[test]
fn snippets_pass_where_they_are_allowed() {
    let snippet = [("configuration-snippet", "more_set_headers 'X-A: b';")];
    let Some(place) = policed("snippets_pass_where_they_are_allowed", "") else {
        return;
    };
    let said = refused(&place, &snippet).expect("snippets are off");
    assert!(said.contains("allow-snippet-annotations"), "{said}");
    let allowed = "controller.allowSnippetAnnotations=true";
    let Some(place) = policed("snippets_pass_where_they_are_allowed", allowed) else { return };
    assert_eq!(refused(&place, &snippet), None);
    // What a ConfigMap says that is not the chart's, the policy cannot know.
    let other = "controller.extraArgs.configmap=other/settings";
    let Some(place) = policed("snippets_pass_where_they_are_allowed", other) else { return };
    assert_eq!(refused(&place, &snippet), None);
    assert!(refused(&place, &[("ssl-redirect", WRONG)]).is_some());
}
