//! Which Ingresses are looked at: manifests often come without their IngressClass.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::networking::v1::{Ingress, IngressClass, IngressClassSpec};

use super::{Kind, Remark};
use crate::{
    model::{Diagnostic, ObjectRef, Severity},
    stores::{Key, Stores},
    translate,
};

const LEGACY_CLASS: &str = "kubernetes.io/ingress.class";

/// The controllers whose Ingresses are meant for us.
const CONTROLLERS: [&str; 2] = ["k8s.io/ingress-nginx", "penstock.dev/ingress-controller"];

/// The classes of the manifests.
pub(super) struct Classes {
    ours: BTreeSet<String>,
    /// Likewise, though nothing says what they are.
    assumed: BTreeSet<String>,
    /// The value of the old annotation that is ours.
    legacy: String,
}

/// Whose an Ingress is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Ours,
    /// Its IngressClass is not among the manifests.
    Assumed,
    /// It names none.
    None,
    Other,
}

impl Class {
    /// What there is to know about it.
    pub(super) fn remark(self) -> Option<Remark> {
        let message = match self {
            Self::Ours | Self::Other => return None,
            Self::Assumed => {
                "the IngressClass is not among the manifests; taken for one of ingress-nginx's"
            }
            Self::None => {
                "names no class: served where the cluster's default class is ours, or with \
                 --watch-ingress-without-class"
            }
        };
        let field = "spec.ingressClassName".to_owned();
        Some(Remark { kind: Kind::Note, field, message: message.to_owned() })
    }
}

impl Classes {
    pub(super) fn of(&self, ingress: &Ingress) -> Class {
        let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
        let annotations = ingress.metadata.annotations.as_ref();
        match (named, annotations.and_then(|own| own.get(LEGACY_CLASS))) {
            (Some(name), _) if self.assumed.contains(name) => Class::Assumed,
            (Some(name), _) if self.ours.contains(name) => Class::Ours,
            (Some(_), _) => Class::Other,
            (None, Some(class)) if *class == self.legacy => Class::Ours,
            (None, Some(class)) if !class.is_empty() => Class::Other,
            (None, _) => Class::None,
        }
    }
}

/// Has Ingresses served that ingress-nginx or Penstock would serve, those whose IngressClass is not
/// among the manifests, and those without any.
pub(super) fn serve_all(stores: &mut Stores, options: &mut translate::Options) -> Classes {
    options.watch_ingress_without_class = true;
    let controller = options.controller_class.clone();
    let (mut ours, mut foreign, mut assumed) = <(BTreeSet<_>, BTreeSet<_>, BTreeSet<_>)>::default();
    let mut classes: Vec<(Key, Arc<IngressClass>)> = Vec::new();
    for (key, class) in stores.ingress_classes.iter() {
        let own = class.spec.as_ref().and_then(|spec| spec.controller.as_deref());
        let is_ours = own.is_some_and(|own| own == controller || CONTROLLERS.contains(&own));
        let name = key.name.to_string();
        if is_ours {
            ours.insert(name)
        } else {
            foreign.insert(name)
        };
        let class = if is_ours { of_controller(class, &controller) } else { Arc::clone(class) };
        classes.push((key.clone(), class));
    }
    for (_, ingress) in stores.ingresses.iter() {
        let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
        if let Some(name) = named
            && !ours.contains(name)
            && !foreign.contains(name)
            && assumed.insert(name.to_owned())
        {
            let class = of_controller(&IngressClass::default(), &controller);
            classes.push((Key::new("", name), class));
        }
    }
    stores.ingress_classes = classes.into_iter().collect();
    Classes { ours, assumed, legacy: options.ingress_class.clone() }
}

/// A ConfigMap that looks like the controller's, where none was named.
pub(super) fn unnamed_settings(
    stores: &Stores,
    options: &translate::Options,
) -> Option<Diagnostic> {
    if options.configmap.is_some() {
        return None;
    }
    let looks =
        |key: &Key| key.name.contains("ingress-nginx") || &*key.name == "nginx-configuration";
    let (key, _) = stores.config_maps.iter().find(|(key, _)| looks(key))?;
    let (namespace, name) = (&key.namespace, &key.name);
    Some(Diagnostic {
        severity: Severity::Warning,
        object: ObjectRef::new("ConfigMap", namespace.clone(), name.clone()),
        field: "data".to_owned(),
        message: format!(
            "looks like the controller's and is not looked at; --configmap {namespace}/{name} has \
             it obeyed"
        ),
    })
}

fn of_controller(class: &IngressClass, controller: &str) -> Arc<IngressClass> {
    let spec = class.spec.clone().unwrap_or_default();
    let spec = IngressClassSpec { controller: Some(controller.to_owned()), ..spec };
    Arc::new(IngressClass { spec: Some(spec), ..class.clone() })
}
