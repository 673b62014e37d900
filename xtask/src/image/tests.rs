//! An image is read as a container engine reads it.

use std::{collections::BTreeMap, fs, io::Read as _, path::Path};

use clap::Parser as _;
use flate2::{Compression, read::GzDecoder};
use serde_json::Value;

use super::{check_size, elf, layer::digest, write};

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
    let written = write(program, "localhost/penstock:1.2.3", None, Compression::best(), output)
        .expect("written");
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
    let refused = |program: &[u8], name| {
        write(program, name, None, Compression::best(), &output).err().expect("refused").to_string()
    };
    let needy = refused(&elf::tests::program(62, 3), "localhost/penstock:1");
    assert!(needy.contains("crt-static"), "{needy}");
    let script = refused(b"#!/bin/sh\n", "localhost/penstock:1");
    assert!(script.contains("no ELF"), "{script}");
    let unnamed = refused(&elf::tests::program(62, 1), "localhost:5000/penstock");
    assert!(unnamed.contains("no tag"), "{unnamed}");
    assert!(!output.exists());
}

#[test]
fn an_image_that_is_too_large_is_refused_with_its_size() {
    assert!(check_size(25_000_000, Some(25)).is_ok());
    assert!(check_size(u64::MAX, None).is_ok());
    let error = check_size(25_000_001, Some(25)).expect_err("it is larger").to_string();
    assert!(error.contains("25000001 bytes") && error.contains("25 MB"), "{error}");
    let directory = tempfile::tempdir().expect("a directory");
    let output = directory.path().join("image.tar");
    let mut program = elf::tests::program(62, 1);
    program.extend(std::iter::repeat_n(0, 100_000));
    assert!(
        write(&program, "localhost/penstock:1.2.3", Some(0), Compression::best(), &output).is_err()
    );
    assert!(!output.exists(), "nothing is written");
}

/// The file for those who build with an engine does what the command does, and nothing that the image
/// of the command has is missing from its.
#[test]
fn the_dockerfile_makes_the_image_that_the_command_makes() {
    let text = fs::read_to_string(super::workspace::root().join("deploy/Dockerfile"))
        .expect("it is there");
    // Comments go first: they may stand between lines that belong together.
    let text: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    let text = text.replace("\\\n", " ");
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .filter(|words: &Vec<&str>| !words.is_empty())
        .collect();
    let known = ["FROM", "RUN", "WORKDIR", "COPY", "LABEL", "USER", "EXPOSE", "ENTRYPOINT", "CMD"];
    for line in &lines {
        assert!(known.contains(&line[0]), "{line:?}");
    }
    let after = |word: &str| -> Vec<String> {
        let found = lines.iter().filter(|line| line[0] == word);
        found.map(|line| line[1..].join(" ")).collect()
    };
    // Two stages: the one that is shipped begins with nothing and takes the program alone.
    assert_eq!(after("FROM"), ["rust:1.95-bookworm AS build", "scratch"]);
    assert_eq!(after("COPY"), [". .", "--from=build /penstock /penstock"]);
    let build = after("RUN").pop().expect("it builds");
    let command = build.split(" && ").find(|command| command.starts_with("cargo xtask image"));
    let command = command.expect("by this command").trim();
    let arguments = command.split(' ').skip(1);
    let taken = crate::Arguments::try_parse_from(arguments).expect("the command takes these");
    let crate::Command::Image(arguments) = taken.command else { panic!("{command}") };
    assert_eq!(arguments.program.as_deref(), Some(Path::new("/penstock")));
    assert!(build.contains("setcap cap_net_bind_service=ep /penstock"));

    let directory = tempfile::tempdir().expect("a directory");
    let bytes = image(&directory.path().join("image.tar"), &elf::tests::program(62, 1));
    let files = files(&bytes);
    let index = parsed(&files["index.json"]);
    let manifest = parsed(blob(&files, &index["manifests"][0]));
    let config = &parsed(blob(&files, &manifest["config"]))["config"];
    assert_eq!(after("USER"), [config["User"].as_str().expect("text")]);
    let list = |words: &str| -> Value { serde_json::from_str(words).expect("a list") };
    assert_eq!(list(&after("ENTRYPOINT")[0]), config["Entrypoint"]);
    assert_eq!(list(&after("CMD")[0]), config["Cmd"]);
    let ports = config["ExposedPorts"].as_object().expect("ports");
    let mut ports: Vec<&str> = ports.keys().map(|port| port.trim_end_matches("/tcp")).collect();
    ports.sort_by_key(|port| port.parse::<u16>().unwrap_or_default());
    assert_eq!(after("EXPOSE"), [ports.join(" ")]);
    for (label, value) in config["Labels"].as_object().expect("labels") {
        let fixed = ["title", "description", "licenses"];
        if fixed.iter().any(|end| label.ends_with(&format!(".{end}"))) {
            let said = format!("{label}={value}");
            assert!(after("LABEL")[0].contains(&said), "{said}");
        }
    }
}
