//! Which Ingresses are to say something else about where they are reached.

use k8s_openapi::api::networking::v1::{Ingress, IngressLoadBalancerIngress as Point};
use serde_json::{Value, json};

use super::addresses::sorted;
use crate::{
    stores::{Key, Stores},
    translate::{Classes, Options},
};

/// One status to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) key: Key,
    /// Of the object that this was decided from.
    pub(super) version: String,
}

/// Those of our Ingresses whose status says something else than `points`, which are sorted. Others'
/// Ingresses are never among them.
pub(super) fn plan(options: &Options, stores: &Stores, points: &[Point]) -> Vec<Write> {
    let classes = Classes::new(options, stores);
    let differing = stores.ingresses.iter().filter(|(key, ingress)| {
        ingress.metadata.deletion_timestamp.is_none()
            && !says(ingress, points)
            && classes.is_ours(key, ingress)
    });
    let write = |(key, ingress): (&Key, &std::sync::Arc<Ingress>)| Write {
        key: key.clone(),
        version: ingress.metadata.resource_version.clone().unwrap_or_default(),
    };
    differing.map(write).collect()
}

fn says(ingress: &Ingress, points: &[Point]) -> bool {
    let status = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let present = status.and_then(|status| status.ingress.clone()).unwrap_or_default();
    let name = |point: &Point| (point.hostname.clone(), point.ip.clone());
    sorted(present).iter().map(name).eq(points.iter().map(name))
}

/// The status as a merge patch. The version makes it a conflict where the object is not the one that
/// was looked at: it may be somebody else's by now.
pub(super) fn patch(write: &Write, points: &[Point]) -> Value {
    let mut patch = json!({"status": {"loadBalancer": {"ingress": points}}});
    if !write.version.is_empty() {
        patch["metadata"] = json!({"resourceVersion": write.version});
    }
    patch
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::kubernetes::address_or_name;

    fn ingress(class: &str, addresses: &[&str]) -> Ingress {
        let points: Vec<_> = addresses.iter().map(|text| json!(address_or_name(text))).collect();
        serde_json::from_value(json!({
            "metadata": {"resourceVersion": "5", "annotations": {"kubernetes.io/ingress.class": class}},
            "spec": {}, "status": {"loadBalancer": {"ingress": points}}
        }))
        .expect("an Ingress")
    }

    fn stores(ingresses: Vec<(&str, Ingress)>) -> Stores {
        let named = ingresses.into_iter().map(|(name, one)| (Key::new("web", name), Arc::new(one)));
        Stores { ingresses: named.collect(), ..Stores::default() }
    }

    fn points(addresses: &[&str]) -> Vec<Point> {
        sorted(addresses.iter().map(|text| address_or_name(text)).collect())
    }

    fn planned(stores: &Stores, addresses: &[&str]) -> Vec<String> {
        let options = Options::default();
        let writes = plan(&options, stores, &points(addresses));
        writes.into_iter().map(|write| write.key.name.to_string()).collect()
    }

    #[test]
    fn only_what_is_ours_and_differs_is_written() {
        let stores = stores(vec![
            ("empty", ingress("penstock", &[])),
            ("old", ingress("penstock", &["192.0.2.9"])),
            ("right", ingress("penstock", &["lb.test", "192.0.2.1"])),
            ("foreign", ingress("nginx", &["192.0.2.9"])),
        ]);
        assert_eq!(planned(&stores, &["192.0.2.1", "lb.test"]), ["empty", "old"]);
        assert_eq!(planned(&stores, &[]), ["old", "right"]);
    }

    #[test]
    fn a_patch_names_the_version_that_it_was_decided_from() {
        let write = Write { key: Key::new("web", "a"), version: "5".to_owned() };
        assert_eq!(
            patch(&write, &points(&["192.0.2.1"])),
            json!({"metadata": {"resourceVersion": "5"},
                   "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})
        );
    }

    proptest! {
        /// What was written is not written again, in whatever order it was listed.
        #[test]
        fn a_status_that_was_written_is_right(
            addresses in proptest::collection::vec("[a-c]{1,2}\\.test|192\\.0\\.2\\.[0-9]", 0..6),
            seed in any::<u64>(),
        ) {
            let wanted: Vec<_> = addresses.iter().map(String::as_str).collect();
            let mut listed = wanted.clone();
            fastrand::Rng::with_seed(seed).shuffle(&mut listed);
            let stores = stores(vec![("one", ingress("penstock", &listed))]);
            prop_assert_eq!(planned(&stores, &wanted), Vec::<String>::new());
        }
    }
}
