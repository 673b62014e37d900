//! How long an Ingress waits for the admission webhook: through the API server, as `kubectl apply` does.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use data_encoding::BASE64;
use http::Method;
use serde_json::{Value, json};
use testbed::kubernetes::ApiServer;

use super::objects::{NAMESPACE, ingress};

/// The files of the certificate, made in this directory.
pub(super) fn certificate(directory: &Path) -> Result<[String; 2]> {
    let pair = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    let files = ["webhook.crt", "webhook.key"].map(|name| directory.join(name));
    fs::write(&files[0], pair.cert.pem())?;
    fs::write(&files[1], pair.signing_key.serialize_pem())?;
    Ok(files.map(|file| file.display().to_string()))
}

/// So many dry runs of changed Ingresses among `count`, each with how long it took: without a webhook,
/// and with the one that listens on this port.
pub(super) fn dry_runs(
    server: &ApiServer,
    port: u16,
    certificate: &str,
    count: usize,
    runs: usize,
) -> Result<[Vec<Duration>; 2]> {
    let without = timed(server, count, runs)?;
    let bundle = BASE64.encode(&fs::read(certificate)?);
    server.objects().apply_object(&json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "penstock" },
        "webhooks": [{
            "name": "validate.penstock.dev",
            "clientConfig": {
                "url": format!("https://127.0.0.1:{port}/networking/v1/ingresses"),
                "caBundle": bundle,
            },
            "rules": [{
                "apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"], "resources": ["ingresses"],
            }],
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
        }],
    }))?;
    // It takes the API server a moment to hear of it: until a wrong one is refused.
    let start = Instant::now();
    let mut wrong = ingress(0, 0);
    wrong["metadata"]["annotations"]["nginx.ingress.kubernetes.io/denylist-source-range"] =
        "nowhere".into();
    while dry_run(server, 0, &wrong).is_ok() {
        anyhow::ensure!(start.elapsed() < super::LIMIT, "the webhook refuses nothing");
    }
    let with = timed(server, count, runs)?;
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/penstock";
    server.objects().request(Method::DELETE, path, None)?;
    Ok([without, with])
}

fn timed(server: &ApiServer, count: usize, runs: usize) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(runs);
    for run in 1..=runs {
        let number = run * 7919 % count;
        let object = ingress(number, run);
        let start = Instant::now();
        dry_run(server, number, &object)?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times)
}

fn dry_run(server: &ApiServer, number: usize, object: &Value) -> Result<()> {
    let path =
        format!("/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/ingresses/i{number}?dryRun=All");
    let done = server.objects().request(Method::PUT, &path, Some(object));
    done.map(drop).with_context(|| format!("a dry run of Ingress i{number}"))
}
