//! What the chart gives the agent, the agent takes.

use std::ffi::OsString;

use ingress_userspace::config::{self, Parsed};

use crate::{Chart, agent, variants};

#[test]
fn the_agent_knows_every_flag_that_the_chart_gives() {
    let Some(chart) = Chart::new("the_agent_knows_every_flag_that_the_chart_gives") else { return };
    for variant in variants() {
        let arguments: Vec<&str> = variant.iter().map(String::as_str).collect();
        let objects = chart.objects(&arguments);
        let given = &agent(&objects)["containers"][0]["args"];
        let given: Vec<String> = given
            .as_array()
            .expect("arguments")
            .iter()
            // As the kubelet does.
            .map(|one| one.as_str().expect("text").replace("$(POD_NAMESPACE)", "ingress"))
            .collect();
        assert_eq!(given.first().map(String::as_str), Some("run"));
        // Objects may come from files as well; the name of the node comes by a variable.
        let more = ["--manifests=/nowhere", "--node-name=n1"].map(str::to_owned);
        let name = std::iter::once("penstock".to_owned());
        let parsed = config::parse(name.chain(given.clone()).chain(more).map(OsString::from), 2);
        if let Parsed::Faults(text) = parsed {
            let of_cluster = variant.iter().any(|file| file.ends_with("others-values.yaml"));
            // Only the objects of a cluster have namespaces with labels.
            assert!(of_cluster && text.contains("--watch-namespace-selector"), "{given:?}\n{text}");
            assert!(!text.contains("unexpected"), "{text}");
        }
    }
}

#[test]
fn how_packets_are_steered_is_a_value() {
    let Some(chart) = Chart::new("how_packets_are_steered_is_a_value") else { return };
    let arguments = |values: &str| {
        let steers = format!("l4.enabled=true,l4.interfaces={{eth0}},{values}");
        let objects = chart.objects(&["--set", &steers]);
        let arguments = agent(&objects)["containers"][0]["args"].clone();
        arguments.as_array().expect("arguments").clone()
    };
    for mode in ["auto", "xdp", "tc", "off"] {
        let given = arguments(&format!("l4.mode={mode},l4.vips={{192.0.2.10}}"));
        assert!(given.iter().any(|one| *one == format!("--l4={mode}")), "{given:?}");
        assert!(given.iter().any(|one| one == "--vip=192.0.2.10"), "{given:?}");
    }
    let publish =
        "controller.publishService.enabled=true,controller.publishService.pathOverride=edge/front";
    let given = arguments(&format!("{publish},l4.vipPool={{192.0.2.0/28}}"));
    assert!(given.iter().any(|one| one == "--l4=auto"), "{given:?}");
    let vip = |one: &serde_json::Value| one.as_str().is_some_and(|one| one.starts_with("--vip="));
    assert!(!given.iter().any(vip), "{given:?}");
}

#[test]
fn numbers_stay_what_was_written() {
    let Some(chart) = Chart::new("numbers_stay_what_was_written") else { return };
    let objects = chart.objects(&[
        "--set",
        "controller.config.keep-alive-requests=1000000,controller.config.a=1.5",
        "--set",
        "controller.extraArgs.workers=4,controller.extraArgs.bare=",
    ]);
    let settings = crate::of_kind(&objects, "ConfigMap")[0];
    assert_eq!(settings["data"]["keep-alive-requests"], "1000000");
    assert_eq!(settings["data"]["a"], "1.5");
    let arguments = agent(&objects)["containers"][0]["args"].as_array().expect("arguments");
    assert!(arguments.iter().any(|one| one == "--workers=4"), "{arguments:?}");
    assert!(arguments.iter().any(|one| one == "--bare"), "{arguments:?}");
}
