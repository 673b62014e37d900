//! A file of manifests: documents, lists, and which object each is.

use std::{collections::HashMap, path::Path};

use super::{
    object::{self, Kind},
    tree::{Node, Place, Value},
    typed::FieldFault,
};
use crate::{
    model::{Diagnostic, ObjectRef, Severity},
    stores::Object,
    suggestion,
};

/// What a file holds.
pub(super) struct Parsed {
    /// Every object whose kind and name could be told; `None` where the rest could not be read.
    pub(super) objects: Vec<(ObjectRef, Option<Object>)>,
    /// Some document could not be understood so far as to say which object it is.
    pub(super) unattributed: bool,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Kinds that are not read.
    pub(super) ignored: Vec<String>,
    /// The objects of each document that nothing is wrong with.
    pub(super) documents: Documents,
}

/// Objects by the text of their document.
pub(super) type Documents = HashMap<String, Vec<(ObjectRef, Option<Object>)>>;

/// Reads a file's documents, each on its own: one that is malformed costs no other. Those that are
/// known from an earlier state of the file are not parsed again.
pub(super) fn parse(path: &Path, text: &str, known: &mut Documents) -> Parsed {
    let parsed = Parsed {
        objects: vec![],
        unattributed: false,
        diagnostics: vec![],
        ignored: vec![],
        documents: HashMap::new(),
    };
    let mut parser = Parser { path, parsed };
    for (line, document) in documents(text) {
        if let Some((document, objects)) = known.remove_entry(document) {
            parser.parsed.objects.extend_from_slice(&objects);
            parser.parsed.documents.insert(document, objects);
            continue;
        }
        let (objects, faults) = (parser.parsed.objects.len(), parser.parsed.diagnostics.len());
        match Node::parse(document, line) {
            Ok(node) => parser.read(&node),
            Err(error) => {
                parser.unattributed(error.place, &format!("is no YAML: {}", error.message));
            }
        }
        let Parsed { objects: all, diagnostics, documents, .. } = &mut parser.parsed;
        // What is wrong is said with its line, which may be another one the next time.
        if diagnostics.len() == faults {
            let objects = all.get(objects..).unwrap_or_default().to_vec();
            documents.insert(document.to_owned(), objects);
        }
    }
    parser.parsed
}

/// The documents of a file and the number of their first line. A line that begins with `---` or
/// `...` ends a document even inside a scalar (YAML 1.2, section 9.1.2), so that they can be told
/// apart before any is parsed.
pub(super) fn documents(text: &str) -> Vec<(u64, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut start_line) = (0, 1);
    let mut offset = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let mark = line.strip_prefix("---").or_else(|| line.strip_prefix("..."));
        if mark.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])) {
            documents.push((start_line, text.get(start..offset).unwrap_or_default()));
            // `--- text` begins the document on the same line.
            (start, start_line) = (offset, number);
            if line.starts_with('.') {
                (start, start_line) = (offset + line.len(), number + 1);
            }
        }
        offset += line.len();
    }
    documents.push((start_line, text.get(start..).unwrap_or_default()));
    documents.retain(|(_, document)| !is_blank(document));
    documents
}

/// There is nothing in it but marks, comments and directives.
fn is_blank(document: &str) -> bool {
    let document = document.strip_prefix("---").unwrap_or(document);
    let mut lines = document.trim_start_matches('\u{feff}').lines().map(str::trim);
    lines.all(|line| line.is_empty() || line.starts_with(['#', '%']))
}

struct Parser<'p> {
    path: &'p Path,
    parsed: Parsed,
}

