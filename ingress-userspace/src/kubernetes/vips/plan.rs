//! Which Service has which virtual addresses: from the Services alone, without I/O. The status of
//! Services is the only memory, so that any replica that leads decides the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::api::core::v1::Service;

use super::pool::{Family, VipPool};
use crate::{
    model::{Diagnostic, ObjectRef, Severity},
    stores::Key,
};

/// `spec.loadBalancerClass` of the Services that get an address from us.
pub(super) const CLASS: &str = "penstock.dev/xdp";

/// What is to become of the Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Services whose status is to say something else.
    pub(super) writes: Vec<Write>,
    /// Why some do not have what they ask for.
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// The addresses of one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) key: Key,
    /// Of the object that this was decided from.
    pub(super) version: String,
    pub(super) addresses: Vec<IpAddr>,
}

/// A Service of ours while addresses are given.
struct Claim<'s> {
    key: &'s Key,
    service: &'s Service,
    present: Vec<IpAddr>,
    families: Vec<Family>,
    asked: Option<Result<IpAddr, &'s str>>,
    given: BTreeMap<Family, IpAddr>,
}

/// Older Services first: what one has it keeps, then what one asks for by name it gets if it is
/// free, then all others get the first that are free. What those have that are not `served` (their
/// namespace is another controller's) is not given to anybody, and they are not touched.
pub(super) fn plan<'s>(
    services: impl Iterator<Item = (&'s Key, &'s Arc<Service>)>,
    pool: &VipPool,
    served: impl Fn(&Key) -> bool,
) -> Plan {
    let claims = services.filter_map(|(key, service)| claim(key, service));
    let (mut claims, others): (Vec<_>, Vec<_>) = claims.partition(|claim| served(claim.key));
    claims.sort_by_cached_key(|claim| {
        let created = claim.service.metadata.creation_timestamp.clone();
        (created.is_none(), created, claim.key.clone())
    });
    let mut used = BTreeSet::new();
    let mut diagnostics = Vec::new();
    for claim in &mut claims {
        keep(claim, pool, &mut used, &mut diagnostics);
    }
    used.extend(others.into_iter().flat_map(|claim| claim.present));
    for claim in &mut claims {
        ask(claim, pool, &mut used, &mut diagnostics);
    }
    for claim in &mut claims {
        fill(claim, pool, &mut used, &mut diagnostics);
    }
    let mut writes = Vec::new();
    for claim in claims {
        let addresses: Vec<_> =
            claim.families.iter().filter_map(|family| claim.given.get(family).copied()).collect();
        if addresses != claim.present {
            let version = claim.service.metadata.resource_version.clone().unwrap_or_default();
            writes.push(Write { key: claim.key.clone(), version, addresses });
        }
    }
    Plan { writes, diagnostics }
}

fn claim<'s>(key: &'s Key, service: &'s Service) -> Option<Claim<'s>> {
    let spec = service.spec.as_ref()?;
    let ours = spec.type_.as_deref() == Some("LoadBalancer")
        && spec.load_balancer_class.as_deref() == Some(CLASS)
        && service.metadata.deletion_timestamp.is_none();
    if !ours {
        return None;
    }
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let points = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
    let present = points.filter_map(|point| point.ip.as_ref()?.parse().ok()).collect();
    let mut families: Vec<_> = spec
        .ip_families
        .iter()
        .flatten()
        .filter_map(|family| match family.as_str() {
            "IPv4" => Some(Family::V4),
            "IPv6" => Some(Family::V6),
            _ => None,
        })
        .collect();
    if families.is_empty() {
        families.push(Family::V4);
    }
    let asked = spec.load_balancer_ip.as_deref().filter(|text| !text.is_empty());
    let asked = asked.map(|text| text.parse().map_err(|_no_address| text));
    Some(Claim { key, service, present, families, asked, given: BTreeMap::new() })
}

impl Claim<'_> {
    fn wants(&self, family: Family) -> bool {
        self.families.contains(&family)
    }

    fn error(&self, field: &str, message: String, diagnostics: &mut Vec<Diagnostic>) {
        let object = ObjectRef::new("Service", self.key.namespace.clone(), self.key.name.clone());
        let field = field.to_owned();
        diagnostics.push(Diagnostic { severity: Severity::Error, object, field, message });
    }
}

/// What the status says stays, but for what an older Service has too, or another is asked for.
fn keep(
    claim: &mut Claim<'_>,
    pool: &VipPool,
    used: &mut BTreeSet<IpAddr>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    for address in claim.present.clone() {
        let family = Family::of(address);
        let other_asked = matches!(claim.asked, Some(Ok(asked))
            if Family::of(asked) == family && asked != address && pool.has(asked));
        if !claim.wants(family) || claim.given.contains_key(&family) || other_asked {
            continue;
        }
        if !used.insert(address) {
            let message = format!("{address} is an older Service's; it gets another");
            claim.error("status.loadBalancer", message, diagnostics);
            continue;
        }
        if !pool.has(address) {
            // Clients use it: taking it away is for people to decide.
            let message = format!("{address} is not of --vip-pool any more; it keeps it");
            claim.error("status.loadBalancer", message, diagnostics);
        }
        claim.given.insert(family, address);
    }
}

