//! Whether an Ingress may be written: what would become of it, by the very code that would serve it.
//!
//! Of all the cluster's Ingresses only those are translated that share a host with it, before and
//! after; what is said about anything else cannot change by it. Refused is what is wrong in the
//! text of the Ingress itself and was not before, so that an object which is wrong already can still be mended
//! piece by piece, and finalizers can be removed.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::networking::v1::Ingress;

use super::{super::moment::Moment, review::Verdict};
use crate::{
    check::is_about_endpoints,
    firewall::Library,
    model::{Diagnostic, ObjectRef, Severity},
    route::RouteTable,
    stores::{Key, Store, Stores},
    translate::{Classes, Naming, Options, Reference, Translator, references},
};

/// Judges `ingress`, which is to be the one of this key.
pub(super) fn judge(options: &Options, moment: &Moment, key: &Key, ingress: Ingress) -> Verdict {
    let stores = &*moment.stores;
    let classes = Classes::new(options, stores);
    if ingress.metadata.deletion_timestamp.is_some() || !classes.is_of_ours(key, &ingress) {
        return Verdict::allowed();
    }
    let present = stores.ingresses.get(&key.namespace, &key.name);
    let naming = Naming::new(&options.annotations_prefix);
    let own = present.into_iter().map(|present| &**present).chain([&ingress]);
    let names: BTreeSet<_> = own.flat_map(|own| naming.names(own)).collect();
    let beside: Vec<_> = stores
        .ingresses
        .iter()
        .filter(|(other, ingress)| {
            *other != key && naming.names(ingress).iter().any(|name| names.contains(name))
        })
        .map(|(key, ingress)| (key.clone(), Arc::clone(ingress)))
        .collect();
    let rewritten = rewritten(present.map(|present| &**present), &ingress);
    let with = |ingress: Option<Arc<Ingress>>| {
        let own = ingress.map(|ingress| (key.clone(), ingress));
        told(options, moment, beside.iter().cloned().chain(own).collect())
    };
    let before: BTreeSet<_> = with(present.cloned()).into_iter().collect();
    let ingress = Arc::new(ingress);
    let after = with(Some(Arc::clone(&ingress)));
    let object = ObjectRef::new("Ingress", key.namespace.clone(), key.name.clone());
    let unknown = unknown(options, stores, key, &ingress);
    let mut refusals = BTreeSet::new();
    let mut warnings = BTreeSet::new();
    for diagnostic in after {
        let own = diagnostic.object == object;
        let again = own && rewritten.contains(&diagnostic.field);
        let known = before.contains(&diagnostic) && !again;
        let refuses = !known && is_refused(&diagnostic);
        match (refuses, own) {
            (true, true) => {
                refusals.insert(format!("{}: {}", diagnostic.field, diagnostic.message))
            }
            (true, false) => refusals.insert(format!("what it does to others: {diagnostic}")),
            (false, true) => {
                let message = not_checked(diagnostic.message, &unknown);
                warnings.insert(format!("{}: {message}", diagnostic.field))
            }
            (false, false) if !known => {
                warnings.insert(format!("what it does to others: {diagnostic}"))
            }
            // Was so before, and is not about this one.
            (false, false) => false,
        };
    }
    let refusal =
        (!refusals.is_empty()).then(|| refusals.into_iter().collect::<Vec<_>>().join("; "));
    Verdict { refusal, warnings: warnings.into_iter().collect() }
}

/// The annotations that say something else than before, as diagnostics name them: another wrong value
/// is no better for having followed one.
fn rewritten(present: Option<&Ingress>, ingress: &Ingress) -> BTreeSet<String> {
    let before = present.and_then(|present| present.metadata.annotations.as_ref());
    let now = ingress.metadata.annotations.iter().flatten();
    now.filter(|(key, value)| before.and_then(|before| before.get(*key)) != Some(value))
        .map(|(key, _)| format!("metadata.annotations[{key}]"))
        .collect()
}

