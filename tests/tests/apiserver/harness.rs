//! The API server does what the other tests rely on.

use http::Method;
use testbed::kubernetes::{Kind, Objects};

use crate::place::{Place, until};

const SETTINGS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: NS}\n\
                        data: {a: one}\n";

#[test]
fn what_was_written_is_there_after_a_crash() {
    let Some(place) = Place::alone("what_was_written_is_there_after_a_crash") else { return };
    place.apply(SETTINGS);
    place.server.crash().expect("it runs");
    let objects = place.server.objects();
    let kind = Kind::new("v1", "ConfigMap");
    assert!(objects.get(&kind, &place.namespace, "settings").is_err(), "nobody answers");
    place.server.restart().expect("it starts again");
    let found = objects.get(&kind, &place.namespace, "settings").expect("an answer");
    assert_eq!(found.expect("it is there")["data"]["a"], "one");
    place.delete(SETTINGS);
    assert_eq!(objects.get(&kind, &place.namespace, "settings").expect("an answer"), None);
}

#[test]
fn an_account_may_do_what_its_roles_say_and_nothing_else() {
    let Some(place) = Place::shared("an_account_may_do_what_its_roles_say_and_nothing_else") else {
        return;
    };
    place.apply(SETTINGS);
    place.apply(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: reader, namespace: NS}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n\
         metadata: {name: reader, namespace: NS}\n\
         rules: [{apiGroups: [''], resources: [configmaps], verbs: [get]}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
         metadata: {name: reader, namespace: NS}\n\
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}\n\
         subjects: [{kind: ServiceAccount, name: reader, namespace: NS}]\n",
    );
    let account = place.server.account(&place.namespace, "reader").expect("a token");
    let reader = Objects::of(&account.kubeconfig).expect("a client");
    let kind = Kind::new("v1", "ConfigMap");
    // The server learns of roles by a watch of its own.
    let mut found = None;
    until("it may", || {
        found = reader.get(&kind, &place.namespace, "settings").ok().flatten();
        found.is_some()
    });
    assert_eq!(found.expect("it is there")["data"]["a"], "one");
    for refused in [
        reader.list(&kind, &place.namespace).map(drop),
        reader.get(&kind, "kube-system", "settings").map(drop),
        reader.apply(&place.named(SETTINGS)),
        reader.request(Method::GET, "/api/v1/secrets", None).map(drop),
    ] {
        let error = format!("{:#}", refused.expect_err("it may not"));
        assert!(error.contains("forbidden"), "{error}");
    }
}

#[test]
fn kubectl_speaks_to_it() {
    let Some(place) = Place::shared("kubectl_speaks_to_it") else { return };
    place.apply(SETTINGS);
    let said = place.server.kubectl(&["-n", &place.namespace, "get", "configmap", "settings"]);
    assert!(said.expect("it succeeds").contains("settings"));
    assert!(place.server.kubectl(&["get", "nonsense"]).is_err());
}