/// `spec.loadBalancerIP`, if it can be had.
fn ask(
    claim: &mut Claim<'_>,
    pool: &VipPool,
    used: &mut BTreeSet<IpAddr>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    const FIELD: &str = "spec.loadBalancerIP";
    let address = match claim.asked {
        None => return,
        Some(Ok(address)) => address,
        Some(Err(text)) => {
            let message = format!("`{text}` is no IP address; the Service gets none");
            claim.error(FIELD, message, diagnostics);
            // Whoever names one does not want any other.
            claim.families.retain(|family| claim.given.contains_key(family));
            return;
        }
    };
    let family = Family::of(address);
    if claim.given.get(&family) == Some(&address) {
        return;
    }
    let why = if !claim.wants(family) {
        format!("the Service has no addresses of {}", family.name())
    } else if !pool.has(address) {
        "it is not of --vip-pool".to_owned()
    } else if !used.insert(address) {
        "another Service has it".to_owned()
    } else {
        claim.given.insert(family, address);
        return;
    };
    let message = match claim.given.get(&family) {
        Some(present) => format!("cannot be {address}: {why}; it stays {present}"),
        None => format!("cannot be {address}: {why}; the Service gets none"),
    };
    claim.error(FIELD, message, diagnostics);
    let given = &claim.given;
    claim.families.retain(|own| *own != family || given.contains_key(own));
}

