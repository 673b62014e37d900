use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Result, bail};

/// The release that `tests/cluster/server` builds.
pub const VERSION: &str = "1.36.1";

/// A directory with Kubernetes' programs by their own names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// What an API server takes.
    const API_SERVER: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];
    /// What a node and its control plane take beyond that.
    const CLUSTER: [&str; 4] =
        ["kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"];

    /// Where there are enough for an API server: `KUBEBUILDER_ASSETS`, as other projects' tests have
    /// it, else what `cargo xtask setup --cluster` built last.
    pub fn find() -> Option<Self> {
        let given = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let found = given.into_iter().chain(built()).map(|directory| Self { directory });
        found.into_iter().find(|programs| programs.lacks(&Self::API_SERVER).is_none())
    }

    /// Those in `directory`, for a whole cluster.
    ///
    /// # Errors
    /// Names the program that is not there.
    pub fn of_cluster(directory: PathBuf) -> Result<Self> {
        let programs = Self { directory };
        match programs.lacks(&Self::API_SERVER).or_else(|| programs.lacks(&Self::CLUSTER)) {
            None => Ok(programs),
            Some(name) => bail!("there is no {name} in {}", programs.directory.display()),
        }
    }

    /// What `cargo xtask setup --cluster` built last, for a whole cluster.
    pub fn built() -> Option<Self> {
        built().into_iter().find_map(|directory| Self::of_cluster(directory).ok())
    }

    fn lacks(&self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().copied().find(|name| !self.directory.join(name).is_file())
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A command that starts one of them.
    pub fn command(&self, name: &str) -> Command {
        Command::new(self.directory.join(name))
    }
}

/// Builds of this release in the cache, the latest first: there is one for each version of the
/// sources that was ever built here.
fn built() -> Vec<PathBuf> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let Some(cache) = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home) else {
        return Vec::new();
    };
    let entries = fs::read_dir(cache.join("penstock")).into_iter().flatten().flatten();
    let prefix = format!("kubernetes-{VERSION}-");
    let mut builds: Vec<(SystemTime, PathBuf)> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    builds.sort();
    builds.into_iter().rev().map(|(_, path)| path).collect()
}
