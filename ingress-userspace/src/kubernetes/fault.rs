//! What the API server refuses, told once and not at every attempt.

use std::time::Duration;

/// Remembers what was said last about one matter.
#[derive(Debug)]
pub(super) struct Fault {
    matter: &'static str,
    last: Option<String>,
}

impl Fault {
    /// Nothing is wrong yet.
    pub(super) fn new(matter: &'static str) -> Self {
        Self { matter, last: None }
    }

    /// This is wrong: logged where it is not what was wrong before.
    pub(super) fn told(&mut self, error: &kube::Error) {
        self.said(&told(error));
    }

    /// The same in words.
    pub(super) fn said(&mut self, what: &str) {
        if self.last.as_deref() != Some(what) {
            tracing::warn!("{}: {what}", self.matter);
            self.last = Some(what.to_owned());
        }
    }

    /// Nothing is wrong.
    pub(super) fn gone(&mut self) {
        if self.last.take().is_some() {
            tracing::info!("{}: well again", self.matter);
        }
    }
}

/// How long an API server that is reached may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answer, or that there was none in time: a request that nobody answers must not be the last.
pub(super) async fn in_time<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(answer) => answer,
        Err(_late) => Err(kube::Error::Service("the API server does not answer".into())),
    }
}

/// What the API server said, or why it could not be asked.
pub(super) fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => chain(other),
    }
}

/// The error and what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
