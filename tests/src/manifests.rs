use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

/// A copy of a directory of manifests, which the agents watch and a test may change.
#[derive(Clone, Debug)]
pub struct Manifests {
    directory: PathBuf,
}

/// A pod, as the EndpointSlices name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pod {
    /// Where it listens.
    pub address: SocketAddrV4,
    /// Its name.
    pub name: String,
}

impl Manifests {
    /// Copies the files of `source` to the new directory `directory`; `change` may alter their text.
    pub fn copy(
        source: &Path,
        directory: PathBuf,
        change: impl Fn(String) -> String,
    ) -> Result<Self> {
        fs::create_dir(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let manifests = Self { directory };
        for path in yaml_files(source)? {
            let text = fs::read_to_string(&path)?;
            let name = path.file_name().expect("a file of a directory has a name");
            manifests.write(&name.to_string_lossy(), &change(text))?;
        }
        Ok(manifests)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Puts a file into place at once: a watcher never sees half of it.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let hidden = self.directory.join(format!(".{name}.new"));
        fs::write(&hidden, text)?;
        fs::rename(&hidden, self.directory.join(name))?;
        Ok(())
    }

    /// Deletes a file.
    pub fn remove(&self, name: &str) -> Result<()> {
        Ok(fs::remove_file(self.directory.join(name))?)
    }

    /// Every address and port of every EndpointSlice, once.
    pub fn pods(&self) -> Result<Vec<Pod>> {
        let mut pods = Vec::new();
        for path in yaml_files(&self.directory)? {
            let text = fs::read_to_string(&path)?;
            let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
                .with_context(|| format!("{} is not YAML", path.display()))?;
            for slice in documents.iter().filter(|object| object["kind"] == "EndpointSlice") {
                pods_of(slice, &mut pods).with_context(|| format!("in {}", path.display()))?;
            }
        }
        pods.sort();
        pods.dedup();
        Ok(pods)
    }
}

fn pods_of(slice: &Value, pods: &mut Vec<Pod>) -> Result<()> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    for endpoint in endpoints {
        let address = endpoint["addresses"][0].as_str().context("an endpoint without address")?;
        let address: Ipv4Addr = address.parse().with_context(|| address.to_owned())?;
        let name = endpoint["targetRef"]["name"].as_str().context("an endpoint without pod")?;
        for port in slice["ports"].as_array().into_iter().flatten() {
            let port = port["port"].as_u64().and_then(|port| u16::try_from(port).ok());
            let address = SocketAddrV4::new(address, port.context("a port without number")?);
            pods.push(Pod { address, name: name.to_owned() });
        }
    }
    Ok(())
}

fn yaml_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    Ok(files)
}
