//! What browsers are told about requests from other origins (reference section 1.6; step 8(b)).

use http::Method;

use crate::{
    model::{Cors, Origins, Policies},
    proxy::{
        message::{Fields, Known, RequestHead, ResponseHead},
        respond::{self, Answer},
    },
};

const ORIGIN: &[u8] = b"Access-Control-Allow-Origin";
const CREDENTIALS: &[u8] = b"Access-Control-Allow-Credentials";
const METHODS: &[u8] = b"Access-Control-Allow-Methods";
const HEADERS: &[u8] = b"Access-Control-Allow-Headers";
const EXPOSED: &[u8] = b"Access-Control-Expose-Headers";
const MAX_AGE: &[u8] = b"Access-Control-Max-Age";

/// The answer to an OPTIONS of an allowed origin, which goes no further.
pub(super) fn preflight(policies: &Policies, head: &RequestHead) -> Option<Answer> {
    let cors = policies.cors.as_ref()?;
    let is_answered = head.method == Method::OPTIONS && origin(cors, &head.fields).is_some();
    is_answered.then(respond::preflight)
}

/// Writes the fields into an answer, in place of the upstream's.
pub(super) fn apply(cors: &Cors, request: &Fields, answer: &mut ResponseHead) {
    let fields = &mut answer.fields;
    if matches!(cors.origins, Origins::Listed(_)) {
        // The answer is another one for another origin, which caches must know. ingress-nginx does
        // not tell them.
        vary(fields, b"Origin");
    }
    let Some(origin) = origin(cors, request) else { return };
    fields.set_named(ORIGIN, origin);
    fields.remove_named(CREDENTIALS);
    if cors.credentials {
        fields.push(CREDENTIALS, b"true");
    }
    fields.set_named(METHODS, cors.methods.as_bytes());
    fields.set_named(HEADERS, cors.headers.as_bytes());
    if let Some(exposed) = &cors.exposed {
        fields.set_named(EXPOSED, exposed.as_bytes());
    }
    fields.set_named(MAX_AGE, cors.max_age.as_bytes());
}

/// What `Access-Control-Allow-Origin` is to say; `None`: the request's origin is not allowed.
fn origin<'r>(cors: &Cors, request: &'r Fields) -> Option<&'r [u8]> {
    match &cors.origins {
        Origins::Any => Some(b"*"),
        listed => {
            // Two are nobody's.
            let mut origins = request.get_all(Known::Origin);
            let origin = origins.next().filter(|_| origins.next().is_none())?;
            listed.allow(origin).then_some(origin)
        }
    }
}

/// Has `Vary` name this field, unless it does.
pub(super) fn vary(fields: &mut Fields, name: &[u8]) {
    let named = |item: &[u8]| item == b"*" || item.eq_ignore_ascii_case(name);
    if !fields.items(Known::Vary).any(named) {
        fields.push_known(Known::Vary, name);
    }
}
