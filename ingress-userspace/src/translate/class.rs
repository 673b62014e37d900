use k8s_openapi::api::{
    core::v1::Namespace,
    networking::v1::{Ingress, IngressClass},
};

use super::{Options, report::Report};
use crate::{
    model::ObjectRef,
    stores::{Key, Store, Stores},
};

const LEGACY_CLASS: &str = "kubernetes.io/ingress.class";
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

/// Which Ingresses are ours (reference section 9.2, "Class"). An Ingress that was there before its
/// IngressClass is ours from the moment that the class appears.
pub(crate) struct Classes<'o> {
    options: &'o Options,
    classes: &'o Store<IngressClass>,
    namespaces: &'o Store<Namespace>,
    forbidden: bool,
    /// The class of Ingresses that name none. The API server writes it into them; manifests that
    /// never saw one are treated as if it had.
    default: Option<&'o str>,
}

impl<'o> Classes<'o> {
    pub(crate) fn new(options: &'o Options, stores: &'o Stores) -> Self {
        let classes = &stores.ingress_classes;
        // As the API server's DefaultIngressClass plugin: the newest, of equals the first by name.
        let is_default = |class: &IngressClass| {
            let annotations = class.metadata.annotations.as_ref();
            annotations
                .and_then(|annotations| annotations.get(IS_DEFAULT))
                .is_some_and(|v| v == "true")
        };
        let default = classes
            .iter()
            .filter(|(_, class)| is_default(class))
            .min_by_key(|(key, class)| {
                (std::cmp::Reverse(class.metadata.creation_timestamp.clone()), *key)
            })
            .map(|(key, _)| &*key.name);
        let (namespaces, forbidden) = (&stores.namespaces, stores.classes_forbidden);
        Self { options, classes, namespaces, forbidden, default }
    }

    /// The Ingress is ours. Says so where it looks as if it was meant to be.
    pub(super) fn serve(&self, key: &Key, ingress: &Ingress, report: &mut Report<'_>) -> bool {
        if !self.options.serves_namespace(self.namespaces, &key.namespace) {
            return false;
        }
        let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
        let named = named.filter(|_| !self.forbidden);
        if let Some(name) = named {
            if self.classes.get("", name).is_none() {
                let message =
                    format!("IngressClass {name} does not exist; not served until it does");
                report.warning("spec.ingressClassName", message);
            }
            return self.is_served(name);
        }
        let annotations = ingress.metadata.annotations.as_ref();
        let without = self.options.watch_ingress_without_class;
        match annotations.and_then(|annotations| annotations.get(LEGACY_CLASS)) {
            Some(class) if class.is_empty() && without => true,
            Some(class) => *class == self.options.ingress_class,
            None if without => true,
            None => match self.default {
                Some(class) => self.is_served(class),
                None => {
                    report.warning(
                        "spec.ingressClassName",
                        "names no class, and no IngressClass is the default one; not served \
                         (set it, or use --watch-ingress-without-class)",
                    );
                    false
                }
            },
        }
    }

    /// The Ingress is of a class that we serve, and not one that `--disable-catch-all` leaves out.
    pub(crate) fn is_ours(&self, key: &Key, ingress: &Ingress) -> bool {
        let catch_all = ingress.spec.as_ref().is_some_and(|spec| spec.default_backend.is_some());
        !(catch_all && self.options.disable_catch_all) && self.is_of_ours(key, ingress)
    }

    /// The Ingress is of a class that we serve, whether or not it is served.
    pub(crate) fn is_of_ours(&self, key: &Key, ingress: &Ingress) -> bool {
        let object = ObjectRef::new("Ingress", key.namespace.clone(), key.name.clone());
        self.serve(key, ingress, &mut Report::on(object, &mut Vec::new()))
    }

    fn is_served(&self, class: &str) -> bool {
        let Some(object) = self.classes.get("", class) else { return false };
        let controller = object.spec.as_ref().and_then(|spec| spec.controller.as_deref());
        controller == Some(&self.options.controller_class)
            || self.options.ingress_class_by_name && class == self.options.ingress_class
    }
}