impl Parser<'_> {
    fn read(&mut self, node: &Node) {
        if let Value::Null = node.value {
            return;
        }
        let Some(kind) = node.get("kind").and_then(Node::text) else {
            let what = node.value.kind();
            return match node.value {
                Value::Map(_) => self.unattributed(node.place, "has no `kind`"),
                _ => self.unattributed(node.place, &format!("is {what}, not an object")),
            };
        };
        match (kind.strip_suffix("List"), node.get("items").map(|items| &items.value)) {
            (Some(kind), Some(Value::List(items))) => {
                for item in items {
                    let own = item.get("kind").and_then(Node::text);
                    let api_version = node.get("apiVersion").and_then(Node::text);
                    self.read_object(item, own.unwrap_or(kind), api_version);
                }
            }
            _ => self.read_object(node, kind, None),
        }
    }

    /// Reads an object. In a list of one kind the list says the kind and API version.
    fn read_object(&mut self, node: &Node, kind: &str, api_version: Option<&str>) {
        let own = node.get("apiVersion").and_then(Node::text);
        let Some(kind) = Kind::named(kind) else {
            // A misspelt kind must not look as if its object had been removed.
            let meant = suggestion::nearest(kind, Kind::names());
            let meant = meant.filter(|meant| {
                meant.eq_ignore_ascii_case(kind)
                    || Kind::named(meant).is_some_and(|meant| own == Some(meant.api_version))
            });
            return match meant {
                Some(meant) => {
                    let why = format!("has the unknown kind `{kind}`; did you mean `{meant}`?");
                    self.unattributed(node.place, &why);
                }
                None => self.parsed.ignored.push(kind.to_owned()),
            };
        };
        let metadata = |key: &str| node.get("metadata").and_then(|metadata| metadata.get(key));
        let name = match metadata("name").map(|name| (name.text(), name)) {
            Some((Some(name), _)) if !name.is_empty() => name,
            Some((None, name)) => {
                let found = name.value.kind();
                let why =
                    format!("has a `metadata.name` that is {found}, not text (put it in quotes)");
                return self.unattributed(name.place, &why);
            }
            _ => {
                let why = format!("is of kind {} and has no `metadata.name`", kind.name);
                return self.unattributed(node.place, &why);
            }
        };
        let namespace = match metadata("namespace").and_then(Node::text) {
            _ if !kind.namespaced => "",
            Some(namespace) if !namespace.is_empty() => namespace,
            _ => "default",
        };
        let id = ObjectRef::new(kind.name, namespace, name);
        let api_version = own.or(api_version.filter(|_| node.get("kind").is_none()));
        if api_version != Some(kind.api_version) {
            let place = node.get("apiVersion").map_or(node.place, |node| node.place);
            let message = format!("is not `{}`{}", kind.api_version, replaced(own, id.kind));
            self.fault(&id, FieldFault { field: "apiVersion".to_owned(), place, message });
            return self.parsed.objects.push((id, None));
        }
        let (object, unknown) = object::read(&id, node);
        for fault in unknown {
            let message = format!("{}: {}; it has no effect", self.at(fault.place), fault.message);
            self.say(Severity::Warning, id.clone(), fault.field, message);
        }
        let object = object.map_err(|fault| self.fault(&id, fault)).ok();
        self.parsed.objects.push((id, object));
    }

    fn fault(&mut self, id: &ObjectRef, mut fault: FieldFault) {
        // The decoder would tell which character it did not like: one of the secret.
        if id.kind == "Secret" && fault.message.starts_with("Invalid ") {
            fault.message = "is no base64".to_owned();
        }
        let message = format!(
            "{}: {}; the last good state of the object stays",
            self.at(fault.place),
            fault.message
        );
        self.say(Severity::Error, id.clone(), fault.field, message);
    }

    /// A document of which cannot be said which object it is.
    fn unattributed(&mut self, place: Place, why: &str) {
        self.parsed.unattributed = true;
        let object = ObjectRef::new("File", "", &*self.path.to_string_lossy());
        let message =
            format!("this document {why}; the last good state of the file's objects stays");
        let field = format!("line {}, column {}", place.line, place.column);
        self.say(Severity::Error, object, field, message);
    }

    fn at(&self, place: Place) -> String {
        format!("{}:{}:{}", self.path.display(), place.line, place.column)
    }

    fn say(&mut self, severity: Severity, object: ObjectRef, field: String, message: String) {
        self.parsed.diagnostics.push(Diagnostic { severity, object, field, message });
    }
}

/// What to write in the place of an old API version.
fn replaced(api_version: Option<&str>, kind: &str) -> &'static str {
    match (api_version, kind) {
        (Some("extensions/v1beta1" | "networking.k8s.io/v1beta1"), "Ingress") => {
            ", which took its place in Kubernetes 1.22: `service.name` and `service.port` are \
             written for `serviceName` and `servicePort`, and a path has a `pathType`"
        }
        (Some("extensions/v1beta1" | "networking.k8s.io/v1beta1"), "IngressClass")
        | (Some("discovery.k8s.io/v1beta1"), "EndpointSlice") => {
            ", which took its place in Kubernetes 1.22 to 1.25"
        }
        _ => "",
    }
}

#[cfg(test)]
pub(crate) mod tests;
