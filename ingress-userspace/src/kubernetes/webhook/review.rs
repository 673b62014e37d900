//! What the API server asks and is answered: `AdmissionReview` of `admission.k8s.io/v1`, as far as it
//! matters here.

use k8s_openapi::api::networking::v1::Ingress;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the API server takes of one warning, and of all of them.
const LONGEST_WARNING: usize = 500;
const MOST_WARNINGS: usize = 12;

/// A question, or an answer to one.
#[derive(Debug, Deserialize)]
pub(super) struct Review {
    pub(super) request: Option<Request>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Request {
    pub(super) uid: String,
    #[serde(default)]
    pub(super) kind: Kind,
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) name: String,
    pub(super) operation: String,
    #[serde(default)]
    pub(super) object: Value,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Kind {
    #[serde(default)]
    group: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    kind: String,
}

impl Request {
    /// It is about an Ingress that is to be, in the version that is served.
    pub(super) fn is_about_an_ingress(&self) -> bool {
        let Kind { group, version, kind } = &self.kind;
        (&**group, &**version, &**kind) == ("networking.k8s.io", "v1", "Ingress")
            && matches!(&*self.operation, "CREATE" | "UPDATE")
    }

    /// The Ingress as it is to be.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn ingress(&self) -> Result<Ingress, serde_json::Error> {
        Ingress::deserialize(&self.object)
    }
}

/// What is answered about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Why it is refused; `None`: it is allowed.
    pub(super) refusal: Option<String>,
    /// What people should know all the same.
    pub(super) warnings: Vec<String>,
}

impl Verdict {
    /// Nothing to say.
    pub(super) fn allowed() -> Self {
        Self { refusal: None, warnings: Vec::new() }
    }

    /// No, because of that.
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self { refusal: Some(why.into()), warnings: Vec::new() }
    }

    /// As the API server wants it.
    pub(super) fn answer(self, uid: &str) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer<'a> {
            api_version: &'a str,
            kind: &'a str,
            response: Response<'a>,
        }
        #[derive(Serialize)]
        struct Response<'a> {
            uid: &'a str,
            allowed: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            status: Option<Status>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            warnings: Vec<String>,
        }
        #[derive(Serialize)]
        struct Status {
            code: u16,
            reason: &'static str,
            message: String,
        }
        let allowed = self.refusal.is_none();
        let status =
            self.refusal.map(|message| Status { code: 400, reason: "BadRequest", message });
        let mut warnings = self.warnings;
        if warnings.len() > MOST_WARNINGS {
            let more = warnings.len() - (MOST_WARNINGS - 1);
            warnings.truncate(MOST_WARNINGS - 1);
            warnings.push(format!("and {more} more"));
        }
        warnings.iter_mut().for_each(shorten);
        let answer = Answer {
            api_version: "admission.k8s.io/v1",
            kind: "AdmissionReview",
            response: Response { uid, allowed, status, warnings },
        };
        serde_json::to_vec(&answer).unwrap_or_default()
    }
}

fn shorten(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_WARNING) {
        text.truncate(end);
        text.push('…');
    }
    // It becomes a field of HTTP.
    *text = text.replace(|c: char| c.is_control(), " ");
}
