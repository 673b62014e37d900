//! `backend-protocol: FCGI` and its keys.

use std::sync::Arc;

use super::{Translation, get, host, ingress, says, says_nothing, translate};
use crate::model::{FastCgi, FastCgiParameter, FastCgiPiece, FastCgiVariable, Protocol, Variable};

fn with(annotations: &[(&str, &str)], maps: &str) -> Translation {
    let mut all = vec![("backend-protocol", "fcgi")];
    all.extend(annotations);
    let other = ingress("y", &[], "", &["b.com / Prefix web"]);
    translate(&(maps.to_owned() + &ingress("x", &all, "", &["a.com / Prefix web"]) + &other))
}

fn map(namespace: &str, data: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: own, namespace: {namespace}}}\n\
         data: {{{data}}}\n"
    )
}

fn own(translation: &Translation) -> Arc<FastCgi> {
    let proxying = &host(&translation.model, "a.com").routes[0].proxying;
    assert_eq!(proxying.protocol, Protocol::Fcgi);
    Arc::clone(proxying.fastcgi.as_ref().expect("it is there"))
}

fn parameter<'f>(fastcgi: &'f FastCgi, name: &str) -> &'f FastCgiParameter {
    let named = fastcgi.parameters.iter().filter(|own| *own.name == *name);
    let [one] = named.collect::<Vec<_>>()[..] else { panic!("{name} is there once") };
    one
}

#[test]
fn the_defaults_are_those_of_nginx() {
    let translation = with(&[], "");
    says_nothing(&translation);
    let own = own(&translation);
    assert_eq!((own.index.as_deref(), own.parameters.len()), (None, 19));
    assert!(own.parameters.is_sorted_by(|one, other| one.name < other.name));
    let script = parameter(&own, "SCRIPT_NAME");
    assert_eq!(*script.value, [FastCgiPiece::Variable(FastCgiVariable::ScriptName)]);
    assert!(parameter(&own, "HTTPS").optional && !script.optional);
    let other = &host(&translation.model, "b.com").routes[0].proxying;
    assert_eq!((other.protocol, &other.fastcgi), (Protocol::Http, &None));
}

#[test]
fn a_config_map_adds_and_replaces_parameters() {
    let annotations = [("fastcgi-index", "index.php"), ("fastcgi-params-configmap", "default/own")];
    let data = "DOCUMENT_ROOT: /srv, A: 'x${fastcgi_script_name}y$http_x_A', B: '', \
                C: '$document_root$fastcgi_path_info', CONTENT_LENGTH: $content_length";
    let translation = with(&annotations, &map("default", data));
    says_nothing(&translation);
    let own = own(&translation);
    assert_eq!((own.index.as_deref(), own.parameters.len()), (Some("index.php"), 22));
    let text = |text: &str| FastCgiPiece::Text(text.into());
    assert_eq!(*parameter(&own, "DOCUMENT_ROOT").value, [text("/srv")]);
    let header = FastCgiVariable::Request(Variable::Header("x-a".into()));
    assert_eq!(
        *parameter(&own, "A").value,
        [
            text("x"),
            FastCgiPiece::Variable(FastCgiVariable::ScriptName),
            text("y"),
            FastCgiPiece::Variable(header),
        ]
    );
    assert_eq!(*parameter(&own, "B").value, []);
    assert_eq!(*parameter(&own, "C").value, [text("/usr/local/nginx/html")]);
    // The namespace is that of the Ingress where there is none.
    says_nothing(&with(&[("fastcgi-params-configmap", "own")], &map("default", "A: b")));
}

#[test]
fn nothing_is_served_without_what_was_asked_for() {
    for (key, value, data, why) in [
        ("fastcgi-index", "a b", "", "is not a file's name"),
        ("fastcgi-index", "../a", "", "is not a file's name"),
        ("fastcgi-index", "", "", "is not a file's name"),
        ("fastcgi-params-configmap", "", "", "is not `namespace/name`"),
        ("fastcgi-params-configmap", "a/b/c", "", "is not `namespace/name`"),
        ("fastcgi-params-configmap", "default/none", "", "default/none does not exist"),
        ("fastcgi-params-configmap", "other/own", "", "other/own is of another namespace"),
        ("fastcgi-params-configmap", "own", "A-B: c", "has `A-B`"),
        ("fastcgi-params-configmap", "own", "A: $nonsense", "`$nonsense` is not known"),
        ("fastcgi-params-configmap", "own", "A: '${b'", "has a variable in `A`"),
        ("fastcgi-params-configmap", "own", "A: \"b\\u0000c\"", "has a control character in `A`"),
    ] {
        let maps = map("default", data) + &map("other", "A: b");
        let translation = with(&[(key, value)], &maps);
        let denied = format!("503 nginx.ingress.kubernetes.io/{key}");
        assert_eq!(get(&translation, "a.com/"), denied, "{value} {data}");
        assert_eq!(get(&translation, "b.com/"), "web");
        says(&translation, why);
    }
}

#[test]
fn what_does_nothing_is_said() {
    let length =
        with(&[("fastcgi-params-configmap", "own")], &map("default", "CONTENT_LENGTH: '7'"));
    says(&length, "`CONTENT_LENGTH` is always that of the request's body");
    assert_eq!(get(&length, "a.com/"), "web");
    let keys = [("fastcgi-index", "a b"), ("fastcgi-params-configmap", "none/at all")];
    let http = translate(&ingress("x", &keys, "", &["a.com / Prefix web"]));
    assert_eq!(get(&http, "a.com/"), "web");
    says(&http, "fastcgi-index]: has no effect without `backend-protocol: FCGI`");
    says(&http, "fastcgi-params-configmap]: has no effect without `backend-protocol: FCGI`");
}
