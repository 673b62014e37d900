//! Images out of single static programs, for a runtime that is never near a registry.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::namespace::run;

/// An image with one program and nothing else.
#[derive(Clone, Debug)]
pub struct Image {
    /// `localhost/echo:1`.
    pub name: String,
    /// The program, which needs no libraries.
    pub program: PathBuf,
}

impl Image {
    /// Writes it as an archive of an OCI image layout (image-spec 1.1, image-layout.md).
    pub fn write(&self, archive: &Path) -> Result<()> {
        let work = tempfile::tempdir()?;
        let root = work.path().join("root");
        let entry = self.program.file_name().context("a program without a name")?;
        fs::create_dir(&root)?;
        fs::copy(&self.program, root.join(entry))
            .with_context(|| self.program.display().to_string())?;
        fs::set_permissions(root.join(entry), fs::Permissions::from_mode(0o755))?;
        let layer = work.path().join("layer.tar");
        pack(&root, &layer)?;

        let layout = Layout::new(work.path().join("layout"))?;
        let layer = layout.blob("layer.v1.tar", &fs::read(layer)?)?;
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let config = layout.json(
            "config.v1+json",
            &json!({
                "architecture": architecture,
                "os": "linux",
                // Nobody in particular, for pods that must not be root.
                "config": { "Entrypoint": [Path::new("/").join(entry)], "User": "65532:65532" },
                "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
            }),
        )?;
        let mut manifest = layout.json(
            "manifest.v1+json",
            &json!({
                "schemaVersion": 2,
                "mediaType": media_type("manifest.v1+json"),
                "config": config,
                "layers": [layer],
            }),
        )?;
        // By this annotation containerd names what it imports.
        manifest["annotations"] = json!({ "io.containerd.image.name": self.name });
        manifest["platform"] = json!({ "architecture": architecture, "os": "linux" });
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        fs::write(layout.0.join("index.json"), index.to_string())?;
        fs::write(layout.0.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        pack(&layout.0, archive)
    }
}

struct Layout(PathBuf);

impl Layout {
    fn new(directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(directory.join("blobs/sha256"))?;
        Ok(Self(directory))
    }

    fn json(&self, kind: &str, value: &Value) -> Result<Value> {
        self.blob(kind, value.to_string().as_bytes())
    }

    /// Stores the bytes; what refers to them.
    fn blob(&self, kind: &str, bytes: &[u8]) -> Result<Value> {
        let name = data_encoding::HEXLOWER.encode(digest(&SHA256, bytes).as_ref());
        fs::write(self.0.join("blobs/sha256").join(&name), bytes)?;
        let digest = format!("sha256:{name}");
        Ok(json!({ "mediaType": media_type(kind), "digest": digest, "size": bytes.len() }))
    }
}

fn media_type(kind: &str) -> String {
    format!("application/vnd.oci.image.{kind}")
}

fn pack(directory: &Path, archive: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"]);
    run(command.arg("-C").arg(directory).arg("-cf").arg(archive).arg("."))
}
