use std::sync::Arc;

use tokio::sync::watch;

use crate::{model::Diagnostic, names::Names, stores::Stores};

/// What there is and what is wrong with it, after a change was applied. What the tasks read that
/// write into the cluster.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The objects.
    pub stores: Arc<Stores>,
    /// What names outside of the cluster stand for.
    pub names: Arc<Names>,
    /// What people should look at: the whole list, sorted.
    pub diagnostics: Arc<[Diagnostic]>,
}

/// The latest moment; `None` before the first.
pub type Moments = watch::Receiver<Option<Arc<Moment>>>;
