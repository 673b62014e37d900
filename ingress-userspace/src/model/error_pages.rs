//! Who answers in the place of errors.

use std::sync::Arc;

use super::{BackendId, Proxying};

/// `custom-http-errors`, `default-backend` and `disable-proxy-intercept-errors` (reference section
/// 5.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPages {
    /// The statuses that are replaced, ascending.
    pub statuses: Arc<[u16]>,
    /// Answers of endpoints stay: only those that the proxy makes are replaced.
    pub own_only: bool,
    /// `default-backend`: asked for pages, and for everything while a path's Service has no
    /// endpoint. Counts while it has endpoints itself.
    pub own: Option<BackendId>,
    /// `--default-backend-service`: asked for pages where there is no other.
    pub global: Option<BackendId>,
    /// How pages are asked for.
    pub proxying: Arc<Proxying>,
}

impl ErrorPages {
    /// An answer of this status is replaced.
    #[must_use]
    pub fn cover(&self, status: u16, of_endpoint: bool) -> bool {
        self.statuses.binary_search(&status).is_ok() && !(of_endpoint && self.own_only)
    }
}
