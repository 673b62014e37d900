//! The chart, installed as a user would.

use std::{fs, path::PathBuf, process::Command};

use testbed::{kubernetes::cluster::Place, requirement};

use crate::site::{DAEMON_SET, NAMESPACE, Site, repository, succeed};

/// The virtual address of `tests/cluster/steering.yaml`.
pub(crate) const VIRTUAL: [u8; 4] = [203, 0, 113, 80];

/// helm, for one cluster.
pub(crate) struct Chart(PathBuf);

impl Chart {
    /// `None` after saying that `test` is skipped.
    pub(crate) fn new(test: &str) -> Option<Self> {
        requirement::helm(test).map(Self)
    }

    /// Installs the chart with the kernel tier on, as docs/installing.md has it.
    pub(crate) fn install(&self, site: &Site) {
        site.kubectl(&["create", "namespace", NAMESPACE]);
        let level = "pod-security.kubernetes.io/enforce=privileged";
        site.kubectl(&["label", "namespace", NAMESPACE, level]);
        let key = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(&key, random_key()).expect("it can be written");
        let key = format!("--from-file=key={}", key.path().display());
        let secret = ["secret", "generic", "penstock-flow-key"];
        site.kubectl(&[&["create", "--namespace", NAMESPACE], &secret[..], &[&key]].concat());
        self.helm(site, "install", &[]);
        site.rolled_out(NAMESPACE, DAEMON_SET);
    }

    /// Changes a value, which gives every pod a successor, and waits until all are replaced.
    pub(crate) fn upgrade(&self, site: &Site, value: &str) {
        self.helm(site, "upgrade", &["--set", value]);
        site.rolled_out(NAMESPACE, DAEMON_SET);
    }

    fn helm(&self, site: &Site, verb: &str, more: &[&str]) {
        let mut command: Command =
            site.cluster.command(Place::ControlPlane, &self.0).expect("the place is there");
        command.args([verb, "penstock"]).arg(repository("deploy/helm/penstock"));
        command.args(["--namespace", NAMESPACE, "--values"]);
        command.arg(repository("tests/cluster/steering.yaml"));
        command.args(["--set", "l4.keySecret=penstock-flow-key"]).args(more);
        command.arg("--kubeconfig").arg(site.cluster.layout().kubeconfig());
        succeed(&mut command);
    }
}

/// Sixteen bytes that nobody knows.
fn random_key() -> [u8; 16] {
    let mut key = [0; 16];
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    random.fill(&mut key).expect("there is randomness");
    key
}