/// What the Ingress names that nothing has named until now: only what is named is ever asked for, so
/// that nobody knows whether it exists.
fn unknown(
    options: &Options,
    stores: &Stores,
    key: &Key,
    ingress: &Arc<Ingress>,
) -> Vec<Reference> {
    let alone = Stores {
        ingresses: std::iter::once((key.clone(), Arc::clone(ingress))).collect(),
        ..stores.clone()
    };
    let held = |reference: &Reference| match reference {
        Reference::Secret(key) => stores.secrets.get(&key.namespace, &key.name).is_some(),
        Reference::ConfigMap(key) => stores.config_maps.get(&key.namespace, &key.name).is_some(),
    };
    let mut missing = references(&alone, options);
    missing.retain(|reference| !held(reference));
    if missing.is_empty() {
        return Vec::new();
    }
    let named = references(stores, options);
    missing.difference(&named).cloned().collect()
}

/// The message, without saying of something that it does not exist where nobody knows that. Of another
/// kind there may be one of the same name.
fn not_checked(message: String, unknown: &[Reference]) -> String {
    unknown.iter().map(Reference::object).fold(message, |message, object| {
        message.replace(
            &format!("{object} does not exist"),
            &format!(
                "{object} was not checked, for nothing named it until now; if it does not exist"
            ),
        )
    })
}

/// What there is to say about Ingresses if these are all.
fn told(options: &Options, moment: &Moment, ingresses: Store<Ingress>) -> Vec<Diagnostic> {
    // Nothing is said about endpoints and nodes here, and nothing costs as much as they do.
    let (endpoint_slices, nodes) = Default::default();
    let stores = Stores { ingresses, endpoint_slices, nodes, ..Stores::clone(&moment.stores) };
    // Whether the agents have the Core Rule Set is not the Ingress' doing.
    let firewall = Library::assuming_core_rules();
    let options = Options { tcp_services: None, udp_services: None, firewall, ..options.clone() };
    let mut translator = Translator::new(options);
    let translation = translator.translate(&stores, &moment.names);
    let (_routes, bad_routes) = RouteTable::default().next(&translation.model);
    let told = translation.diagnostics.into_iter().chain(bad_routes);
    told.filter(|one| one.object.kind == "Ingress" && !is_about_endpoints(&one.message)).collect()
}

/// The annotations that name other objects.
const NAMING: [&str; 8] = [
    "auth-proxy-set-headers",
    "auth-secret",
    "auth-tls-secret",
    "custom-headers",
    "default-backend",
    "fastcgi-params-configmap",
    "proxy-ssl-secret",
    "secure-verify-ca-secret",
];

/// What the Ingress itself has wrong. What it refers to is no reason to refuse it: that may come later,
/// or change later. A certificate is often asked for, and asked for more hosts, by the Ingress that
/// needs it; a Service gets the port that a path names in the same `kubectl apply`.
fn is_refused(diagnostic: &Diagnostic) -> bool {
    diagnostic.severity == Severity::Error && !is_about_others(&diagnostic.field)
}

