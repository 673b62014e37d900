//! A report as text, JSON or SARIF.

mod json;
mod sarif;
mod text;

pub(super) use self::{json::json, sarif::sarif, text::text};
use super::{Kind, Report, Verdict};
use crate::model::{ObjectRef, Severity};

impl Verdict {
    /// One word.
    fn name(self) -> &'static str {
        match self {
            Self::OtherClass => "other-class",
            Self::Same => "same",
            Self::Differs => "differs",
            Self::Refused => "refused",
        }
    }
}

impl Kind {
    /// One word.
    fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Differs => "differs",
            Self::Conflict => "conflict",
            Self::HostWide => "host-wide",
            Self::Caution => "caution",
            Self::Needs => "needs",
            Self::Note => "note",
        }
    }

    /// What it is, in a sentence.
    fn sentence(self) -> &'static str {
        match self {
            Self::Refused => "Paths of the Ingress are not served, or answer 503",
            Self::Differs => "Served in another way than by ingress-nginx",
            Self::Conflict => "Another Ingress has the same host and path; the older one wins",
            Self::HostWide => "Another Ingress of the host changes what this one means",
            Self::Caution => "Probably not what is meant, here and with ingress-nginx",
            Self::Needs => "Needs an object that is not among the manifests",
            Self::Note => "Has no effect, here and with ingress-nginx",
        }
    }
}

impl Report {
    /// Some text is no manifest, or some object could not be read.
    pub(super) fn has_unreadable(&self) -> bool {
        self.others.iter().any(|one| one.severity == Severity::Error && self.is_read(&one.object))
    }

    /// The object is among what was read, or is a file.
    fn is_read(&self, object: &ObjectRef) -> bool {
        object.kind == "File" || self.reading.places.contains_key(object)
    }

    /// How many Ingresses there are of each verdict, the worst first.
    fn counts(&self) -> [(Verdict, usize); 4] {
        [Verdict::Refused, Verdict::Differs, Verdict::Same, Verdict::OtherClass].map(|verdict| {
            (verdict, self.ingresses.iter().filter(|own| own.verdict == verdict).count())
        })
    }

    /// Where a field of an object is: the file and the line.
    fn place(&self, object: &ObjectRef, field: &str) -> Option<(String, u64)> {
        let place = self.reading.places.get(object)?;
        let key = field.strip_prefix("metadata.annotations[").and_then(|f| f.strip_suffix(']'));
        let line = key.map_or(place.line, |key| place.line_of(key));
        Some((place.file.display().to_string(), line))
    }
}
