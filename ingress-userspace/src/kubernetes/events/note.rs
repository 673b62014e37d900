//! What is said about an object, as an Event has it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};

use crate::{
    model::{Diagnostic, ObjectRef, Severity},
    stores::{Store, Stores},
};

/// What the API server takes of a message, in bytes.
const LONGEST: usize = 1024;
/// What is left of a name of 253 bytes beside a dot and sixteen digits.
const LONGEST_NAME: usize = 253 - 17;
/// Where Events about objects without a namespace are.
const WITHOUT_NAMESPACE: &str = "default";
/// Who says it.
const COMPONENT: &str = "penstock";

/// Something to say about an object. Equal ones are one Event, counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Note {
    pub(super) object: ObjectRef,
    /// Tells an object from one of its name that was there before; empty if it is not there.
    pub(super) uid: String,
    /// For people: the Event's type is `Warning`.
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Note {
    /// What a diagnostic says; `None` where it is about no object of the API.
    pub(super) fn of(diagnostic: &Diagnostic, stores: &Stores) -> Option<Self> {
        let Diagnostic { severity, object, field, message } = diagnostic;
        api_version(object.kind)?;
        let reason = match severity {
            Severity::Error => "Rejected",
            Severity::Warning => "NoEffect",
        };
        let message = match field.is_empty() {
            true => message.clone(),
            false => format!("{field}: {message}"),
        };
        let uid = uid(object, stores).unwrap_or_default();
        let message = shortened(message);
        Some(Self { object: object.clone(), uid, warning: true, reason, message })
    }

    /// An Ingress changed and is served as it is now. ingress-nginx's words.
    pub(super) fn sync(object: ObjectRef, stores: &Stores) -> Self {
        let uid = uid(&object, stores).unwrap_or_default();
        let message = "Scheduled for sync".to_owned();
        Self { object, uid, warning: false, reason: "Sync", message }
    }

    /// Where the Event is.
    pub(super) fn namespace(&self) -> &str {
        match &*self.object.namespace {
            "" => WITHOUT_NAMESPACE,
            namespace => namespace,
        }
    }

    /// The same for the same, whichever replica says it: what a leader said, the next does not say
    /// again.
    pub(super) fn name(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        let mut end = self.object.name.len().min(LONGEST_NAME);
        while !self.object.name.is_char_boundary(end) {
            end -= 1;
        }
        let name = self.object.name[..end].trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        format!("{name}.{:016x}", hasher.finish())
    }

    /// The Event, said for the first time.
    pub(super) fn event(&self, host: &str, now: Timestamp) -> Event {
        let time = Some(Time(now));
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Event {
            metadata: ObjectMeta {
                name: Some(self.name()),
                namespace: Some(self.namespace().to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: api_version(self.object.kind).map(str::to_owned),
                kind: Some(self.object.kind.to_owned()),
                namespace: some(&self.object.namespace),
                name: some(&self.object.name),
                uid: some(&self.uid),
                ..ObjectReference::default()
            },
            type_: Some(if self.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(self.reason.to_owned()),
            message: Some(self.message.clone()),
            source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: some(host) }),
            reporting_component: Some(COMPONENT.to_owned()),
            reporting_instance: some(host),
            first_timestamp: time.clone(),
            last_timestamp: time,
            count: Some(1),
            ..Event::default()
        }
    }
}

fn shortened(mut message: String) -> String {
    if message.len() > LONGEST {
        let mut end = LONGEST - '…'.len_utf8();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}

fn api_version(kind: &str) -> Option<&'static str> {
    match kind {
        "Ingress" | "IngressClass" => Some("networking.k8s.io/v1"),
        "EndpointSlice" => Some("discovery.k8s.io/v1"),
        "Service" | "Secret" | "ConfigMap" | "Node" => Some("v1"),
        _ => None,
    }
}

fn uid(object: &ObjectRef, stores: &Stores) -> Option<String> {
    fn of<K>(store: &Store<K>, object: &ObjectRef) -> Option<String>
    where
        K: k8s_openapi::Metadata<Ty = ObjectMeta>,
    {
        store.get(&object.namespace, &object.name)?.metadata().uid.clone()
    }
    match object.kind {
        "Ingress" => of(&stores.ingresses, object),
        "IngressClass" => of(&stores.ingress_classes, object),
        "EndpointSlice" => of(&stores.endpoint_slices, object),
        "Service" => of(&stores.services, object),
        "Secret" => of(&stores.secrets, object),
        "ConfigMap" => of(&stores.config_maps, object),
        "Node" => of(&stores.nodes, object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(kind: &'static str, name: &str, message: &str) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            object: ObjectRef::new(kind, "web", name),
            field: "spec.rules[0].host".to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_diagnostic_is_what_kubectl_describe_shows() {
        let note = Note::of(&diagnostic("Ingress", "shop", "no host"), &Stores::default());
        let event = note.expect("of the API").event("n1", Timestamp::UNIX_EPOCH);
        assert_eq!(event.involved_object.api_version.as_deref(), Some("networking.k8s.io/v1"));
        assert_eq!(event.involved_object.name.as_deref(), Some("shop"));
        assert_eq!(event.metadata.namespace.as_deref(), Some("web"));
        assert_eq!(
            (event.type_.as_deref(), event.reason.as_deref()),
            (Some("Warning"), Some("Rejected"))
        );
        assert_eq!(event.message.as_deref(), Some("spec.rules[0].host: no host"));
        assert!(event.metadata.name.is_some_and(|name| name.starts_with("shop.")));
    }

    #[test]
    fn what_is_no_object_of_the_api_gets_no_event() {
        assert_eq!(Note::of(&diagnostic("Default", "x", "no"), &Stores::default()), None);
    }

    #[test]
    fn names_and_messages_fit() {
        let long = diagnostic(
            "Ingress",
            &format!("{}-.x", "a".repeat(LONGEST_NAME - 2)),
            &"ä".repeat(1000),
        );
        let note = Note::of(&long, &Stores::default()).expect("of the API");
        assert!(note.message.len() <= LONGEST && note.message.ends_with('…'));
        let name = note.name();
        assert!(name.len() <= 253, "{}", name.len());
        assert!(name.contains("a."), "{name}");
    }

    #[test]
    fn what_is_said_of_no_namespace_is_in_the_default_one() {
        let mut of_node = diagnostic("Node", "n1", "no");
        of_node.object.namespace = "".into();
        let note = Note::of(&of_node, &Stores::default()).expect("of the API");
        assert_eq!(note.namespace(), "default");
        assert_eq!(note.event("", Timestamp::UNIX_EPOCH).involved_object.namespace, None);
    }
}
