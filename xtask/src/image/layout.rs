//! The image as a tarball: OCI image layout 1.0 (`oci-layout`, `index.json`, `blobs/`), which
//! containerd, Podman, skopeo and Docker from version 25 take.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::layer::{Layer, PROGRAM, append, digest};

/// Who the agent is where the chart says nothing else: nobody's number in Debian or elsewhere.
const USER: &str = "65532:65532";

/// What is told of the image.
pub(super) struct About<'a> {
    /// With its tag.
    pub(super) name: &'a str,
    pub(super) tag: &'a str,
    pub(super) version: &'a str,
    pub(super) architecture: &'a str,
    /// As RFC 3339 has it.
    pub(super) created: String,
    /// The commit, where there is one.
    pub(super) revision: Option<String>,
    /// The time of all files, since 1970.
    pub(super) seconds: u64,
}

/// The tarball, and the digest of the image's manifest.
pub(super) fn tarball(layer: &Layer, about: &About<'_>) -> Result<(Vec<u8>, String)> {
    let config = encode(&config(layer, about))?;
    let manifest = encode(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer.bytes)],
    }))?;
    let mut named = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    named["platform"] = json!({ "architecture": about.architecture, "os": "linux" });
    named["annotations"] = json!({
        // By which Podman and skopeo name it, and by which containerd does.
        "org.opencontainers.image.ref.name": about.tag,
        "io.containerd.image.name": about.name,
    });
    let index = encode(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [named],
    }))?;

    let mut tar = tar::Builder::new(Vec::new());
    let mut file = |path: &str, bytes: &[u8]| append(&mut tar, path, 0o644, about.seconds, bytes);
    file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    file("index.json", &index)?;
    for blob in [&manifest, &config, &layer.bytes] {
        file(&format!("blobs/{}", digest(blob).replace(':', "/")), blob)?;
    }
    Ok((tar.into_inner().context("cannot end the tarball")?, digest(&manifest)))
}

fn config(layer: &Layer, about: &About<'_>) -> Value {
    let mut labels = json!({
        "org.opencontainers.image.title": "Penstock",
        "org.opencontainers.image.description":
            "A Kubernetes ingress controller that takes ingress-nginx's objects unchanged",
        "org.opencontainers.image.version": about.version,
        "org.opencontainers.image.created": about.created,
        "org.opencontainers.image.licenses": "Apache-2.0 AND (MIT OR GPL-2.0-only)",
    });
    if let Some(revision) = &about.revision {
        labels["org.opencontainers.image.revision"] = json!(revision);
    }
    json!({
        "architecture": about.architecture,
        "os": "linux",
        "created": about.created,
        "config": {
            "User": USER,
            "Entrypoint": [format!("/{PROGRAM}")],
            "Cmd": ["run"],
            "WorkingDir": "/",
            "StopSignal": "SIGTERM",
            "ExposedPorts": { "80/tcp": {}, "443/tcp": {}, "10254/tcp": {} },
            "Labels": labels,
        },
        "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] },
        "history": [{ "created": about.created, "created_by": "cargo xtask image" }],
    })
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": digest(bytes), "size": bytes.len() })
}

fn encode(value: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec(value).context("cannot encode JSON")
}
