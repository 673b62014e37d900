use super::*;
use crate::stores::Stores;

/// The stores of a text, for tests of what comes after.
pub(crate) fn stores(text: &str) -> (Stores, Vec<Diagnostic>) {
    let parsed = parse(Path::new("test.yaml"), text, &mut Documents::new());
    let objects = parsed.objects.iter().filter_map(|(id, object)| Some((id, object.as_ref()?)));
    let stores = objects.collect();
    (stores, parsed.diagnostics)
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
        &ingress.spec.as_ref().unwrap().rules.as_ref().unwrap()[0].http.as_ref().unwrap().paths[0];
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
        assert!(parse(Path::new("x"), text, &mut Documents::new()).unattributed);
    }
}

#[test]
fn documents_that_are_known_are_not_parsed_again() {
    let second = INGRESS.replace("name: front", "name: second");
    let faulty = INGRESS.replace("name: front", "name: faulty").replace("pathType", "pathtype");
    let path = Path::new("test.yaml");
    let mut none = Documents::new();
    let mut first = parse(path, &format!("---\n{INGRESS}---\n{faulty}"), &mut none);
    let moved = format!("---\n{second}---\n{INGRESS}---\n{faulty}");
    let again = parse(path, &moved, &mut first.documents);
    let ingress = |parsed: &Parsed, index: usize| match &parsed.objects[index].1 {
        Some(Object::Ingress(ingress)) => ingress.clone(),
        _ => panic!("no Ingress"),
    };
    let [front, same] = [ingress(&first, 0), ingress(&again, 1)];
    assert!(std::sync::Arc::ptr_eq(&front, &same));
    assert_eq!(ingress(&again, 0).metadata.name.as_deref(), Some("second"));
    // What is wrong moves with its line.
    assert!(
        first.diagnostics[0].message.starts_with("test.yaml:33:9: "),
        "{:?}",
        first.diagnostics
    );
    assert!(
        again.diagnostics[0].message.starts_with("test.yaml:52:9: "),
        "{:?}",
        again.diagnostics
    );
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

#[test]
fn a_list_of_thousands_of_objects_is_read() {
    let mut text = "apiVersion: v1\nkind: List\nitems:\n".to_owned();
    for number in 0..20_000 {
        text.push_str(&format!(
            "- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: c{number}}}, data: {{a: b}}}}\n"
        ));
    }
    let (stores, diagnostics) = stores(&text);
    assert!(diagnostics.is_empty(), "{:?}", diagnostics.first());
    assert_eq!(stores.config_maps.len(), 20_000);
}

#[test]
fn aliases_of_aliases_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let below = format!("*a{}, ", level - 1).repeat(9);
        text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert!(said(&text)[0].contains("budget"), "{:?}", said(&text));
}
