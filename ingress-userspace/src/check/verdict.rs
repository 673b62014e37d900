//! What becomes of one Ingress.

use k8s_openapi::api::networking::v1::Ingress;

use super::{Checked, Kind, Remark, Verdict};
use crate::{
    model::{Diagnostic, ObjectRef, Severity, Target},
    translate::{self, Described, Translation, UNLIKE, described},
};

/// The diagnostic is about an object that is not there: `translate` says so in these words of all.
pub(crate) fn is_missing(diagnostic: &Diagnostic) -> bool {
    diagnostic.message.contains("does not exist")
}

/// The words of a diagnostic about a host and path that two Ingresses have.
const CONFLICT: &str = "is already served by";

/// What is said beside it where manifests do not tell which is older.
const NO_AGE: &str = "; in a cluster the one that was made first is; manifests do not say which, and \
                      the order of their names was taken here";

/// What serving says of the object's past: here it has none.
pub(super) fn without_past(diagnostic: &mut Diagnostic) {
    for past in [
        "the last good state of the object stays",
        "the last good state of its objects stays",
        "the last good state of the file's objects stays",
    ] {
        if diagnostic.message.contains(past) {
            diagnostic.message = diagnostic.message.replace(past, "it is not checked");
        }
    }
}

pub(super) fn judge(
    object: ObjectRef,
    ingress: &Ingress,
    translation: &Translation,
    options: &translate::Options,
    complete: bool,
) -> Checked {
    let mut remarks = Vec::new();
    let annotations = ingress.metadata.annotations.iter().flatten();
    let own = annotations.filter_map(|(name, value)| {
        let key = name.strip_prefix(&*options.annotations_prefix)?.strip_prefix('/')?;
        Some((name, value, described(key)?))
    });
    for (name, value, described) in own {
        if let Some(how) = difference(described, value) {
            let field = format!("metadata.annotations[{name}]");
            remarks.push(Remark { kind: Kind::Differs, field, message: how.to_owned() });
        }
    }
    let denied = denied_by(&object, translation);
    for diagnostic in translation.diagnostics.iter().filter(|one| one.object == object) {
        let kind = kind(diagnostic, &denied, complete);
        let Diagnostic { field, mut message, .. } = diagnostic.clone();
        if kind == Kind::Needs {
            // Of what is merely not there nobody knows what becomes of it.
            let first = message.split(';').next().unwrap_or_default();
            message = first.replace("does not exist", "is not among the manifests");
        }
        if kind == Kind::Conflict && ingress.metadata.creation_timestamp.is_none() {
            message.push_str(NO_AGE);
        }
        remarks.push(Remark { kind, field, message });
    }
    let refused = remarks.iter().any(|remark| remark.kind == Kind::Refused);
    // What denies without a word of its own: an annotation of another Ingress, the ConfigMap.
    if !refused && !denied.is_empty() && !remarks.iter().any(|remark| remark.kind == Kind::Needs) {
        for key in &denied {
            let message =
                format!("paths answer 503 because of `{key}`, which another object asks for");
            remarks.push(Remark { kind: Kind::Refused, field: String::new(), message });
        }
    }
    let worst = remarks.iter().map(|remark| remark.kind).min();
    let verdict = match worst {
        Some(Kind::Refused) => Verdict::Refused,
        Some(Kind::Differs) => Verdict::Differs,
        _ => Verdict::Same,
    };
    Checked { object, verdict, remarks }
}

fn difference(described: &Described, value: &str) -> Option<&'static str> {
    let harmless = described.harmless.iter().any(|own| own.eq_ignore_ascii_case(value.trim()));
    (!described.differs.is_empty() && !harmless).then_some(described.differs)
}

/// The keys for which routes of this Ingress answer 503.
fn denied_by(object: &ObjectRef, translation: &Translation) -> Vec<String> {
    let routes = translation.model.hosts.iter().flat_map(|host| &host.routes);
    let mut keys: Vec<_> = routes
        .filter(|route| route.ingress == *object)
        .filter_map(|route| match &route.target {
            Target::Denied(denial) => Some(denial.key.to_string()),
            _ => None,
        })
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

fn kind(diagnostic: &Diagnostic, denied: &[String], complete: bool) -> Kind {
    let Diagnostic { severity, field, message, .. } = diagnostic;
    if message.contains(CONFLICT) {
        return Kind::Conflict;
    }
    if is_missing(diagnostic) {
        let denies = *severity == Severity::Error && !field.starts_with("spec.tls");
        return if complete && denies { Kind::Refused } else { Kind::Needs };
    }
    if is_about_endpoints(message) {
        return if complete { Kind::Note } else { Kind::Needs };
    }
    let denies = denied.iter().any(|key| field.contains(&**key)) || message.contains("503");
    match severity {
        Severity::Error if denies => Kind::Refused,
        // A part of the rules that cannot be served at all.
        Severity::Error if field.starts_with("spec.rules") || field == "spec" => Kind::Refused,
        _ if message.starts_with("has no effect: ") || message.contains(UNLIKE) => Kind::Differs,
        _ => Kind::Note,
    }
}

/// A Service has nobody to send requests to: true of all manifests without EndpointSlices.
pub(crate) fn is_about_endpoints(message: &str) -> bool {
    message.contains("has no ready endpoint")
}
