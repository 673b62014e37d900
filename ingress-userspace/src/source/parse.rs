//! A file of manifests: documents, lists, and which object each is.

use std::path::Path;

use super::{
    object::{Kind, Object},
    tree::{Node, Place, Value},
    typed::FieldFault,
};
use crate::{
    model::{Diagnostic, ObjectRef, Severity},
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
}

/// Reads a file's documents, each on its own: one that is malformed costs no other.
pub(super) fn parse(path: &Path, text: &str) -> Parsed {
    let parsed =
        Parsed { objects: vec![], unattributed: false, diagnostics: vec![], ignored: vec![] };
    let mut parser = Parser { path, parsed };
    for (line, document) in documents(text) {
        match Node::parse(document, line) {
            Ok(node) => parser.read(&node),
            Err(error) => {
                parser.unattributed(error.place, &format!("is no YAML: {}", error.message));
            }
        }
    }
    parser.parsed
}

/// The documents of a file and the number of their first line. A line that begins with `---` or
/// `...` ends a document even inside a scalar (YAML 1.2, section 9.1.2), so that they can be told
/// apart before any is parsed.
fn documents(text: &str) -> Vec<(u64, &str)> {
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
            let message = format!("is not `{}`", kind.api_version);
            self.fault(&id, FieldFault { field: "apiVersion".to_owned(), place, message });
            return self.parsed.objects.push((id, None));
        }
        let (object, unknown) = Object::read(&id, node);
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{source::object, stores::Stores};

    /// The stores of a text, for tests of what comes after.
    pub(crate) fn stores(text: &str) -> (Stores, Vec<Diagnostic>) {
        let parsed = parse(Path::new("test.yaml"), text);
        let objects = parsed.objects.iter().filter_map(|(id, o)| Some((id, o.as_ref()?)));
        (object::stores(objects, &Stores::default()), parsed.diagnostics)
    }

    fn said(text: &str) -> Vec<String> {
        stores(text)
            .1
            .iter()
            .map(|diagnostic| format!("{:?} {diagnostic}", diagnostic.severity))
            .collect()
    }

    const INGRESS: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: front
  annotations:
    nginx.ingress.kubernetes.io/use-regex: \"true\"
spec:
  rules:
  - host: example.com
    http:
      paths:
      - path: /
        pathType: Prefix
        backend:
          service:
            name: web
            port:
              number: 80
