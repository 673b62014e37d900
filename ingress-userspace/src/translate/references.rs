//! Which Secrets and ConfigMaps are needed: those that a flag, the ConfigMap or an Ingress of ours
//! names. A source that holds no others asks here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::{core::v1::ConfigMap, networking::v1::Ingress};

use super::{Options, annotations::boolean, class::Classes, report::Report};
use crate::{
    model::ObjectRef,
    stores::{Key, Stores},
};

/// The annotations that name a Secret, `namespace/name` or, of the Ingress' own namespace, `name`.
const SECRETS: &[&str] = &["auth-secret", "auth-tls-secret", "proxy-ssl-secret"];
/// Likewise, a ConfigMap.
const CONFIG_MAPS: &[&str] =
    &["auth-proxy-set-headers", "custom-headers", "fastcgi-params-configmap"];
/// The entries of the ConfigMap that name a further one.
const FURTHER: &[&str] = &["add-headers", "proxy-set-headers"];

/// So many entries of an Ingress' `spec.tls` count: each can have a Secret fetched and kept.
pub(super) const MOST_TLS: usize = 500;

/// A Secret or ConfigMap that something names. It need not exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// A Secret.
    Secret(Key),
    /// A ConfigMap.
    ConfigMap(Key),
}

impl Reference {
    /// The Secret or ConfigMap of this name, if that can be one.
    pub(super) fn is_nameable(&self) -> bool {
        let Key { namespace, name } = self.key();
        key(&(&**namespace, &**name)).is_some()
    }

    /// The namespace and name.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Secret(key) | Self::ConfigMap(key) => key,
        }
    }

    /// What it is, for people and for finding it.
    #[must_use]
    pub fn object(&self) -> ObjectRef {
        let kind = match self {
            Self::Secret(_) => "Secret",
            Self::ConfigMap(_) => "ConfigMap",
        };
        let Key { namespace, name } = self.key().clone();
        ObjectRef::new(kind, namespace, name)
    }
}

/// All that these objects name. The ConfigMap names more itself: with every one that comes in, ask
/// again. Of another namespace an Ingress gets nothing unless the ConfigMap allows it, and what
/// cannot be the name of an object is none.
#[must_use]
pub fn references(stores: &Stores, options: &Options) -> BTreeSet<Reference> {
    let (mut found, cross_namespace) = of_settings(stores, options);
    let classes = Classes::new(options, stores);
    for (key, ingress) in stores.ingresses.iter() {
        found.0.extend(of_ours(&classes, key, ingress, options, cross_namespace));
    }
    found.0
}

/// What flags and the ConfigMap name: all that is served can depend on it.
pub(crate) fn shared(stores: &Stores, options: &Options) -> BTreeSet<Reference> {
    of_settings(stores, options).0.0
}

/// Which Ingresses of ours name any of `wanted`.
pub(crate) fn naming_any<'s>(
    stores: &'s Stores,
    options: &Options,
    wanted: &BTreeSet<Reference>,
) -> BTreeSet<&'s Key> {
    let (_, cross_namespace) = of_settings(stores, options);
    let namespaces: BTreeSet<_> = wanted.iter().map(|one| &*one.key().namespace).collect();
    let classes = Classes::new(options, stores);
    let can = |key: &Key| cross_namespace || namespaces.contains(&*key.namespace);
    let ingresses = stores.ingresses.iter().filter(|(key, _)| can(key));
    let naming = ingresses.filter(|(key, ingress)| {
        !of_ours(&classes, key, ingress, options, cross_namespace).is_disjoint(wanted)
    });
    naming.map(|(key, _)| key).collect()
}

/// And whether Ingresses may name what is in other namespaces.
fn of_settings(stores: &Stores, options: &Options) -> (Found, bool) {
    let mut found = Found::default();
    for flag in [&options.default_ssl_certificate, &options.tls_ticket_secret] {
        found.secret(flag.as_ref());
    }
    for flag in [&options.configmap, &options.tcp_services, &options.udp_services] {
        found.config_map(flag.as_ref());
    }
    let configmap = options.configmap.as_ref();
    let configmap = configmap.and_then(|(namespace, name)| stores.config_maps.get(namespace, name));
    let entry = |key: &str| configmap.and_then(|map| entry(map, key));
    for key in FURTHER {
        found.config_map(entry(key).and_then(|value| value.split_once('/')));
    }
    let cross_namespace = entry("allow-cross-namespace-resources")
        .is_some_and(|value| boolean(value.trim()).unwrap_or(false));
    (found, cross_namespace)
}

