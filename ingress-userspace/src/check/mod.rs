//! `penstock check`: what would become of these Ingresses here, compared with ingress-nginx. Uses
//! the very code that translates for serving, so that it cannot promise anything else.
#![forbid(unsafe_code)]

mod advice;
mod classes;
mod cluster;
mod command;
mod effects;
mod render;
mod verdict;

#[cfg(test)]
mod tests;

pub use cluster::ClusterError;
pub use command::{CheckError, Command, Outcome};
pub(crate) use verdict::{is_about_endpoints, is_missing};

use std::{sync::Arc, time::SystemTime};

use self::classes::Class;
use crate::{
    model::{Diagnostic, ObjectRef},
    names::Names,
    route::RouteTable,
    source::Reading,
    translate::{self, Translator},
};

/// What becomes of an Ingress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// It is not of a class that is looked at.
    OtherClass,
    /// As with ingress-nginx.
    Same,
    /// It is served; something is done in another way.
    Differs,
    /// Some of its paths are not served, or answer 503.
    Refused,
}

/// Something to know about an Ingress.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Remark {
    pub(crate) kind: Kind,
    /// The field or annotation; empty where it is about the whole.
    pub(crate) field: String,
    pub(crate) message: String,
}

/// What a remark is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Why it is refused.
    Refused,
    /// How it differs.
    Differs,
    /// Another Ingress has the same host and path.
    Conflict,
    /// What another Ingress of the host does to this one, as with ingress-nginx.
    HostWide,
    /// What is probably not meant, as with ingress-nginx.
    Caution,
    /// Needs an object that is not among the manifests.
    Needs,
    /// Has no effect, here and with ingress-nginx.
    Note,
}

/// An Ingress and what becomes of it.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) object: ObjectRef,
    pub(crate) verdict: Verdict,
    pub(crate) remarks: Vec<Remark>,
}

/// What there is to say about all of it.
#[derive(Debug)]
pub(crate) struct Report {
    /// By namespace, then name.
    pub(crate) ingresses: Vec<Checked>,
    /// What is wrong with other objects, and with the text.
    pub(crate) others: Vec<Diagnostic>,
    pub(crate) reading: Reading,
}

/// Checks what was read. `complete`: what is not there does not exist.
pub(crate) fn check(
    mut reading: Reading,
    mut options: translate::Options,
    complete: bool,
) -> Report {
    let classes = classes::serve_all(&mut reading.stores, &mut options);
    let mut translator = Translator::new(options.clone());
    let mut translation = translator.translate(&reading.stores, &Arc::new(Names::default()));
    // What shows only when paths are compiled.
    let (_routes, bad_routes) = RouteTable::default().next(&translation.model);
    translation.diagnostics.extend(bad_routes);
    let mut others = std::mem::take(&mut reading.diagnostics);
    others.iter_mut().for_each(verdict::without_past);
    let is_ours = |diagnostic: &&Diagnostic| diagnostic.object.kind == "Ingress";
    let about_others = translation.diagnostics.iter().filter(|one| !is_ours(one));
    let is_told = |one: &&Diagnostic| {
        // What the caller named is meant to be there.
        complete || !is_missing(one) || one.field.starts_with("--")
    };
    others.extend(about_others.filter(is_told).cloned());
    others.extend(classes::unnamed_settings(&reading.stores, &options));
    let mut ingresses: Vec<_> = reading
        .stores
        .ingresses
        .iter()
        .map(|(key, ingress)| {
            let object = ObjectRef::new("Ingress", key.namespace.clone(), key.name.clone());
            let class = classes.of(ingress);
            if class == Class::Other {
                return Checked { object, verdict: Verdict::OtherClass, remarks: Vec::new() };
            }
            let mut checked = verdict::judge(object, ingress, &translation, &options, complete);
            checked.remarks.extend(class.remark());
            checked
        })
        .collect();
    effects::add(&mut ingresses, &translation.model, &reading.stores);
    let now = SystemTime::now();
    advice::add(&mut ingresses, &translation.model, &reading.stores, &options, now);
    for checked in &mut ingresses {
        checked.remarks.sort();
        checked.remarks.dedup();
    }
    Report { ingresses, others, reading }
}