";

    #[test]
    fn an_ingress_is_read_with_all_its_fields() {
        let (stores, diagnostics) = stores(INGRESS);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let ingress = stores.ingresses.get("default", "front").expect("it is there");
        let path =
            &ingress.spec.as_ref().unwrap().rules.as_ref().unwrap()[0].http.as_ref().unwrap().paths
                [0];
        assert_eq!(path.path_type, "Prefix");
        let port = path.backend.service.as_ref().unwrap().port.as_ref().unwrap();
        assert_eq!(port.number, Some(80));
    }

    #[test]
    fn all_kinds_are_read_from_many_documents_lists_and_json() {
        let text = format!(
            "# Comment\n---\n{INGRESS}---\n# nothing\n--- # with a comment\n\
             apiVersion: v1\nkind: List\nitems:\n\
             - {{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: shop}}}}\n\
             - {{apiVersion: v1, kind: Node, metadata: {{name: n1}}}}\n\
             ...\n---\n\
             {{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {{\"name\": \"c\"}}, \"data\": {{\"a\": \"b\"}}}}\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSliceList\nitems:\n\
             - metadata: {{name: web-1, namespace: shop}}\n  addressType: IPv4\n  endpoints: [{{addresses: [10.0.0.1]}}]\n\
             ---\napiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {{name: nginx, namespace: ignored}}\n\
             ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ndata: {{a: YQ==}}\nstringData: {{b: text}}\n\
             ---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d}}\n"
        );
        let (stores, diagnostics) = stores(&text);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        assert!(stores.ingresses.get("default", "front").is_some());
        assert!(stores.services.get("shop", "web").is_some());
        assert!(stores.nodes.get("", "n1").is_some());
        assert!(stores.config_maps.get("default", "c").is_some());
        assert!(stores.ingress_classes.get("", "nginx").is_some());
        let slice = stores.endpoint_slices.get("shop", "web-1").expect("it is there");
        assert_eq!(slice.endpoints.as_ref().unwrap()[0].addresses, ["10.0.0.1"]);
        let data = stores.secrets.get("default", "s").unwrap().data.clone().unwrap();
        assert_eq!((&*data["a"].0, &*data["b"].0), (&b"a"[..], &b"text"[..]));
    }

    #[test]
    fn a_wrong_type_is_said_with_file_line_column_and_field() {
        let text = format!("# one line more\n{}", INGRESS.replace("\"true\"", "true"));
        assert_eq!(
            said(&text),
            ["Error Ingress default/front: \
              metadata.annotations[nginx.ingress.kubernetes.io/use-regex]: test.yaml:7:44: \
              is a boolean, text was expected; put it in quotes; \
              the last good state of the object stays"]
        );
        let text = INGRESS.replace("number: 80", "number: http");
        let said = said(&text);
        assert!(
            said[0].contains(
                "spec.rules[0].http.paths[0].backend.service.port.number: test.yaml:18:23: is text"
            ),
            "{said:?}"
        );
    }

    #[test]
    fn a_misspelt_field_is_said_with_what_was_meant() {
        let text = INGRESS.replace("pathType", "pathtype");
        assert_eq!(
            said(&text),
            ["Warning Ingress default/front: spec.rules[0].http.paths[0].pathtype: \
              test.yaml:13:9: is not a field here; did you mean `pathType`?; it has no effect"]
        );
        assert!(stores(&text).0.ingresses.get("default", "front").is_some());
    }

    #[test]
    fn a_document_that_is_no_yaml_leaves_the_others_alone() {
        let text = format!("a: [1\n---\n{INGRESS}---\nkind: {{\n");
        let (stores, diagnostics) = stores(&text);
        assert!(stores.ingresses.get("default", "front").is_some());
        assert_eq!(diagnostics.len(), 2);
        assert_eq!(diagnostics[0].object.to_string(), "File test.yaml");
        assert!(diagnostics[1].field.starts_with("line 2"), "{diagnostics:?}");
    }

    #[test]
    fn documents_that_are_no_objects_say_so() {
        for (text, message) in [
            ("just text", "is text, not an object"),
            ("- a\n- b", "is a list, not an object"),
            ("metadata: {name: x}", "has no `kind`"),
            (
                "kind: Ingress\napiVersion: networking.k8s.io/v1",
                "is of kind Ingress and has no `metadata.name`",
            ),
            (
                "kind: ingress\nmetadata: {name: x}",
                "has the unknown kind `ingress`; did you mean `Ingress`?",
            ),
        ] {
            let said = said(text);
            assert!(said.len() == 1 && said[0].contains(message), "{text}: {said:?}");
            assert!(parse(Path::new("x"), text).unattributed);
        }
    }

    #[test]
    fn words_that_are_no_booleans_in_yaml_1_2_are_text() {
        let text = INGRESS.replace("\"true\"", "on").replace("name: front", "name: y");
        let (stores, diagnostics) = stores(&text);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let ingress = stores.ingresses.get("default", "y").expect("it is there");
        let mut annotations = ingress.metadata.annotations.iter().flatten();
        assert_eq!(annotations.next().map(|(_, value)| &**value), Some("on"));
    }

    #[test]
    fn another_api_version_is_refused() {
        let said = said("apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: old}\n");
        assert!(
            said[0].contains("apiVersion: test.yaml:1:13: is not `networking.k8s.io/v1`"),
            "{said:?}"
        );
    }

    #[test]
    fn what_is_wrong_with_a_secret_does_not_tell_it() {
        for text in [
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: hunter2!}\n",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: hunter2\n",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: [hunter2]\n",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: [hunter2]}\n",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: \"hunter2}\n",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: *hunter2x}\n",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n a: x\n  hunter2: y\n",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: {hunter2: 1}\n",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: &hunter2 x, a: !hunter2 y, c: %hunter2}\n",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  a: @hunter2\n",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  a: \"\\hunter2\"\n",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  a: !!int hunter2\n",
        ] {
            let said = said(text);
            assert!(!said.is_empty(), "{text}");
            assert!(
                !said.iter().any(|line| line.contains("hunter2")) || text.contains('*'),
                "{said:?}"
            );
        }
    }
}
