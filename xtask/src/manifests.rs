//! `cargo xtask manifests`: `deploy/kubernetes/penstock.yaml`, the chart with its own values, for
//! those who do without helm; and before it, what the chart has copies of.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{setup, step, workspace};

/// The namespace of everything.
const NAMESPACE: &str = "penstock";
/// What the chart is rendered for: it has everything that the chart asks for.
const KUBERNETES: &str = "1.36.0";

/// Before the chart's objects: pods in the node's network need a namespace that allows them.
const HEAD: &str = "\
# Made from deploy/helm/penstock by `cargo xtask manifests`; a test fails if it is stale.
apiVersion: v1
kind: Namespace
metadata:
  name: penstock
  labels:
    pod-security.kubernetes.io/enforce: privileged
";

/// Arguments of `cargo xtask manifests`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Values other than the chart's own, as helm takes them; repeatable.
    #[arg(long, value_name = "FILE")]
    values: Vec<PathBuf>,
    /// File to write; - is standard output; default: deploy/kubernetes/penstock.yaml.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What the chart has copies of, for nothing beside it can be part of it: the copy, and what it is of.
const COPIES: [(&str, &str); 2] = [
    ("deploy/helm/penstock/files/alerts.yaml", "deploy/prometheus/alerts.yaml"),
    ("deploy/helm/penstock/files/dashboard.json", "deploy/grafana/penstock.json"),
];

pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    for (copy, original) in COPIES {
        let [copy, original] = [copy, original].map(|path| workspace::root().join(path));
        fs::copy(&original, &copy).with_context(|| copy.display().to_string())?;
    }
    let text = rendered(&setup::helm()?, &arguments.values)?;
    let output = match &arguments.output {
        Some(output) if output == Path::new("-") => {
            step::say(&text);
            return Ok(());
        }
        Some(output) => output.clone(),
        // What is in the repository has no values of somebody's own.
        None if !arguments.values.is_empty() => bail!("--values needs --output"),
        None => path(),
    };
    fs::write(&output, text).with_context(|| output.display().to_string())?;
    step::say(&workspace::shown(&output));
    Ok(())
}

/// The file with the manifests for these values: the repository's where there are none.
pub(crate) fn with(values: &[PathBuf]) -> Result<PathBuf> {
    if values.is_empty() {
        return Ok(path());
    }
    let output = workspace::target().join("penstock-cluster.yaml");
    let text = rendered(&setup::helm()?, values)?;
    fs::write(&output, text).with_context(|| output.display().to_string())?;
    Ok(output)
}

fn path() -> PathBuf {
    workspace::root().join("deploy/kubernetes/penstock.yaml")
}

fn rendered(helm: &Path, values: &[PathBuf]) -> Result<String> {
    let mut command = Command::new(helm);
    command
        .args(["template", "penstock", "deploy/helm/penstock"])
        .args(["--namespace", NAMESPACE, "--kube-version", KUBERNETES])
        .args(values.iter().flat_map(|file| ["--values".as_ref(), file.as_os_str()]))
        .current_dir(workspace::root());
    let output = command.output().context("cannot run helm")?;
    if !output.status.success() {
        bail!("helm: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout).context("helm writes no text")?;
    let mut all = HEAD.to_owned();
    for line in text.lines() {
        // True only of what helm installs itself.
        let of_helm = ["helm.sh/chart:", "app.kubernetes.io/managed-by:", "# Source:"];
        if !of_helm.iter().any(|start| line.trim_start().starts_with(start)) {
            all.push_str(line);
            all.push('\n');
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_has_the_agents_version() {
        let path = workspace::root().join("deploy/helm/penstock/Chart.yaml");
        let chart = fs::read_to_string(path).expect("the chart");
        for field in ["version", "appVersion"] {
            let line = format!("{field}: {}", env!("CARGO_PKG_VERSION"));
            assert!(chart.lines().any(|own| own == line), "Chart.yaml has no line `{line}`");
        }
    }

    #[test]
    fn the_chart_has_the_alerts_and_the_dashboard() {
        for (copy, original) in COPIES {
            let [copy, original] = [copy, original]
                .map(|path| fs::read_to_string(workspace::root().join(path)).expect(path));
            assert!(copy == original, "stale: run `cargo xtask manifests`");
        }
    }

    #[test]
    fn the_manifests_are_what_the_chart_says() {
        let Some(helm) = setup::found_helm() else {
            step::complain("SKIPPED the_manifests_are_what_the_chart_says: needs helm");
            let required = std::env::var("PENSTOCK_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|word| word == "helm"), "helm is required");
            return;
        };
        let found = fs::read_to_string(path()).expect("deploy/kubernetes/penstock.yaml");
        let wanted = rendered(&helm, &[]).expect("the chart can be rendered");
        assert!(found == wanted, "stale: run `cargo xtask manifests`");
    }
}
