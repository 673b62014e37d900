//! An image is read as a container engine reads it.

use std::{collections::BTreeMap, fs, io::Read as _, path::Path};

use flate2::read::GzDecoder;
use serde_json::Value;

use super::{elf, layer::digest, write};

/// The files of a tarball.
fn files(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(bytes).entries().expect("a tarball") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").display().to_string();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).expect("contents");
        assert!(files.insert(path, contents).is_none(), "a path is there twice");
    }
    files
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

/// The blob of a descriptor, which says of it what is true.
#[track_caller]
fn blob<'f>(files: &'f BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'f [u8] {
    let name = descriptor["digest"].as_str().expect("a digest");
    let bytes = files.get(&format!("blobs/{}", name.replace(':', "/"))).expect("the blob is there");
    assert_eq!(digest(bytes), name);
    assert_eq!(descriptor["size"], bytes.len());
    bytes
}

fn image(output: &Path, program: &[u8]) -> Vec<u8> {
    let written = write(program, "localhost/penstock:1.2.3", output).expect("written");
    let bytes = fs::read(output).expect("readable");
    assert_eq!(bytes.len() as u64, written.bytes);
    let index = parsed(&files(&bytes)["index.json"]);
    assert_eq!(index["manifests"][0]["digest"], *written.digest);
    bytes
}

#[test]
fn an_image_is_what_its_digests_say_and_holds_the_program_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut program = elf::tests::program(62, 1);
    program.extend((0..100_000_u32).flat_map(u32::to_le_bytes));
    let bytes = image(&directory.path().join("image.tar"), &program);
    let files = files(&bytes);
    assert_eq!(parsed(&files["oci-layout"])["imageLayoutVersion"], "1.0.0");
    let index = parsed(&files["index.json"]);
    let named = &index["manifests"][0];
    assert_eq!(named["annotations"]["org.opencontainers.image.ref.name"], "1.2.3");
    assert_eq!(named["annotations"]["io.containerd.image.name"], "localhost/penstock:1.2.3");
    assert_eq!(named["platform"]["architecture"], "amd64");
    let manifest = parsed(blob(&files, named));
    let config = parsed(blob(&files, &manifest["config"]));
    assert_eq!(config["config"]["Entrypoint"][0], "/penstock");
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["architecture"], "amd64");
    assert!(config["config"]["Labels"]["org.opencontainers.image.version"].is_string());

    let layers = manifest["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 1);
    let mut plain = Vec::new();
    GzDecoder::new(blob(&files, &layers[0])).read_to_end(&mut plain).expect("gzip");
    assert_eq!(config["rootfs"]["diff_ids"][0], *digest(&plain));
    assert_eq!(config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(1));
    let mut archive = tar::Archive::new(&plain[..]);
    let mut entries = archive.entries().expect("a tarball");
    let mut entry = entries.next().expect("a file").expect("an entry");
    assert_eq!(entry.path().expect("a path"), Path::new("penstock"));
    assert_eq!(entry.header().mode().expect("a mode"), 0o755);
    assert_eq!((entry.header().uid().ok(), entry.header().gid().ok()), (Some(0), Some(0)));
    let extensions = entry.pax_extensions().expect("readable").expect("there are some");
    let extension = extensions.flatten().next().expect("the capability");
    assert_eq!(extension.key().ok(), Some("SCHILY.xattr.security.capability"));
    // `setcap cap_net_bind_service=ep` writes the same.
    assert_eq!(extension.value_bytes()[..8], [1, 0, 0, 2, 0, 4, 0, 0]);
    assert_eq!(extension.value_bytes()[8..], [0; 12]);
    let mut contents = Vec::new();
    entry.read_to_end(&mut contents).expect("contents");
    assert!(contents == program);
    assert!(entries.next().is_none(), "there is more than the program");
    // Nothing lies about in it that no digest names.
    assert_eq!(files.len(), 5, "{:?}", files.keys());
}

#[test]
fn an_image_is_the_same_whenever_it_is_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = elf::tests::program(183, 1);
    let [first, second] = ["a", "b"].map(|name| image(&directory.path().join(name), &program));
    assert!(first == second);
}

#[test]
fn what_would_not_run_alone_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = directory.path().join("image.tar");
    let refused =
        |program: &[u8], name| write(program, name, &output).err().expect("refused").to_string();
    let needy = refused(&elf::tests::program(62, 3), "localhost/penstock:1");
    assert!(needy.contains("crt-static"), "{needy}");
    let script = refused(b"#!/bin/sh\n", "localhost/penstock:1");
    assert!(script.contains("no ELF"), "{script}");
    let unnamed = refused(&elf::tests::program(62, 1), "localhost:5000/penstock");
    assert!(unnamed.contains("no tag"), "{unnamed}");
    assert!(!output.exists());
}
