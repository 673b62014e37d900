//! The agent's pod has no right that it does not need.

use serde_json::{Value, json};

use crate::{Chart, agent, of_kind, variants};

const STEERING: &[&str] = &["--set", "l4.enabled=true,l4.vips={192.0.2.10},l4.interfaces={eth0}"];

#[test]
fn no_pod_is_privileged() {
    let Some(chart) = Chart::new("no_pod_is_privileged") else { return };
    for variant in variants() {
        let arguments: Vec<&str> = variant.iter().map(String::as_str).collect();
        let objects = chart.objects(&arguments);
        for object in objects.iter().filter(|object| !object["spec"]["template"].is_null()) {
            let pod = &object["spec"]["template"]["spec"];
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            for container in pod["containers"].as_array().expect("containers") {
                let context = &container["securityContext"];
                assert_ne!(context["privileged"], true, "{variant:?}");
                assert_eq!(context["allowPrivilegeEscalation"], false, "{variant:?}");
                assert_eq!(context["readOnlyRootFilesystem"], true, "{variant:?}");
                assert_eq!(context["capabilities"]["drop"], json!(["ALL"]), "{variant:?}");
            }
        }
    }
}

/// Where the admin socket is: the pod's own, gone with it.
fn run() -> Value {
    json!({ "name": "penstock-run", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } })
}

#[test]
fn without_the_kernel_tier_the_agent_is_nobody() {
    let Some(chart) = Chart::new("without_the_kernel_tier_the_agent_is_nobody") else { return };
    let objects = chart.objects(&[]);
    let pod = agent(&objects);
    let context = &pod["containers"][0]["securityContext"];
    assert_eq!(context["runAsNonRoot"], true);
    assert_eq!(context["runAsUser"], 65532);
    assert_eq!(context["capabilities"]["add"], json!(["NET_BIND_SERVICE"]));
    assert_eq!(pod["volumes"], json!([run()]), "nothing of the node is mounted");
    let arguments = pod["containers"][0]["args"].as_array().expect("arguments");
    assert!(arguments.iter().any(|one| one == "--l4=off"));
}

#[test]
fn the_kernel_tier_takes_four_capabilities_and_the_bpf_file_system() {
    let name = "the_kernel_tier_takes_four_capabilities_and_the_bpf_file_system";
    let Some(chart) = Chart::new(name) else { return };
    let objects = chart.objects(STEERING);
    let pod = agent(&objects);
    let container = &pod["containers"][0];
    let context = &container["securityContext"];
    let four = json!(["BPF", "NET_ADMIN", "NET_BIND_SERVICE", "PERFMON"]);
    assert_eq!(context["capabilities"]["add"], four);
    assert_eq!(context["runAsUser"], 0);
    assert_eq!(pod["hostNetwork"], true);
    let bpf = json!({ "name": "bpf", "hostPath": { "path": "/sys/fs/bpf", "type": "Directory" } });
    assert_eq!(pod["volumes"], json!([bpf, run()]));
    // AppArmor's default profile forbids writing below /sys.
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/bpf");
    let arguments = container["args"].as_array().expect("arguments");
    assert!(arguments.iter().any(|one| one == "--bpf-dir=/bpf/penstock"));
}

#[test]
fn announcing_takes_one_capability_more() {
    let Some(chart) = Chart::new("announcing_takes_one_capability_more") else { return };
    let objects = chart.objects(&[STEERING, &["--set", "l4.announce=l2"]].concat());
    let container = &agent(&objects)["containers"][0];
    let five = json!(["BPF", "NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "PERFMON"]);
    assert_eq!(container["securityContext"]["capabilities"]["add"], five);
    let arguments = container["args"].as_array().expect("arguments");
    assert!(arguments.iter().any(|one| one == "--announce=l2"));
}

#[test]
fn an_agent_that_watches_one_namespace_may_read_no_other() {
    let Some(chart) = Chart::new("an_agent_that_watches_one_namespace_may_read_no_other") else {
        return;
    };
    let scope = "controller.scope.enabled=true,controller.scope.namespace=shop";
    let objects = chart.objects(&["--set", scope]);
    let roles = of_kind(&objects, "ClusterRole");
    let resources: Vec<&Value> = roles
        .iter()
        .flat_map(|role| role["rules"].as_array().expect("rules"))
        .flat_map(|rule| rule["resources"].as_array().expect("resources"))
        .collect();
    assert_eq!(resources, [&json!("ingressclasses"), &json!("nodes")]);
    let spaces: Vec<_> = of_kind(&objects, "Role")
        .iter()
        .map(|role| role["metadata"]["namespace"].clone())
        .collect();
    assert_eq!(spaces, [json!("shop"), json!("ingress")]);
}

/// Where an agent that watches `shop` may list this, by these values.
fn listed_in(chart: &Chart, resource: &str, values: &str) -> Vec<String> {
    let scope = "controller.scope.enabled=true,controller.scope.namespace=shop";
    let objects = chart.objects(&["--set", &format!("{scope},{values}")]);
    let may = |rule: &Value| {
        let has = |field: &str, text: &str| {
            rule[field].as_array().expect("a list").iter().any(|one| one == text)
        };
        has("resources", resource) && has("verbs", "list") && rule["resourceNames"].is_null()
    };
    of_kind(&objects, "Role")
        .iter()
        .filter(|role| role["rules"].as_array().expect("rules").iter().any(may))
        .map(|role| role["metadata"]["namespace"].as_str().expect("a namespace").to_owned())
        .collect()
}

#[test]
fn services_that_flags_name_may_be_watched_beside_the_one_namespace() {
    let name = "services_that_flags_name_may_be_watched_beside_the_one_namespace";
    let Some(chart) = Chart::new(name) else { return };
    let publish =
        "controller.publishService.enabled=true,controller.publishService.pathOverride=edge/front";
    let steers = "l4.enabled=true,l4.interfaces={eth0},l4.vips={192.0.2.10}";
    for resource in ["services", "endpointslices"] {
        let listed = |values: &str| listed_in(&chart, resource, values);
        assert_eq!(listed(publish), ["shop"]);
        assert_eq!(listed(&format!("{publish},{steers}")), ["shop", "edge"]);
        assert_eq!(listed(&format!("{publish},l4.vipPool={{192.0.2.0/28}}")), ["shop", "edge"]);
        let members = "controller.extraArgs.members-service=ingress/agents";
        assert_eq!(listed(members), ["shop", "ingress"]);
    }
}

#[test]
fn who_writes_no_status_may_not_write_it() {
    let Some(chart) = Chart::new("who_writes_no_status_may_not_write_it") else { return };
    let may = |objects: &[Value]| {
        of_kind(objects, "ClusterRole")
            .iter()
            .any(|role| role.to_string().contains("ingresses/status"))
    };
    assert!(may(&chart.objects(&[])));
    assert!(!may(&chart.objects(&["--set", "controller.updateStatus=false"])));
}
