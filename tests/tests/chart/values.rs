//! Values: what is taken, what is refused, and what becomes of it.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{CHART, Chart, agent, of_kind, users, variants};

#[test]
fn the_chart_is_as_helm_wants_it() {
    let Some(chart) = Chart::new("the_chart_is_as_helm_wants_it") else { return };
    for file in users() {
        let file = file.display().to_string();
        let output = chart.helm(&["lint", "--strict", CHART, "-f", &file]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{file}: {said}");
    }
}

#[test]
fn values_that_mean_nothing_are_refused_by_name() {
    let Some(chart) = Chart::new("values_that_mean_nothing_are_refused_by_name") else { return };
    for (value, told) in [
        ("controller.opentelemetry.enabled=true", "opentelemetry"),
        ("controler.kind=DaemonSet", "controler"),
        ("controller.kind=StatefulSet", "/controller/kind"),
        ("controller.hostNetwork=maybe", "/controller/hostNetwork"),
        ("controller.image.runAsUser=0", "/controller/image/runAsUser"),
        ("controller.containerPort.http=70000", "/controller/containerPort/http"),
        ("controller.admissionPolicy.validationActions={Refuse}", "validationActions"),
        ("tcp.5432=postgres", "/tcp/5432"),
        ("tcp.http=a/b:80", "'http' does not match"),
        ("l4.enabled=true", "l4.interfaces"),
        ("l4.enabled=true,l4.interfaces={eth0}", "l4.vips"),
        ("l4.enabled=true,l4.interfaces={eth0},l4.vipPool={192.0.2.0/28}", "l4.vips"),
        ("l4.mode=native", "/l4/mode"),
        (
            "l4.enabled=true,l4.vips={192.0.2.1},l4.interfaces={eth0},controller.hostNetwork=false",
            "hostNetwork",
        ),
        (
            "l4.enabled=true,l4.vips={192.0.2.1},l4.interfaces={eth0},controller.kind=Deployment",
            "DaemonSet",
        ),
        ("controller.drainTimeout=900", "terminationGracePeriodSeconds must be at least 910"),
        (
            "controller.scope.enabled=true,controller.scope.namespace=a,controller.scope.namespaceSelector=b",
            "exclude",
        ),
        ("controller.minAvailable=50%", "must be a number"),
        ("controller.minAvailable=null,controller.maxUnavailable=1", "must be a number"),
        ("defaultBackend.enabled=true", "defaultBackend.image"),
        ("serviceAccount.create=false", "serviceAccount.name"),
        (
            "controller.admissionWebhooks.enabled=true,controller.admissionWebhooks.existingSecret=x",
            "caBundle",
        ),
    ] {
        let refusal = chart.refusal(&["--set", value]);
        assert!(refusal.contains(told), "{value}: {refusal}");
    }
}

/// The update strategy of the agent with these values.
fn strategy(chart: &Chart, values: &str) -> Value {
    let objects = chart.objects(&["--set", values]);
    let spec = &of_kind(&objects, "DaemonSet")[0]["spec"];
    spec["updateStrategy"]["rollingUpdate"].clone()
}

#[test]
fn a_node_has_one_agent_at_a_time_and_a_service_never_less_than_all() {
    let name = "a_node_has_one_agent_at_a_time_and_a_service_never_less_than_all";
    let Some(chart) = Chart::new(name) else { return };
    let drained = json!({ "maxUnavailable": 1, "maxSurge": 0 });
    assert_eq!(strategy(&chart, "controller.hostNetwork=true"), drained);
    let ahead = json!({ "maxUnavailable": 0, "maxSurge": 1 });
    assert_eq!(strategy(&chart, "controller.hostNetwork=false"), ahead);
}

#[test]
fn a_pod_has_the_time_to_drain() {
    let Some(chart) = Chart::new("a_pod_has_the_time_to_drain") else { return };
    for variant in variants() {
        let arguments: Vec<&str> = variant.iter().map(String::as_str).collect();
        let objects = chart.objects(&arguments);
        let pod = agent(&objects);
        let given = pod["containers"][0]["args"].as_array().expect("arguments");
        let seconds = |flag: &str| -> i64 {
            let found = given.iter().find_map(|one| one.as_str()?.strip_prefix(flag));
            found.and_then(|seconds| seconds.parse().ok()).expect("a number")
        };
        let needed = seconds("--shutdown-grace-period=") + seconds("--drain-timeout=");
        let patience = pod["terminationGracePeriodSeconds"].as_i64().expect("a number");
        assert!(patience > needed, "{variant:?}: {patience} s for {needed} s");
    }
}

#[test]
fn rules_for_annotations_follow_the_values() {
    let Some(chart) = Chart::new("rules_for_annotations_follow_the_values") else { return };
    let policy = |values: &str| {
        let objects = chart.objects(&["--set", values]);
        of_kind(&objects, "ValidatingAdmissionPolicy")[0]["spec"].to_string()
    };
    let snippets = "'configuration-snippet'";
    let standard = policy("nameOverride=x");
    assert!(standard.contains(snippets) && standard.contains("nginx.ingress.kubernetes.io/"));
    assert!(standard.contains("strict-validate-path-type"));
    assert!(!policy("controller.allowSnippetAnnotations=true").contains(snippets));
    let by_config = "controller.config.allow-snippet-annotations=true";
    assert!(!policy(by_config).contains(snippets));
    let lax = policy("controller.config.strict-validate-path-type=false");
    assert!(!lax.contains("strict-validate-path-type"));
    // Another ConfigMap than the chart's may say either.
    let other = policy("controller.extraArgs.configmap=other/settings");
    assert!(!other.contains(snippets) && !other.contains("strict-validate-path-type"));
    let renamed = policy("controller.extraArgs.annotations-prefix=example.com");
    assert!(renamed.contains("'example.com/'") || renamed.contains("\\\"example.com/\\\""));
    let none = chart.objects(&["--set", "controller.admissionPolicy.enabled=false"]);
    assert!(of_kind(&none, "ValidatingAdmissionPolicy").is_empty());
    let old = chart.objects(&["--kube-version", "1.29"]);
    assert!(of_kind(&old, "ValidatingAdmissionPolicy").is_empty());
}

#[test]
fn alerts_and_the_dashboard_are_those_of_the_repository_or_the_users() {
    let name = "alerts_and_the_dashboard_are_those_of_the_repository_or_the_users";
    let Some(chart) = Chart::new(name) else { return };
    let read = |path: &str| {
        let path = Path::new(CHART).join("../..").join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let none = chart.objects(&[]);
    let on = |value: &str| {
        chart.objects(&["--set", &format!("controller.metrics.enabled=true,{value}")])
    };
    let objects = on("controller.metrics.prometheusRule.enabled=true");
    let rule = of_kind(&objects, "PrometheusRule")[0];
    let alerts: Value = serde_saphyr::from_str(&read("prometheus/alerts.yaml")).expect("YAML");
    // Prometheus' own templates are not helm's.
    assert!(alerts.to_string().contains("{{ $labels.ingress }}"));
    assert_eq!(rule["spec"]["groups"], alerts["groups"]);
    assert_eq!(rule["metadata"]["namespace"], "ingress");
    let own = "controller.metrics.prometheusRule.enabled=true,\
               controller.metrics.prometheusRule.namespace=watch,\
               controller.metrics.prometheusRule.rules[0].alert=Own,\
               controller.metrics.prometheusRule.rules[0].expr=up";
    let objects = on(own);
    let rule = of_kind(&objects, "PrometheusRule")[0];
    assert_eq!(rule["spec"]["groups"][0]["rules"], json!([{"alert": "Own", "expr": "up"}]));
    assert_eq!(rule["spec"]["groups"].as_array().map(Vec::len), Some(1));
    assert_eq!(rule["metadata"]["namespace"], "watch");

    let objects = on("controller.metrics.dashboard.enabled=true");
    let is_one = |map: &&&Value| map["metadata"]["labels"]["grafana_dashboard"] == "1";
    let maps = of_kind(&objects, "ConfigMap");
    let map = maps.iter().find(is_one).expect("it is there");
    let text = map["data"]["penstock.json"].as_str().expect("text");
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    assert_eq!(json(text), json(&read("grafana/penstock.json")));
    assert!(of_kind(&none, "PrometheusRule").is_empty());
    assert!(!of_kind(&none, "ConfigMap").iter().any(|map| is_one(&map)));
}

#[test]
fn the_webhook_is_asked_about_changes_of_what_it_judges() {
    let name = "the_webhook_is_asked_about_changes_of_what_it_judges";
    let Some(chart) = Chart::new(name) else { return };
    let conditions = |more: &[&str]| {
        let mut arguments = vec!["--set", "controller.admissionWebhooks.enabled=true"];
        arguments.extend(more);
        let objects = chart.objects(&arguments);
        let hook = of_kind(&objects, "ValidatingWebhookConfiguration")[0];
        let conditions = hook["webhooks"][0]["matchConditions"].as_array().cloned();
        let names = conditions.into_iter().flatten().map(|one| one["name"].clone());
        names.collect::<Vec<_>>()
    };
    let own = "controller.admissionWebhooks.matchConditions[0].name=team,\
               controller.admissionWebhooks.matchConditions[0].expression=true";
    let own = own.replace("=true", "=has(object.metadata.labels)");
    assert_eq!(conditions(&[]), ["changed"]);
    assert_eq!(conditions(&["--set", &own]), ["changed", "team"]);
    assert_eq!(conditions(&["--kube-version", "1.27"]), [Value::Null; 0]);
    let on = "controller.admissionWebhooks.enabled=true";
    let refusal = chart.refusal(&["--kube-version", "1.27", "--set", on, "--set", &own]);
    assert!(refusal.contains("matchConditions"), "{refusal}");
}