/// All that objects name, kept up as they change: where only Ingresses did, the others are not looked at.
#[derive(Debug, Default)]
pub struct References {
    /// And how many Ingresses name each; flags and the ConfigMap count as one more.
    named: BTreeMap<Reference, usize>,
    /// What that was taken from, and nothing else.
    by: Option<Stores>,
}

impl References {
    /// Goes on to these objects. False: they name what was named before.
    pub fn go_on(&mut self, stores: &Stores, options: &Options) -> bool {
        let now = naming(stores, options);
        let before = self.by.replace(now.clone());
        let Some(before) = before.filter(|before| {
            before.ingress_classes.same(&now.ingress_classes)
                && before.config_maps.same(&now.config_maps)
                && before.namespaces.same(&now.namespaces)
                && before.classes_forbidden == now.classes_forbidden
        }) else {
            let earlier = std::mem::take(&mut self.named);
            let (shared, cross_namespace) = of_settings(stores, options);
            let classes = Classes::new(options, stores);
            let of_ingresses = stores.ingresses.iter().flat_map(|(key, ingress)| {
                of_ours(&classes, key, ingress, options, cross_namespace)
            });
            for reference in shared.0.into_iter().chain(of_ingresses) {
                *self.named.entry(reference).or_default() += 1;
            }
            let is_news = !earlier.keys().eq(self.named.keys());
            return is_news;
        };
        let (_, cross_namespace) = of_settings(stores, options);
        let classes = Classes::new(options, stores);
        let mut is_news = false;
        for (key, before, after) in before.ingresses.changes(&now.ingresses) {
            if let Some(ingress) = after {
                for reference in of_ours(&classes, key, ingress, options, cross_namespace) {
                    let count = self.named.entry(reference).or_insert_with(|| {
                        is_news = true;
                        0
                    });
                    *count += 1;
                }
            }
            if let Some(ingress) = before {
                for reference in of_ours(&classes, key, ingress, options, cross_namespace) {
                    let Some(count) = self.named.get_mut(&reference) else { continue };
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        self.named.remove(&reference);
                        is_news = true;
                    }
                }
            }
        }
        is_news
    }

    /// All that is named.
    pub fn iter(&self) -> impl Iterator<Item = &Reference> {
        self.named.keys()
    }
}

/// What of these objects says what is named.
fn naming(stores: &Stores, options: &Options) -> Stores {
    let configmap = options.configmap.as_ref();
    let configmap = configmap.and_then(|(namespace, name)| {
        let map = stores.config_maps.get(namespace, name)?;
        Some((Key::new(namespace.as_str(), name.as_str()), Arc::clone(map)))
    });
    Stores {
        ingresses: stores.ingresses.clone(),
        ingress_classes: stores.ingress_classes.clone(),
        config_maps: configmap.into_iter().collect(),
        namespaces: stores.namespaces.clone(),
        classes_forbidden: stores.classes_forbidden,
        ..Stores::default()
    }
}

/// What an Ingress names, if it is ours.
fn of_ours(
    classes: &Classes<'_>,
    key: &Key,
    ingress: &Ingress,
    options: &Options,
    cross_namespace: bool,
) -> BTreeSet<Reference> {
    // What is wrong with it is told where it is translated.
    let mut unread = Vec::new();
    match classes.serve(key, ingress, &mut Report::on(nobody(), &mut unread)) {
        true => of_ingress(key, ingress, &options.annotations_prefix, cross_namespace),
        false => BTreeSet::new(),
    }
}

fn nobody() -> ObjectRef {
    ObjectRef::new("Ingress", "", "")
}

/// What an Ingress names, whosever it is.
pub(super) fn of_ingress(
    key: &Key,
    ingress: &Ingress,
    annotations_prefix: &str,
    cross_namespace: bool,
) -> BTreeSet<Reference> {
    let mut found = Found::default();
    let own = &*key.namespace;
    let tls = ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten()).take(MOST_TLS);
    for name in tls.filter_map(|entry| entry.secret_name.as_deref()) {
        found.secret(Some((own, name)));
    }
    let annotations = ingress.metadata.annotations.iter().flatten();
    for (annotation, value) in annotations {
        let Some(key) =
            annotation.strip_prefix(annotations_prefix).and_then(|rest| rest.strip_prefix('/'))
        else {
            continue;
        };
        let value = value.trim();
        let (namespace, name) = value.split_once('/').unwrap_or((own, value));
        let object = (namespace == own || cross_namespace).then_some((namespace, name));
        if SECRETS.contains(&key) {
            found.secret(object);
        } else if CONFIG_MAPS.contains(&key) {
            found.config_map(object);
        }
    }
    found.0
}

