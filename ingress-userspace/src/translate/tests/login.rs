//! `auth-type` and its family, `satisfy`, and lists of addresses: what routes carry of them.

use std::sync::Arc;

use super::{Translation, get, host, ingress, said, says, says_nothing, translate};
use crate::{
    model::{AddressRange, Login, Password, Policies},
    source::parse::tests::stores,
    translate::{Options, Translator},
};

const PREFIX: &str = "nginx.ingress.kubernetes.io";

/// Secrets of two namespaces; `web` is the Ingress'.
const SECRETS: &str = "---
apiVersion: v1
kind: Secret
metadata: {name: users}
stringData:
  auth: |
    # comment
    bob:{PLAIN}one
    bob:{PLAIN}two
    eve:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=:more
---
apiVersion: v1
kind: Secret
metadata: {name: map}
stringData: {bob: '{PLAIN}one', eve: \"{PLAIN}two\\nmallory:{PLAIN}x\"}
---
apiVersion: v1
kind: Secret
metadata: {name: digests}
stringData: {auth: \"bob:here:5f4dcc3b5aa765d61d8327deb882cf99\\nbob:there:5f4dcc3b5aa765d61d8327deb882cf98\"}
---
apiVersion: v1
kind: Secret
metadata: {name: garbage}
stringData: {auth: \"nonsense\\n:x\\nbob:rqXexS6ZhobKA\\neve:{SHA}x\\nzoe\"}
---
apiVersion: v1
kind: Secret
metadata: {name: empty}
---
apiVersion: v1
kind: Secret
metadata: {name: users, namespace: other}
stringData: {auth: 'zoe:{PLAIN}one'}
";

fn with(annotations: &[(&str, &str)]) -> Translation {
    let guarded = ingress(
        "guarded",
        annotations,
        "",
        &["a.com / Prefix web", "a.com /.well-known/acme-challenge Prefix web"],
    );
    let open = ingress("open", &[], "", &["b.com / Prefix api"]);
    translate(&format!("{guarded}{open}{SECRETS}"))
}

fn policies(translation: &Translation, path: &str) -> Option<Arc<Policies>> {
    let host = host(&translation.model, "a.com");
    host.routes.iter().find(|route| &*route.path == path).expect("it is there").policies.clone()
}

fn login(translation: &Translation) -> Option<Login> {
    policies(translation, "/")?.login.clone()
}

fn plain(login: &Login, name: &str) -> Option<String> {
    let Login::Basic { users, .. } = login else { panic!("it is basic") };
    match users.get(name.as_bytes())? {
        Password::Plain(plain) => Some(String::from_utf8_lossy(plain).into_owned()),
        other => Some(format!("{other:?}")),
    }
}

#[test]
fn users_are_those_of_the_file() {
    let translation = with(&[("auth-type", "basic"), ("auth-secret", "users")]);
    says_nothing(&translation);
    assert_eq!(get(&translation, "a.com/"), "web");
    let login = login(&translation).expect("it is protected");
    assert_eq!(plain(&login, "bob").as_deref(), Some("one"), "the first of a name counts");
    assert_eq!(plain(&login, "eve").as_deref(), Some("Sha1(..)"));
    assert_eq!(plain(&login, "# comment"), None);
    assert!(matches!(login, Login::Basic { realm, .. } if realm.is_empty()));
    // Where certificates are issued, nobody has a password.
    assert_eq!(policies(&translation, "/.well-known/acme-challenge"), None);
    let open = &host(&translation.model, "b.com").routes[0];
    assert_eq!(open.policies, None);
}

#[test]
fn users_are_those_of_the_map_one_each() {
    let annotations = [
        ("auth-type", "basic"),
        ("auth-secret", "default/map"),
        ("auth-secret-type", "auth-map"),
        ("auth-realm", "My Realm: 1.0"),
    ];
    let translation = with(&annotations);
    says_nothing(&translation);
    let login = login(&translation).expect("it is protected");
    assert_eq!(plain(&login, "bob").as_deref(), Some("one"));
    assert_eq!(plain(&login, "eve").as_deref(), Some("two"));
    assert_eq!(plain(&login, "mallory"), None);
    assert!(matches!(login, Login::Basic { realm, .. } if &*realm == "My Realm: 1.0"));
}

#[test]
fn digests_are_those_of_the_realm() {
    let of = |realm: &'static str| {
        with(&[("auth-type", "digest"), ("auth-secret", "digests"), ("auth-realm", realm)])
    };
    let translation = of("here");
    says_nothing(&translation);
    let Some(Login::Digest { realm, users }) = login(&translation) else { panic!("no digest") };
    assert_eq!(&*realm, "here");
    assert!(users.get(b"bob:here").is_some() && users.get(b"bob").is_none());
    says(&of("elsewhere"), "lists no user of realm `elsewhere`; all requests are answered 401");
}

#[test]
fn what_cannot_protect_denies() {
    for (key, annotations) in [
        ("auth-secret", &[("auth-type", "basic")][..]),
        ("auth-secret", &[("auth-type", "basic"), ("auth-secret", "")]),
        ("auth-secret", &[("auth-type", "basic"), ("auth-secret", "missing")]),
        ("auth-secret", &[("auth-type", "basic"), ("auth-secret", "empty")]),
        ("auth-secret", &[("auth-type", "basic"), ("auth-secret", "map")]),
        ("auth-secret", &[("auth-type", "basic"), ("auth-secret", "other/users")]),
        ("auth-secret", &[("auth-type", "basic"), ("auth-secret", "/users")]),
        ("auth-secret", &[("auth-type", "basic"), ("auth-secret", "default/users/x")]),
        ("auth-secret", &[("auth-type", "basic"), ("auth-secret", "us ers")]),
        ("auth-secret", &[("auth-secret", "users")]),
        ("auth-type", &[("auth-type", ""), ("auth-secret", "users")]),
        ("auth-type", &[("auth-type", "Basic"), ("auth-secret", "users")]),
        ("auth-type", &[("auth-type", "bearer"), ("auth-secret", "users")]),
        (
            "auth-secret-type",
            &[("auth-type", "basic"), ("auth-secret", "users"), ("auth-secret-type", "file")],
        ),
        ("auth-realm", &[("auth-type", "basic"), ("auth-secret", "users"), ("auth-realm", "a\"b")]),
        ("auth-realm", &[("auth-type", "basic"), ("auth-secret", "users"), ("auth-realm", "")]),
    ] {
        let translation = with(annotations);
        assert_eq!(get(&translation, "a.com/"), format!("503 {PREFIX}/{key}"), "{annotations:?}");
        assert_eq!(get(&translation, "b.com/"), "api");
        says(
            &translation,
            &format!("error Ingress default/guarded: metadata.annotations[{PREFIX}/{key}]: "),
        );
        assert!(!said(&translation).contains("{SHA}"), "no hash is shown");
    }
}

#[test]
fn what_means_nothing_by_itself_is_said() {
    let translation = with(&[("auth-realm", "here"), ("auth-secret-type", "auth-map")]);
    assert_eq!(get(&translation, "a.com/"), "web");
    says(&translation, "auth-realm]: has no effect without auth-type");
    says(&translation, "auth-secret-type]: has no effect without auth-type");
}

#[test]
fn users_that_cannot_get_in_are_named_and_take_nobody_else_down() {
    let translation = with(&[("auth-type", "basic"), ("auth-secret", "garbage")]);
    assert_eq!(get(&translation, "a.com/"), "web", "401 for all, not 503");
    assert!(login(&translation).is_some());
    for text in [
        "Secret default/garbage: a line is not `name:hash`; who should get in by it is refused",
        "the password of `bob` is hashed with DES, which is not supported",
        "2 more users or lines are of no use",
        "lists no user; all requests are answered 401",
    ] {
        says(&translation, text);
    }
    assert!(!said(&translation).contains("rqXexS6ZhobKA"), "no hash is shown");
}

#[test]
fn another_namespace_is_read_only_where_that_is_allowed() {
    let annotations = [("auth-type", "basic"), ("auth-secret", "other/users")];
    let guarded = ingress("guarded", &annotations, "", &["a.com / Prefix web"]);
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller}\n\
               data: {allow-cross-namespace-resources: 'true'}\n";
    let configmap = Some(("default".to_owned(), "controller".to_owned()));
    let options = Options { configmap, ..Options::default() };
    let text = format!("{guarded}{SECRETS}{map}");
    let translation = super::translate_with(options, &text);
    says_nothing(&translation);
    let login = login(&translation).expect("it is protected");
    assert_eq!(plain(&login, "zoe").as_deref(), Some("one"));
}

#[test]
fn users_that_did_not_change_are_the_same_allocation() {
    let annotations = [("auth-type", "basic"), ("auth-secret", "users")];
    let text = |path: &str, secrets: &str| {
        let rule = format!("a.com {path} Prefix web");
        ingress("guarded", &annotations, "", &["a.com / Prefix web", &rule]) + secrets
    };
    let mut translator = Translator::new(Options::default());
    let mut users = |path: &str, secrets: &str| {
        let (stores, _) = stores(&format!("{}{}", super::BASE, text(path, secrets)));
        let translation = translator.translate(&stores, &Default::default());
        match login(&translation) {
            Some(Login::Basic { users, .. }) => users,
            other => panic!("{other:?}"),
        }
    };
    let first = users("/x", SECRETS);
    let same = users("/y", SECRETS);
    assert!(Arc::ptr_eq(&first, &same), "what is remembered of them stays");
    let other = users("/y", &SECRETS.replace("{PLAIN}one", "{PLAIN}three"));
    assert!(!Arc::ptr_eq(&first, &other));
}

#[test]
fn satisfy_is_any_only_where_it_says_so() {
    let list = ("whitelist-source-range", "10.0.0.0/8");
    for (value, any, wrong) in
        [("any", true, false), ("all", false, false), ("Any", false, true), ("", false, true)]
    {
        let translation = with(&[("satisfy", value), list]);
        let policies = policies(&translation, "/").expect("a list");
        assert_eq!(policies.satisfy_any, any, "{value}");
        assert_eq!(said(&translation).contains("satisfy]: is not `any` or `all`"), wrong);
    }
    // A choice of nothing is none.
    let translation = with(&[("satisfy", "any")]);
    assert_eq!(policies(&translation, "/"), None);
    // Where certificates are issued only the list is left.
    let translation =
        with(&[("satisfy", "any"), list, ("auth-type", "basic"), ("auth-secret", "users")]);
    let left = policies(&translation, "/.well-known/acme-challenge").expect("a list");
    assert_eq!(
        (left.satisfy_any, left.login.is_some(), left.sources.is_some()),
        (false, false, true)
    );
}

#[test]
fn lists_of_an_ingress_replace_those_of_the_config_map() {
    let configmap = Some(("default".to_owned(), "controller".to_owned()));
    let options = Options { configmap, ..Options::default() };
    let lists = |data: &[(&str, &str)], annotations: &[(&str, &str)]| {
        let map = data.iter().fold(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller}\ndata:\n"
                .to_owned(),
            |text, (key, value)| format!("{text}  {key}: {value:?}\n"),
        );
        let guarded = ingress("guarded", annotations, "", &["a.com / Prefix web"]);
        let translation = super::translate_with(options.clone(), &format!("{guarded}{map}"));
        says_nothing(&translation);
        match policies(&translation, "/").and_then(|policies| policies.sources.clone()) {
            Some(own) => (own.denied.into_vec(), own.allowed.into_vec()),
            None => Default::default(),
        }
    };
    let ranges = |text: &str| -> Vec<AddressRange> {
        let items = text.split(',').filter(|item| !item.is_empty());
        items.map(|item| AddressRange::parse(item).expect(item)).collect()
    };
    let both = |denied: &str, allowed: &str| (ranges(denied), ranges(allowed));
    let global = [
        ("block-cidrs", "9.0.0.0/8"),
        ("denylist-source-range", "8.0.0.0/8"),
        ("whitelist-source-range", "7.0.0.0/8"),
    ];
    let (block, rest) = global.split_at(1);
    let deny = ("denylist-source-range", "1.0.0.0/8");
    let allow = ("allowlist-source-range", "2.0.0.0/8,::1");
    assert_eq!(lists(&[("hsts", "true")], &[]), both("", ""));
    assert_eq!(lists(block, &[]), both("9.0.0.0/8", ""));
    assert_eq!(lists(&global, &[]), both("8.0.0.0/8", "7.0.0.0/8"));
    assert_eq!(lists(rest, &[deny]), both("1.0.0.0/8", "7.0.0.0/8"));
    assert_eq!(lists(&global, &[deny, allow]), both("1.0.0.0/8", "2.0.0.0/8,::1"));
    assert_eq!(lists(block, &[deny]), both("1.0.0.0/8", ""));
    assert_eq!(lists(block, &[allow]), both("", "2.0.0.0/8,::1"));
    // The second name counts where the first is absent.
    let alias = ("whitelist-source-range", "3.0.0.0/8");
    assert_eq!(lists(&[("hsts", "true")], &[alias]), both("", "3.0.0.0/8"));
    assert_eq!(lists(&[("hsts", "true")], &[alias, allow]), both("", "2.0.0.0/8,::1"));
}
