//! The command `penstock check`.

use std::{
    io::{self, Read as _, Write},
    path::PathBuf,
};

use clap::{Args, ValueEnum};

use super::{
    Verdict, check,
    cluster::{Cluster, ClusterError},
    render,
};
use crate::{
    firewall::Library,
    kubernetes::Access,
    source::{Input, Reading, SourceError, read_once},
    translate,
};

/// Check manifests: what would become of their Ingresses, compared with ingress-nginx.
///
/// Exit code 0: nothing is refused; 1: something is, something differs with --fail-on=differs, or a
/// manifest cannot be read; 2: there is no manifest, an input cannot be read, or the arguments are
/// wrong.
#[derive(Args, Clone, Debug)]
pub struct Command {
    /// Files and directories of Kubernetes YAML or JSON; `-` is standard input.
    #[arg(value_name = "PATH", required_unless_present = "cluster", conflicts_with = "cluster")]
    pub paths: Vec<PathBuf>,
    /// The objects of a live cluster instead, listed with your own rights; implies --complete.
    #[arg(long)]
    pub cluster: bool,
    /// Which kubeconfig tells the cluster; default: as kubectl finds it, else the pod's own.
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub kubeconfig: Option<PathBuf>,
    /// Which context of the kubeconfig; default: the current one.
    #[arg(long, value_name = "NAME", requires = "cluster")]
    pub context: Option<String>,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    pub format: Format,
    /// What ends with exit code 1.
    #[arg(long, value_enum, default_value = "refused", value_name = "VERDICT")]
    pub fail_on: FailOn,
    /// The manifests are everything there is: Services, Secrets and ConfigMaps that are not among
    /// them do not exist.
    #[arg(long)]
    pub complete: bool,
    /// The controller's ConfigMap (namespace/name), among the manifests.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub configmap: Option<String>,
    /// Value of the annotation kubernetes.io/ingress.class that is meant for the controller.
    #[arg(long, value_name = "NAME", default_value = "nginx")]
    pub ingress_class: String,
    /// Only the Ingresses of this namespace; default: all.
    #[arg(long, value_name = "NAMESPACE")]
    pub watch_namespace: Option<String>,
    /// The controller runs with --enable-ssl-passthrough.
    #[arg(long)]
    pub enable_ssl_passthrough: bool,
    /// The controller runs with --disable-catch-all.
    #[arg(long)]
    pub disable_catch_all: bool,
    /// The controller's --annotations-prefix.
    #[arg(long, value_name = "PREFIX", default_value = "nginx.ingress.kubernetes.io")]
    pub annotations_prefix: String,
}

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One object.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

/// What counts as a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Ingresses that are refused, and objects that cannot be read.
    Refused,
    /// Likewise, and those that are served in another way.
    Differs,
    /// Nothing.
    Never,
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing that `--fail-on` names.
    Passed,
    /// Something that it names.
    Failed,
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A path cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The cluster cannot be read.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Standard input cannot be read.
    #[error("cannot read the standard input")]
    Input(#[source] io::Error),
    /// The result cannot be written.
    #[error("cannot write the result")]
    Output(#[source] io::Error),
    /// There is nothing to check.
    #[error("no manifest in what was given")]
    Empty,
    /// `--configmap` is no reference.
    #[error("--configmap {0:?} is not namespace/name")]
    Reference(String),
}

impl Command {
    /// Checks, and writes the result.
    ///
    /// # Errors
    ///
    /// An input that cannot be read, an output that cannot be written.
    pub fn run(&self, output: &mut dyn Write) -> Result<Outcome, CheckError> {
        let reading = self.read()?;
        if reading.places.is_empty() && reading.diagnostics.is_empty() && !self.cluster {
            return Err(CheckError::Empty);
        }
        let report = check(reading, self.options()?, self.complete || self.cluster);
        let text = match self.format {
            Format::Text => render::text(&report),
            Format::Json => render::json(&report),
            Format::Sarif => render::sarif(&report),
        };
        output.write_all(text.as_bytes()).map_err(CheckError::Output)?;
        let worst = report.ingresses.iter().map(|checked| checked.verdict).max();
        let broken = report.has_unreadable();
        let failed = match self.fail_on {
            FailOn::Refused => broken || worst >= Some(Verdict::Refused),
            FailOn::Differs => broken || worst >= Some(Verdict::Differs),
            FailOn::Never => false,
        };
        Ok(if failed { Outcome::Failed } else { Outcome::Passed })
    }

    fn read(&self) -> Result<Reading, CheckError> {
        if self.cluster {
            let Self { kubeconfig, context, .. } = self.clone();
            let access = Access { kubeconfig, context, ..Access::default() };
            return Ok(Cluster(access).read()?);
        }
        let mut inputs = Vec::new();
        for path in &self.paths {
            if path.as_os_str() == "-" {
                let mut text = String::new();
                io::stdin().read_to_string(&mut text).map_err(CheckError::Input)?;
                inputs.push(Input::Text("<stdin>".into(), text));
            } else {
                inputs.push(Input::Path(path.clone()));
            }
        }
        Ok(read_once(&inputs)?)
    }

    fn options(&self) -> Result<translate::Options, CheckError> {
        let reference = |text: &String| match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                Ok((namespace.to_owned(), name.to_owned()))
            }
            _ => Err(CheckError::Reference(text.clone())),
        };
        Ok(translate::Options {
            ingress_class: self.ingress_class.clone(),
            watch_namespace: self.watch_namespace.clone(),
            configmap: self.configmap.as_ref().map(reference).transpose()?,
            ssl_passthrough: self.enable_ssl_passthrough,
            disable_catch_all: self.disable_catch_all,
            annotations_prefix: self.annotations_prefix.clone(),
            // Of the machine that serves, not of this one.
            firewall: Library::assuming_core_rules(),
            ..translate::Options::default()
        })
    }
}
