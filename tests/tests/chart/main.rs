//! The chart, rendered by helm as a user would, and what it was rendered to held against the agent.
//!
//! `cargo xtask setup --helm` builds helm.
#![forbid(unsafe_code)]

mod flags;
mod rights;
mod values;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use testbed::requirement;

/// The folder of the chart.
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/penstock");

/// The chart, and a helm to render it with.
struct Chart {
    helm: PathBuf,
}

impl Chart {
    /// `None` after saying that `test` is skipped.
    fn new(test: &str) -> Option<Self> {
        Some(Self { helm: requirement::helm(test)? })
    }

    fn helm(&self, arguments: &[&str]) -> Output {
        Command::new(&self.helm).args(arguments).output().expect("helm can be run")
    }

    /// The objects with these values.
    fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        let mut all = vec!["template", "edge", CHART, "--namespace", "ingress"];
        all.extend(arguments);
        let output = self.helm(&all);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        let text = String::from_utf8(output.stdout).expect("YAML is text");
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
        documents.into_iter().filter(|document| !document.is_null()).collect()
    }

    /// Why there are no objects with these values.
    fn refusal(&self, arguments: &[&str]) -> String {
        let mut all = vec!["template", "edge", CHART, "--namespace", "ingress"];
        all.extend(arguments);
        let output = self.helm(&all);
        assert!(!output.status.success(), "{arguments:?} are taken");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// The files with values that stand for the chart's users.
fn users() -> Vec<PathBuf> {
    let folder = Path::new(CHART).join("ci");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    files
}

/// The values of the chart itself, then those of each user.
fn variants() -> Vec<Vec<String>> {
    let named = users().into_iter().map(|file| vec!["-f".to_owned(), file.display().to_string()]);
    [vec![]].into_iter().chain(named).collect()
}

/// The pods' template of the agent.
#[track_caller]
fn agent(objects: &[Value]) -> &Value {
    let is_agent = |object: &&Value| {
        matches!(object["kind"].as_str(), Some("DaemonSet" | "Deployment"))
            && object["metadata"]["labels"]["app.kubernetes.io/component"] == "controller"
    };
    &objects.iter().find(is_agent).expect("the agent is there")["spec"]["template"]["spec"]
}

/// The objects of a kind.
fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}
