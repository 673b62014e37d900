//! The manifests that we ship are understood in full.
#![forbid(unsafe_code)]

use std::sync::Arc;

use std::{path::PathBuf, sync::mpsc, thread, time::Duration};

use ingress_userspace::{
    source::{Directory, Update},
    translate::{Options, Translation, Translator},
};
use testbed::{Authority, Manifests};

fn deploy(directory: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy").join(directory)
}

/// What the directory's first state amounts to for an agent that replaces ingress-nginx.
fn translated(manifests: &Manifests) -> (Update, Translation) {
    let source = Directory::open(manifests.directory()).expect("the directory is readable");
    let stopper = source.stopper();
    let (sender, updates) = mpsc::channel();
    let run = thread::spawn(move || {
        source.run(move |update| {
            // The receiver has gone once it has the first.
            let _ = sender.send(update);
        });
    });
    let update = updates.recv_timeout(Duration::from_secs(10)).expect("a first state");
    stopper.stop();
    run.join().expect("the source ends");
    let options = Options {
        ingress_class: "nginx".to_owned(),
        controller_class: "k8s.io/ingress-nginx".to_owned(),
        configmap: Some(("ingress-nginx".to_owned(), "ingress-nginx-controller".to_owned())),
        ..Options::default()
    };
    let translation = Translator::new(options).translate(&update.stores, &Arc::default());
    (update, translation)
}

#[test]
fn the_demo_lacks_nothing_but_the_secret_that_it_makes_itself() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let copy = directory.path().join("manifests");
    let manifests = Manifests::copy(&deploy("demo"), copy, |text| text).expect("a copy");

    let (update, translation) = translated(&manifests);
    assert_eq!(update.diagnostics, []);
    let [missing] = &translation.diagnostics[..] else { panic!("{:?}", translation.diagnostics) };
    assert!(missing.to_string().contains("secure-example-com"), "{missing}");

    let authority = Authority::new().expect("a fresh key");
    let secret = authority.secret("secure", "secure-example-com", &["secure.example.com"]);
    manifests.write("secret.yaml", &secret.expect("a certificate")).expect("a file");
    let (update, translation) = translated(&manifests);
    assert_eq!((&update.diagnostics[..], &translation.diagnostics[..]), (&[][..], &[][..]));

    let model = translation.model;
    let mut served: Vec<_> = model
        .backends
        .iter()
        .flat_map(|backend| &backend.endpoints)
        .map(|endpoint| (endpoint.address, endpoint.pod.as_deref().map(str::to_owned)))
        .collect();
    served.sort();
    let pods = manifests.pods().expect("the EndpointSlices are readable");
    let pods: Vec<_> = pods.into_iter().map(|pod| (pod.address.into(), Some(pod.name))).collect();
    assert_eq!(served, pods);
    let members: Vec<&str> = model.members.iter().map(|member| &*member.name).collect();
    assert_eq!(members, ["n1", "n2", "n3"]);
}