fn fill(
    claim: &mut Claim<'_>,
    pool: &VipPool,
    used: &mut BTreeSet<IpAddr>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    for family in claim.families.clone() {
        if claim.given.contains_key(&family) {
            continue;
        }
        match pool.first_free(family, used) {
            Some(address) => {
                used.insert(address);
                claim.given.insert(family, address);
            }
            None => {
                let name = family.name();
                let message = format!("--vip-pool has no free {name} address for it");
                claim.error("spec.loadBalancerClass", message, diagnostics);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::model::AddressRange;

    fn pool(ranges: &[&str]) -> VipPool {
        let ranges = ranges.iter().map(|text| AddressRange::parse(text).expect(text)).collect();
        VipPool::new(ranges, [])
    }

    fn service(name: &str, spec: Value, status: &[&str]) -> (Key, Arc<Service>) {
        let mut value = json!({
            "metadata": {"name": name, "resourceVersion": "3"},
            "spec": {"type": "LoadBalancer", "loadBalancerClass": CLASS},
            "status": {"loadBalancer": {
                "ingress": status.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>()}}
        });
        for (field, own) in spec.as_object().expect("an object") {
            value["spec"][field] = own.clone();
        }
        (Key::new("web", name), Arc::new(serde_json::from_value(value).expect("a Service")))
    }

    fn given(services: &[(Key, Arc<Service>)], pool: &VipPool) -> (Vec<String>, Vec<String>) {
        let plan = plan(services.iter().map(|(key, service)| (key, service)), pool, |_| true);
        let writes = plan.writes.iter().map(|write| {
            let addresses: Vec<_> = write.addresses.iter().map(ToString::to_string).collect();
            format!("{} {}", write.key.name, addresses.join(" "))
        });
        let said = plan.diagnostics.iter().map(ToString::to_string);
        (writes.collect(), said.collect())
    }

    #[test]
    fn services_of_the_class_get_addresses_of_their_families() {
        let pool = pool(&["192.0.2.0/30", "2001:db8::/64"]);
        let services = [
            service("dual", json!({"ipFamilies": ["IPv6", "IPv4"]}), &[]),
            service("four", json!({}), &[]),
            service("six", json!({"ipFamilies": ["IPv6"]}), &[]),
            service("other", json!({"loadBalancerClass": "example.com/lb"}), &[]),
            service("inner", json!({"type": "ClusterIP"}), &[]),
        ];
        let (writes, said) = given(&services, &pool);
        assert_eq!(writes, ["dual 2001:db8::1 192.0.2.1", "four 192.0.2.2", "six 2001:db8::2"]);
        assert_eq!(said, [""; 0]);
    }

    #[test]
    fn what_a_service_has_it_keeps() {
        let pool = pool(&["192.0.2.0/29"]);
        let services = [
            service("a", json!({}), &[]),
            service("b", json!({}), &["192.0.2.1"]),
            service("c", json!({}), &["198.51.100.1"]),
        ];
        let (writes, said) = given(&services, &pool);
        assert_eq!(writes, ["a 192.0.2.2"]);
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("Service web/c") && said[0].contains("--vip-pool"), "{}", said[0]);
    }

    #[test]
    fn of_two_with_one_address_the_older_keeps_it() {
        let pool = pool(&["192.0.2.0/29"]);
        let (key, mut young) = service("a", json!({}), &["192.0.2.1"]);
        Arc::make_mut(&mut young).metadata.creation_timestamp = None;
        let (older, mut old) = service("b", json!({}), &["192.0.2.1"]);
        Arc::make_mut(&mut old).metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        let (writes, said) = given(&[(key, young), (older, old)], &pool);
        assert_eq!(writes, ["a 192.0.2.2"]);
        assert_eq!(said.len(), 1);
    }

    #[test]
    fn of_namespaces_that_are_not_served_nothing_is_touched_and_nothing_taken() {
        let services = [
            service("a", json!({}), &["192.0.2.1"]),
            service("b", json!({}), &[]),
            service("c", json!({}), &[]),
        ];
        let all = services.iter().map(|(key, service)| (key, service));
        let plan = plan(all, &pool(&["192.0.2.0/29"]), |key| &*key.name == "c");
        let writes = plan.writes.iter().map(|write| (&*write.key.name, &*write.addresses));
        let expected = [("c", &[IpAddr::from([192, 0, 2, 2])][..])];
        assert_eq!(writes.collect::<Vec<_>>(), expected);
        assert_eq!(plan.diagnostics, []);
    }

    #[test]
    fn an_address_that_is_asked_for_is_given_or_none() {
        let pool = pool(&["192.0.2.0/29"]);
        let ask = |ip: &str| json!({"loadBalancerIP": ip});
        let (writes, said) = given(
            &[
                service("first", json!({}), &[]),
                service("free", ask("192.0.2.1"), &[]),
                service("moves", ask("192.0.2.5"), &["192.0.2.4"]),
                service("outside", ask("198.51.100.1"), &[]),
                service("same", ask("192.0.2.1"), &[]),
                service("six", ask("2001:db8::1"), &[]),
                service("stays", ask("198.51.100.1"), &["192.0.2.6"]),
                service("wrong", ask("nonsense"), &[]),
            ],
            &pool,
        );
        assert_eq!(
            writes,
            ["first 192.0.2.2", "free 192.0.2.1", "moves 192.0.2.5", "six 192.0.2.3"]
        );
        assert_eq!(said.len(), 5, "{said:#?}");
        assert!(said.iter().all(|line| line.contains("spec.loadBalancerIP")), "{said:#?}");
    }

    #[test]
    fn an_empty_pool_is_said() {
        let pool = pool(&["192.0.2.1"]);
        let services = [service("a", json!({}), &[]), service("b", json!({}), &[])];
        let (writes, said) = given(&services, &pool);
        assert_eq!(writes, ["a 192.0.2.1"]);
        let want =
            "Service web/b: spec.loadBalancerClass: --vip-pool has no free IPv4 address for it";
        assert_eq!(said, [want]);
    }

    proptest! {
        /// Whatever the Services say: no address twice, none from outside but what is there already,
        /// and what was written once is right afterwards.
        #[test]
        fn no_address_is_given_twice_and_a_plan_that_was_carried_out_stands(
            specs in proptest::collection::vec(
                (0_u8..4, proptest::option::of(0_u8..12), proptest::option::of(0_u8..12)), 0..14)
        ) {
            let pool = pool(&["192.0.2.0/29", "2001:db8::/125"]);
            let mut services: Vec<_> = specs.into_iter().enumerate().map(|(number, (families, has, asks))| {
                let families = [json!(["IPv4"]), json!(["IPv6"]), json!(["IPv4", "IPv6"]), json!([])]
                    [usize::from(families)].clone();
                let mut spec = json!({"ipFamilies": families});
                if let Some(asks) = asks {
                    spec["loadBalancerIP"] = json!(format!("192.0.2.{asks}"));
                }
                let has = has.map(|number| format!("192.0.2.{number}"));
                service(&format!("s{number}"), spec, &has.iter().map(String::as_str).collect::<Vec<_>>())
            }).collect();
            // What is told of some settles; two rounds at most.
            for _round in 0..2 {
                let planned = plan(services.iter().map(|(key, service)| (key, service)), &pool, |_| true);
                for write in planned.writes {
                    let place = services.iter().position(|(key, _)| *key == write.key).expect("one");
                    let points: Vec<_> =
                        write.addresses.iter().map(|ip| json!({"ip": ip.to_string()})).collect();
                    let status = json!({"loadBalancer": {"ingress": points}});
                    Arc::make_mut(&mut services[place].1).status =
                        Some(serde_json::from_value(status).expect("a status"));
                }
                let mut seen = BTreeSet::new();
                for (key, service) in &services {
                    let claim = claim(key, service).expect("ours");
                    for address in claim.present {
                        prop_assert!(seen.insert(address), "{address} twice");
                    }
                }
            }
            let settled = plan(services.iter().map(|(key, service)| (key, service)), &pool, |_| true);
            prop_assert_eq!(settled.writes, Vec::new());
        }
    }
}
