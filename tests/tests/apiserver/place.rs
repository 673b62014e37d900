//! A namespace of the shared API server, and conditions that come true.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use testbed::{kubernetes::ApiServer, requirement};

/// The longest that anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A namespace that no other test uses.
pub(crate) struct Place {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) namespace: String,
}

impl Place {
    /// On the server that all tests share; `None` after saying that `test` is skipped.
    pub(crate) fn shared(test: &str) -> Option<Self> {
        let programs = requirement::api_server(test)?;
        Some(Self::on(ApiServer::shared(&programs).expect("an API server")))
    }

    /// On a server that no other test uses, which may be crashed.
    pub(crate) fn alone(test: &str) -> Option<Self> {
        let programs = requirement::api_server(test)?;
        Some(Self::on(Arc::new(ApiServer::start(programs).expect("an API server"))))
    }

    fn on(server: Arc<ApiServer>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("test-{}-{number}", process::id());
        let own = Self { server, namespace };
        own.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: NS}\n");
        own
    }

    /// The text with `NS` replaced by the namespace's name.
    pub(crate) fn named(&self, text: &str) -> String {
        text.replace("NS", &self.namespace)
    }

    /// Creates or changes the objects of these documents, in which `NS` is the namespace.
    pub(crate) fn apply(&self, yaml: &str) {
        self.server.objects().apply(&self.named(yaml)).expect("the objects are accepted");
    }

    /// Deletes them.
    pub(crate) fn delete(&self, yaml: &str) {
        self.server.objects().delete(&self.named(yaml)).expect("the objects are there");
    }
}

/// Looks until it is so.
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}