/// The field says which other object is meant.
fn is_about_others(field: &str) -> bool {
    let annotation = field.strip_prefix("metadata.annotations[").and_then(|key| {
        let (_prefix, name) = key.strip_suffix(']')?.rsplit_once('/')?;
        Some(name)
    });
    match annotation {
        Some(name) => NAMING.contains(&name),
        None => {
            field.starts_with("spec.tls")
                || field.starts_with("spec.defaultBackend")
                || field.contains(".backend")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ingress(host: &str, path: &str, annotations: Value) -> Ingress {
        let mut all = json!({"kubernetes.io/ingress.class": "penstock"});
        for (key, value) in annotations.as_object().expect("an object") {
            all[format!("nginx.ingress.kubernetes.io/{key}")] = value.clone();
        }
        serde_json::from_value(json!({
            "metadata": {"annotations": all},
            "spec": {"rules": [{"host": host, "http": {"paths": [{
                "path": path, "pathType": "Prefix",
                "backend": {"service": {"name": "app", "port": {"number": 80}}}}]}}]}
        }))
        .expect("an Ingress")
    }

    fn moment(ingresses: Vec<(&str, Ingress)>) -> Moment {
        let named = ingresses.into_iter().map(|(name, one)| (Key::new("web", name), Arc::new(one)));
        let stores = Stores { ingresses: named.collect(), ..Stores::default() };
        Moment { stores: Arc::new(stores), names: Arc::default(), diagnostics: Arc::from([]) }
    }

    fn judged(moment: &Moment, name: &str, ingress: Ingress) -> Verdict {
        judge(&Options::default(), moment, &Key::new("web", name), ingress)
    }

    fn refusal(moment: &Moment, name: &str, ingress: Ingress) -> String {
        judged(moment, name, ingress).refusal.expect("it is refused")
    }

    #[test]
    fn what_is_right_is_allowed_though_its_service_and_secret_come_later() {
        let mut fine =
            ingress("a.test", "/", json!({"auth-type": "basic", "auth-secret": "later"}));
        let spec = fine.spec.as_mut().expect("there is one");
        spec.tls = Some(
            serde_json::from_value(json!([{"hosts": ["a.test"], "secretName": "cert"}]))
                .expect("TLS"),
        );
        let verdict = judged(&moment(vec![]), "new", fine);
        assert_eq!(verdict.refusal, None);
        let all = verdict.warnings.join("\n");
        for named in ["Secret web/later", "Secret web/cert"] {
            assert!(all.contains(&format!("{named} was not checked")), "{all}");
        }
        assert!(all.contains("Service web/app does not exist"), "{all}");
    }

    #[test]
    fn a_service_of_the_name_of_a_secret_that_nobody_knows_does_not_exist() {
        let asks = ingress("a.test", "/", json!({"auth-type": "basic", "auth-secret": "app"}));
        let verdict = judged(&moment(vec![]), "new", asks);
        let all = verdict.warnings.join("\n");
        assert!(all.contains("Secret web/app was not checked"), "{all}");
        assert!(all.contains("Service web/app does not exist"), "{all}");
    }

    #[test]
    fn what_something_names_already_and_is_not_there_does_not_exist() {
        let asks = || ingress("a.test", "/", json!({"auth-type": "basic", "auth-secret": "later"}));
        let verdict = judged(&moment(vec![("old", asks())]), "old", asks());
        let all = verdict.warnings.join("\n");
        assert!(all.contains("Secret web/later does not exist"), "{all}");
    }

    #[test]
    fn a_value_that_cannot_be_obeyed_is_refused_with_its_key() {
        let wrong = ingress("a.test", "/", json!({"denylist-source-range": "10.0.0.0/99"}));
        let why = refusal(&moment(vec![]), "new", wrong);
        assert!(why.contains("nginx.ingress.kubernetes.io/denylist-source-range"), "{why}");
    }

    #[test]
    fn a_path_that_another_has_is_refused() {
        let moment = moment(vec![("old", ingress("a.test", "/shop", json!({})))]);
        let why = refusal(&moment, "new", ingress("a.test", "/shop", json!({})));
        assert!(why.contains("Ingress web/old"), "{why}");
        assert_eq!(
            judged(&moment, "new", ingress("b.test", "/shop", json!({}))),
            Verdict::allowed_like(&moment)
        );
    }

    #[test]
    fn whose_redirect_a_host_takes_the_place_of_its_author_hears() {
        let redirects = || ingress("a.test", "/", json!({"from-to-www-redirect": "true"}));
        let before = moment(vec![("old", redirects())]);
        let verdict = judged(&before, "new", ingress("WWW.a.test", "/", json!({})));
        assert_eq!(verdict.refusal, None);
        let all = verdict.warnings.join("\n");
        assert!(all.contains("Ingress web/old") && all.contains("does not redirect"), "{all}");
        // And the other way round.
        let before = moment(vec![("old", ingress("www.a.test", "/", json!({})))]);
        let verdict = judged(&before, "new", redirects());
        let all = verdict.warnings.join("\n");
        assert!(all.contains("from-to-www-redirect]: `www.a.test` is a host already"), "{all}");
    }

    impl Verdict {
        /// What an Ingress without fault gets here: a word about the Service that is missing.
        fn allowed_like(moment: &Moment) -> Self {
            let verdict = judged(moment, "plain", ingress("plain.test", "/", json!({})));
            assert_eq!(verdict.refusal, None);
            verdict
        }
    }

    #[test]
    fn a_path_that_is_taken_from_a_younger_one_is_refused() {
        let aged = |path: &str, seconds| {
            let mut one = ingress("a.test", path, json!({}));
            let time = jiff::Timestamp::from_second(seconds).expect("in range");
            one.metadata.creation_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
            one
        };
        let moment = moment(vec![("old", aged("/a", 1)), ("young", aged("/b", 2))]);
        let why = refusal(&moment, "old", aged("/b", 1));
        assert!(why.contains("Ingress web/young") && why.contains("Ingress web/old"), "{why}");
    }

    #[test]
    fn what_was_wrong_before_does_not_keep_anything_from_being_written() {
        let wrong = |more: Value| {
            let mut annotations = json!({"denylist-source-range": "10.0.0.0/99"});
            for (key, value) in more.as_object().expect("an object") {
                annotations[key] = value.clone();
            }
            ingress("a.test", "/", annotations)
        };
        let moment = moment(vec![("old", wrong(json!({})))]);
        let verdict = judged(&moment, "old", wrong(json!({"app-root": "/x"})));
        assert_eq!(verdict.refusal, None);
        assert!(verdict.warnings.iter().any(|line| line.contains("denylist-source-range")));
        // Another wrong value is refused, though the same is said about it.
        let other = wrong(json!({"denylist-source-range": "10.0.0.0/98"}));
        assert!(refusal(&moment, "old", other).contains("denylist-source-range"));
        let why = refusal(&moment, "old", wrong(json!({"whitelist-source-range": "nowhere"})));
        assert!(why.contains("whitelist-source-range") && !why.contains("denylist"), "{why}");
    }

    #[test]
    fn other_classes_and_what_is_being_deleted_are_not_looked_at() {
        let mut other = ingress("a.test", "/", json!({"denylist-source-range": "10.0.0.0/99"}));
        let annotations = other.metadata.annotations.as_mut().expect("there are some");
        annotations.insert("kubernetes.io/ingress.class".to_owned(), "nginx".to_owned());
        assert_eq!(judged(&moment(vec![]), "new", other.clone()), Verdict::allowed());
        let annotations = other.metadata.annotations.as_mut().expect("there are some");
        annotations.insert("kubernetes.io/ingress.class".to_owned(), "penstock".to_owned());
        other.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(judged(&moment(vec![]), "new", other), Verdict::allowed());
    }

    /// The bar is 100 ms; a build without optimisation, on a machine with other work, gets more.
    #[test]
    fn a_verdict_does_not_take_longer_where_there_are_many_ingresses() {
        let many: Vec<_> = (0..10_000)
            .map(|number| {
                (format!("i{number}"), ingress(&format!("h{number}.test"), "/", json!({})))
            })
            .collect();
        let moment = moment(many.iter().map(|(name, one)| (&**name, one.clone())).collect());
        let began = std::time::Instant::now();
        let rounds = 5;
        for _round in 0..rounds {
            let verdict = judged(&moment, "new", ingress("h5000.test", "/new", json!({})));
            assert_eq!(verdict.refusal, None);
        }
        let each = began.elapsed() / rounds;
        println!("a verdict among 10000 Ingresses: {each:?}");
        assert!(each < std::time::Duration::from_secs(1), "{each:?}");
    }
}
