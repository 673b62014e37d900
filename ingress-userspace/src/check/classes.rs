//! Which Ingresses are looked at: manifests often come without their IngressClass.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::networking::v1::{Ingress, IngressClass, IngressClassSpec};

use crate::{
    stores::{Key, Stores},
    translate,
};

const LEGACY_CLASS: &str = "kubernetes.io/ingress.class";

/// The controllers whose Ingresses are meant for us.
const CONTROLLERS: [&str; 2] = ["k8s.io/ingress-nginx", "penstock.dev/ingress-controller"];

/// Has Ingresses served that ingress-nginx or Penstock would serve, those whose IngressClass is not
/// among the manifests, and those without any. Returns which these are.
pub(super) fn serve_all(
    stores: &mut Stores,
    options: &mut translate::Options,
) -> impl Fn(&Ingress) -> bool + use<> {
    options.watch_ingress_without_class = true;
    let controller = options.controller_class.clone();
    let mut ours = BTreeSet::new();
    let mut foreign = BTreeSet::new();
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
        {
            ours.insert(name.to_owned());
            classes
                .push((Key::new("", name), of_controller(&IngressClass::default(), &controller)));
        }
    }
    stores.ingress_classes = classes.into_iter().collect();
    let legacy = options.ingress_class.clone();
    move |ingress| {
        let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
        let annotations = ingress.metadata.annotations.as_ref();
        match (named, annotations.and_then(|own| own.get(LEGACY_CLASS))) {
            (Some(name), _) => ours.contains(name),
            (None, Some(class)) => class.is_empty() || *class == legacy,
            (None, None) => true,
        }
    }
}

fn of_controller(class: &IngressClass, controller: &str) -> Arc<IngressClass> {
    let spec = class.spec.clone().unwrap_or_default();
    let spec = IngressClassSpec { controller: Some(controller.to_owned()), ..spec };
    Arc::new(IngressClass { spec: Some(spec), ..class.clone() })
}
