//! What the API server refuses, told once and not at every attempt.

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
        match error {
            kube::Error::Api(status) => self.said(&status.message),
            other => self.said(&chain(other)),
        }
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
