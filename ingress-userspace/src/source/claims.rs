//! Which file an object is taken from, where several have it. Looked at again is only what was
//! touched.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use super::files::{File, Kept};
use crate::{
    model::{Diagnostic, ObjectRef, Severity},
    stores::{Changes, Object},
};

/// The files that have each object.
#[derive(Default)]
pub(super) struct Claims {
    /// In the order of the files; none is empty.
    of: HashMap<ObjectRef, Vec<Arc<Path>>>,
    /// What is wrong with objects that several files have.
    disputes: BTreeMap<ObjectRef, Vec<Diagnostic>>,
}

/// Objects of which a file has another state than it had, or no more.
#[derive(Default)]
pub(super) struct Touched(HashMap<ObjectRef, (Object, Vec<Arc<Path>>)>);

impl Touched {
    /// A file has another state of an object; `object` is any state of it.
    pub(super) fn add(&mut self, path: &Arc<Path>, id: &ObjectRef, object: &Object) {
        let entry = self.0.entry(id.clone()).or_insert_with(|| (object.clone(), Vec::new()));
        entry.1.push(Arc::clone(path));
    }
}

impl Claims {
    /// What became of the objects that were touched.
    pub(super) fn settle(
        &mut self,
        touched: Touched,
        files: &BTreeMap<Arc<Path>, File>,
    ) -> Changes {
        let mut changes = Changes::default();
        for (id, (last, paths)) in touched.0 {
            let mut claims = self.of.remove(&id).unwrap_or_default();
            claims.extend(paths);
            claims.sort();
            claims.dedup();
            let kept = |path: &Arc<Path>| files.get(path)?.objects.get(&id);
            claims.retain(|path| kept(path).is_some());
            let claimed: Vec<(&Path, &Kept)> =
                claims.iter().filter_map(|path| Some((&**path, kept(path)?))).collect();
            // The first file wins, unless it is only remembered to have had the object.
            let fresh = claimed.iter().find(|(_, kept)| !kept.stale);
            let Some(winner) = fresh.or(claimed.first()) else {
                self.disputes.remove(&id);
                changes.deleted(&id, &last);
                continue;
            };
            changes.applied(&id, &winner.1.object);
            match claimed.len() {
                1 => self.disputes.remove(&id),
                _ => self.disputes.insert(id.clone(), disputes(&id, winner.0, &claimed)),
            };
            self.of.insert(id, claims);
        }
        changes
    }

    /// What is wrong with objects that several files have.
    pub(super) fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.disputes.values().flatten()
    }
}

fn disputes(id: &ObjectRef, winner: &Path, claimed: &[(&Path, &Kept)]) -> Vec<Diagnostic> {
    let losers = claimed.iter().map(|(path, _)| *path).filter(|path| *path != winner);
    let dispute = |loser: &Path| Diagnostic {
        severity: Severity::Error,
        object: id.clone(),
        field: "metadata.name".to_owned(),
        message: format!(
            "is in {} and in {}; the former is used",
            winner.display(),
            loser.display()
        ),
    };
    losers.map(dispute).collect()
}