fn entry<'m>(map: &'m ConfigMap, key: &str) -> Option<&'m str> {
    map.data.as_ref()?.get(key).map(|value| value.trim())
}

#[derive(Default)]
struct Found(BTreeSet<Reference>);

/// Two texts that may name an object.
trait Pair {
    fn texts(&self) -> (&str, &str);
}

impl Pair for (&str, &str) {
    fn texts(&self) -> (&str, &str) {
        *self
    }
}

impl Pair for &(String, String) {
    fn texts(&self) -> (&str, &str) {
        (&self.0, &self.1)
    }
}

impl Found {
    fn secret(&mut self, object: Option<impl Pair>) {
        self.0.extend(object.and_then(|object| key(&object)).map(Reference::Secret));
    }

    fn config_map(&mut self, object: Option<impl Pair>) {
        self.0.extend(object.and_then(|object| key(&object)).map(Reference::ConfigMap));
    }
}

/// Names become parts of addresses and selectors: nothing but what the API server takes as one.
fn key(object: &impl Pair) -> Option<Key> {
    let (namespace, name) = object.texts();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = |text: &str| {
        !text.is_empty() && text.len() <= 63 && text.bytes().all(allowed) && !text.starts_with('-')
    };
    let named = name.len() <= 253
        && name
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(allowed) && !part.starts_with('-'));
    (label(namespace) && named).then(|| Key::new(namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::parse::tests::stores;

    fn named(options: &Options, text: &str) -> Vec<String> {
        let (stores, faults) = stores(text);
        assert!(faults.is_empty(), "{faults:?}");
        references(&stores, options).iter().map(|one| one.object().to_string()).collect()
    }

    fn ingress(class: &str, annotations: &str, tls: &str) -> String {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: shop\n  \
             namespace: web\n  annotations: {{kubernetes.io/ingress.class: {class}{annotations}}}\n\
             spec: {{tls: [{tls}]}}\n---\n"
        )
    }

    #[test]
    fn flags_and_ingresses_of_ours_name_objects() {
        let options = Options {
            configmap: Some(("ctl".to_owned(), "settings".to_owned())),
            default_ssl_certificate: Some(("ctl".to_owned(), "wildcard".to_owned())),
            ..Options::default()
        };
        let annotations = ", nginx.ingress.kubernetes.io/auth-secret: users, \
                           nginx.ingress.kubernetes.io/custom-headers: web/fields, \
                           nginx.ingress.kubernetes.io/auth-tls-secret: other/ca, \
                           example.com/auth-secret: no";
        let text = ingress("penstock", annotations, "{secretName: cert}, {hosts: [a]}");
        let expected = [
            "Secret ctl/wildcard",
            "Secret web/cert",
            "Secret web/users",
            "ConfigMap ctl/settings",
            "ConfigMap web/fields",
        ];
        assert_eq!(named(&options, &text), expected);
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: ctl}\n\
                   data: {allow-cross-namespace-resources: \"true\", add-headers: ctl/more}\n";
        let more = named(&options, &format!("{text}{map}"));
        assert!(more.contains(&"Secret other/ca".to_owned()), "{more:?}");
        assert!(more.contains(&"ConfigMap ctl/more".to_owned()), "{more:?}");
        assert_eq!(more.len(), 7);
    }

    #[test]
    fn ingresses_of_others_name_nothing() {
        let text = ingress("other", "", "{secretName: cert}");
        assert!(named(&Options::default(), &text).is_empty());
    }

    #[test]
    fn what_is_no_name_is_never_asked_for() {
        for name in ["a,metadata.namespace=b", "../x", "A", "", "a..b", "a%2fb", "-a", "a b", "é"]
        {
            let text = ingress("penstock", "", &format!("{{secretName: {name:?}}}"));
            assert!(named(&Options::default(), &text).is_empty(), "{name}");
        }
    }
}
