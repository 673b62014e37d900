//! What became of the cluster's objects, with ingress-nginx's names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{super::Board, family, page::Page};
use crate::{
    ledger::{BOUNDS, Durations},
    model::{Certificate, Model, Target},
    stores::{Key, Stores},
};

pub(super) fn write(page: &mut Page<'_>, board: &Board) -> fmt::Result {
    let snapshot = board.reader.current();
    let changes = board.ledger.changes();
    page.whole(&family::SUCCESS, changes.published)?;
    page.whole(&family::ERRORS, board.ledger.failures())?;
    page.single(&family::CONFIG_HASH, board.hashes.of(&snapshot.model))?;
    page.whole(&family::CONFIG_SUCCESSFUL, u64::from(changes.is_successful))?;
    page.single(&family::CONFIG_TIME, changes.at)?;
    checks(page, board)?;
    certificates(page, board, &snapshot.model)?;
    if let (Some(name), Some(leads)) = (&board.election, board.ledger.leads()) {
        page.by(&family::LEADER, [(&**name, u64::from(leads))])?;
    }
    let mut lines = page.family(&family::ORPHAN)?;
    for ((namespace, ingress), kinds) in &orphans(&snapshot.model, &board.stores()) {
        for kind in kinds {
            lines.whole(&[namespace, ingress, kind], 1)?;
        }
    }
    let mut lines = page.family(&family::BUILD)?;
    lines.whole(&["penstock", env!("CARGO_PKG_VERSION"), ""], 1)
}

/// How long changes took.
pub(super) fn durations(page: &mut Page<'_>, board: &Board) -> fmt::Result {
    let changes = board.ledger.changes();
    for (family, durations) in [
        (&family::TRANSLATE_DURATION, changes.translate),
        (&family::APPLY_DURATION, changes.apply),
        (&family::LIVE_DURATION, changes.live),
    ] {
        let Durations { sum, buckets } = durations;
        let bounds = BOUNDS.into_iter().chain([f64::MAX]);
        let shown: Vec<_> = bounds.zip(buckets).collect();
        let mut lines = page.family(family)?;
        let labels = lines.labels(&[]);
        lines.histogram(&labels, sum, buckets.iter().sum(), &shown)?;
    }
    Ok(())
}

fn checks(page: &mut Page<'_>, board: &Board) -> fmt::Result {
    let (checks, by_ingress) = board.ledger.checks();
    let mut lines = page.family(&family::CHECK_SUCCESS)?;
    for ((namespace, ingress), verdicts) in &by_ingress {
        lines.whole(&[namespace, ingress], verdicts.allowed)?;
    }
    let mut lines = page.family(&family::CHECK_ERRORS)?;
    for ((namespace, ingress), verdicts) in &by_ingress {
        lines.whole(&[namespace, ingress], verdicts.refused)?;
    }
    if checks.any {
        page.single(&family::ADMISSION_ROUNDTRIP, checks.roundtrip)?;
        page.single(&family::ADMISSION_TESTED, checks.tested)?;
        page.whole(&family::ADMISSION_INGRESSES, checks.ingresses)?;
    }
    Ok(())
}

/// Labels of a certificate.
struct Described {
    end: i64,
    organization: String,
    common_name: String,
    serial: String,
    algorithm: String,
}

fn describe(certificate: &Certificate) -> Option<Described> {
    let (_, parsed) = X509Certificate::from_der(certificate.chain.first()?).ok()?;
    let first = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let issuer = parsed.issuer();
    let algorithm = match parsed.public_key().parsed() {
        Ok(x509_parser::public_key::PublicKey::RSA(_)) => "RSA",
        Ok(x509_parser::public_key::PublicKey::EC(_)) => "ECDSA",
        _ => "unknown",
    };
    Some(Described {
        end: parsed.validity().not_after.timestamp(),
        organization: first(issuer.iter_organization().find_map(|own| own.as_str().ok())),
        common_name: first(issuer.iter_common_name().find_map(|own| own.as_str().ok())),
        serial: parsed.serial.to_string(),
        algorithm: algorithm.to_owned(),
    })
}

/// The certificates that hosts present; when they end only by the leader, as ingress-nginx does, so
/// that an alert fires once. Who elects nobody leads.
fn certificates(page: &mut Page<'_>, board: &Board, model: &Model) -> fmt::Result {
    let described: Vec<_> = model.certificates.iter().map(|own| describe(own)).collect();
    let mut shown = Vec::new();
    for host in model.hosts.iter() {
        let id = host.certificate.or(host.tls.then_some(model.default_certificate).flatten());
        let Some(place) = id.and_then(|id| usize::try_from(id.0).ok()) else { continue };
        if let (Some(own), Some(Some(described))) =
            (model.certificates.get(place), described.get(place))
        {
            shown.push((super::super::state::host_name(&host.name), own, described));
        }
    }
    let class = board.controller_class.as_str();
    if board.ledger.leads().unwrap_or(board.election.is_none() || !board.is_cluster) {
        let mut lines = page.family(&family::SSL_EXPIRE)?;
        for (host, own, described) in &shown {
            let Key { namespace, name } = key(own);
            let identifier = format!("{namespace}-{name}");
            let values = [&*namespace, class, host, &*name, &*identifier];
            lines.value(&values, described.end as f64)?;
        }
    }
    let mut lines = page.family(&family::SSL_INFO)?;
    for (host, own, described) in &shown {
        let Key { namespace, name } = key(own);
        let identifier = format!("{namespace}-{name}");
        let Described { organization, common_name, serial, algorithm, .. } = described;
        let values = [
            &*namespace,
            class,
            host,
            &*name,
            &*identifier,
            organization,
            common_name,
            serial,
            algorithm,
        ];
        lines.whole(&values, 1)?;
    }
    Ok(())
}

fn key(certificate: &Certificate) -> Key {
    Key::new(&*certificate.secret.namespace, &*certificate.secret.name)
}

/// Ingresses with Services that nobody is behind, by namespace and name.
fn orphans(
    model: &Model,
    stores: &Stores,
) -> BTreeMap<(Arc<str>, Arc<str>), BTreeSet<&'static str>> {
    let mut orphans: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for route in model.hosts.iter().flat_map(|host| &host.routes) {
        let Target::Backend(id) = route.target else { continue };
        let backend = usize::try_from(id.0).ok().and_then(|id| model.backends.get(id));
        let Some(backend) = backend.filter(|backend| backend.endpoints.is_empty()) else {
            continue;
        };
        if route.ingress.kind != "Ingress" {
            continue;
        }
        let service = stores.services.get(&backend.key.namespace, &backend.key.service);
        let kind = match service.is_some() {
            true => "no-endpoint",
            false => "no-service",
        };
        let ingress = (Arc::clone(&route.ingress.namespace), Arc::clone(&route.ingress.name));
        orphans.entry(ingress).or_default().insert(kind);
    }
    orphans
}
