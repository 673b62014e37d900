//! Lists of the admin API, all pages of them.

use serde_json::{Value, json};

use super::{AskError, agent::Agent};

/// Things of a page.
const PER: usize = 1000;
/// How often a list is begun again that changed while it was read.
const TRIES: usize = 3;

/// The parameters of a question.
pub(super) struct Parameters(form_urlencoded::Serializer<'static, String>);

impl Parameters {
    pub(super) fn new() -> Self {
        Self(form_urlencoded::Serializer::new(String::new()))
    }

    pub(super) fn add(mut self, name: &str, value: &str) -> Self {
        self.0.append_pair(name, value);
        self
    }

    pub(super) fn add_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.add(name, value),
            None => self,
        }
    }

    pub(super) fn target(mut self, resource: &str) -> String {
        format!("/api/v1/{resource}?{}", self.0.finish())
    }
}

/// All things of a list, as they were at one time where that is possible: `generation`, `total` and
/// `items`.
pub(super) async fn all(
    agent: &mut Agent,
    resource: &str,
    parameters: impl Fn() -> Parameters,
) -> Result<Value, AskError> {
    let mut tries = 0;
    'again: loop {
        tries += 1;
        let mut items = Vec::new();
        let mut first = None;
        for page in 1.. {
            let target = parameters()
                .add("per", &PER.to_string())
                .add("page", &page.to_string())
                .target(resource);
            let mut answer = agent.get(&target).await?;
            let Value::Array(own) = answer["items"].take() else {
                return Err(AskError::broken(std::io::Error::other("it has no items")));
            };
            let is_last = own.len() < PER;
            items.extend(own);
            let generation = answer["generation"].take();
            let begun = first.get_or_insert_with(|| generation.clone());
            if *begun != generation && tries < TRIES {
                continue 'again;
            }
            if is_last {
                break;
            }
        }
        return Ok(json!({
            "generation": first,
            "total": items.len(),
            "items": items,
        }));
    }
}

/// A field as text; empty where it has none.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `namespace/name` of an object or Service.
pub(super) fn name(object: &Value) -> String {
    match (text(&object["namespace"]), text(&object["name"])) {
        (namespace, name) if namespace.is_empty() => name,
        (namespace, name) => format!("{namespace}/{name}"),
    }
}

/// `namespace/name:port` of a Service.
pub(super) fn service(service: &Value) -> String {
    format!("{}:{}", name(service), text(&service["port"]))
}

/// The things of a list or field; none where it is no list.
pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
