//! `certificates`: what handshakes present, the one that ends first before the others.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde_json::{Value, json};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
    public_key::PublicKey,
};

use super::{Refusal, objects::object, query::Query};
use crate::{
    admin::{Board, state::host_name},
    model::{Certificate, Model},
};

/// A day. Seconds.
const DAY: i64 = 24 * 3600;
/// Hosts that are named with a certificate; how many there are is said.
const NAMED: usize = 100;

/// What was read out of certificates for earlier answers.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<usize, Read>>);

/// A certificate, to tell whether it is still the same, and what it says.
type Read = (Weak<Certificate>, Arc<Described>);

/// What a leaf says about itself.
#[derive(Debug)]
struct Described {
    subject: String,
    names: Vec<String>,
    issuer: String,
    serial: String,
    algorithm: &'static str,
    /// Seconds since 1970.
    begin: i64,
    end: i64,
    fingerprint: String,
}

/// All certificates of what is served, the self-signed one where it is presented.
pub(super) fn render(board: &Board, query: &Query) -> Result<Value, Refusal> {
    query.only(&["q", "page", "per"])?;
    let mut page = query.page()?;
    let snapshot = board.reader.current();
    let model = &snapshot.model;
    let now = Timestamp::now().as_second();
    let described = board.api.certificates.of(model);
    let hosts = presented(model);
    let default = model.default_certificate.and_then(|id| usize::try_from(id.0).ok());
    let mut shown: Vec<_> = model
        .certificates
        .iter()
        .zip(&described)
        .enumerate()
        .filter(|(_, (own, _))| !own.chain.is_empty())
        .collect();
    shown.sort_by_key(|(_, (_, described))| described.as_ref().map_or(i64::MIN, |own| own.end));
    if let Some(hosts) = hosts.get(&None) {
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        if page.words().are_in(&hosts) {
            page.add(|| item(None, None, &hosts, true, now));
        }
    }
    for (place, (own, described)) in shown {
        let hosts: Vec<&str> =
            hosts.get(&Some(place)).into_iter().flatten().map(String::as_str).collect();
        let mut about = vec![&*own.secret.namespace, &*own.secret.name];
        about.extend(&hosts);
        if let Some(described) = described {
            about.extend([&*described.subject, &*described.issuer]);
            about.extend(described.names.iter().map(String::as_str));
        }
        if page.words().is_empty() || page.words().are_in(&about) {
            let is_default = default == Some(place);
            page.add(|| item(Some(own), described.as_deref(), &hosts, is_default, now));
        }
    }
    Ok(page.finish(snapshot.generation))
}

/// The hosts by the place of the certificate that they present; `None`: the self-signed one.
fn presented(model: &Model) -> BTreeMap<Option<usize>, Vec<String>> {
    let mut hosts: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for host in model.hosts.iter() {
        let own = host.certificate.or(model.default_certificate);
        if host.certificate.is_some() || host.tls {
            let place = own.and_then(|id| usize::try_from(id.0).ok());
            hosts.entry(place).or_default().push(host_name(&host.name));
        }
    }
    hosts
}

fn item(
    own: Option<&Arc<Certificate>>,
    described: Option<&Described>,
    hosts: &[&str],
    is_default: bool,
    now: i64,
) -> Value {
    let time = |seconds: i64| Timestamp::from_second(seconds).ok().map(|time| time.to_string());
    json!({
        "secret": own.map(|own| object(&own.secret)),
        "self_signed": own.is_none(),
        "default": is_default,
        "hosts": hosts.get(..NAMED).unwrap_or(hosts),
        "hosts_total": hosts.len(),
        "subject": described.map(|own| &own.subject),
        "names": described.map(|own| &own.names),
        "issuer": described.map(|own| &own.issuer),
        "serial": described.map(|own| &own.serial),
        "algorithm": described.map(|own| own.algorithm),
        "not_before": described.and_then(|own| time(own.begin)),
        "not_after": described.and_then(|own| time(own.end)),
        "days_left": described.map(|own| (own.end - now).div_euclid(DAY)),
        "sha256": described.map(|own| &own.fingerprint),
    })
}

impl Known {
    /// Of each certificate of a model what it says; `None` of what cannot be read.
    fn of(&self, model: &Model) -> Vec<Option<Arc<Described>>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = HashMap::with_capacity(model.certificates.len());
        let described = model
            .certificates
            .iter()
            .map(|own| {
                let place = Arc::as_ptr(own).addr();
                // What was read cannot be of another certificate at the same place: it is held.
                let described = match known.remove(&place) {
                    Some((weak, described)) if weak.strong_count() > 0 => Some(described),
                    _ => describe(own).map(Arc::new),
                }?;
                next.insert(place, (Arc::downgrade(own), Arc::clone(&described)));
                Some(described)
            })
            .collect();
        *known = next;
        described
    }
}

fn describe(certificate: &Certificate) -> Option<Described> {
    let leaf = certificate.chain.first()?;
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names =
        names.iter().flat_map(|own| &own.value.general_names).filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(octets) => address(octets),
            _ => None,
        });
    Some(Described {
        subject: parsed.subject().to_string(),
        names: names.collect(),
        issuer: parsed.issuer().to_string(),
        serial: parsed.raw_serial_as_string(),
        algorithm: match parsed.public_key().parsed() {
            Ok(PublicKey::RSA(_)) => "RSA",
            Ok(PublicKey::EC(_)) => "ECDSA",
            _ => "unknown",
        },
        begin: parsed.validity().not_before.timestamp(),
        end: parsed.validity().not_after.timestamp(),
        fingerprint: HEXLOWER.encode(digest(&SHA256, leaf).as_ref()),
    })
}

fn address(octets: &[u8]) -> Option<String> {
    let address = match octets.len() {
        4 => std::net::IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
        _ => std::net::IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
    };
    Some(address.to_string())
}
