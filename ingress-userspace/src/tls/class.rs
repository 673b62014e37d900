//! Hosts whose handshakes ask for the same share a class: one rustls configuration, and sessions
//! that no other class resumes.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::{
    ServerConfig,
    server::{
        ClientHello, NoClientAuth, NoServerSessionStorage, ResolvesServerCert,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};

use super::{
    Lasting,
    session::ClassSessions,
    suite,
    ticket::{ClassTickets, Keys},
    verify::Verifier,
};
use crate::{
    certificates::Certificates,
    model::{ClientAuth, ClientRule, Host, Settings, Suite, TlsSettings},
};

/// What a class is known by, to other replicas too: sessions and tickets carry it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Label([u8; 32]);

impl Label {
    /// The digest of these parts, in this order.
    pub(super) fn of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut label = [0; 32];
        label.copy_from_slice(context.finish().as_ref());
        Self(label)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Label({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// What the hosts of a class ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Demand {
    suites: Vec<Suite>,
    prefer_own_suites: bool,
    /// HTTP/2 is offered.
    http2: bool,
    /// Not [`ClientAuth::Broken`]: such a host is served as one without, and answers 403.
    rule: Option<Arc<ClientRule>>,
}

impl Demand {
    pub(super) fn of(host: Option<&Host>, settings: &Settings) -> Self {
        let http2 = settings.client.http2;
        let settings = &settings.tls;
        let own = host.and_then(|host| host.handshake.as_deref());
        let suites = own.and_then(|own| own.suites.as_ref()).unwrap_or(&settings.suites);
        let prefer = own.and_then(|own| own.prefer_own_suites);
        let rule = match own.and_then(|own| own.client_auth.as_ref()) {
            Some(ClientAuth::Rule(rule)) => Some(Arc::clone(rule)),
            Some(ClientAuth::Broken) | None => None,
        };
        Self {
            suites: suites.clone(),
            prefer_own_suites: prefer.unwrap_or(settings.prefer_own_suites),
            http2,
            rule,
        }
    }

    /// Two demands with one label are the same to a session: what a client proved to one host of
    /// the class it has proved to all.
    fn label(&self) -> Label {
        let mut parts = vec![
            format!("{:?} {}", self.suites, self.prefer_own_suites).into_bytes(),
            format!("{:?}", self.rule.as_ref().map(|rule| (rule.verify, rule.depth))).into_bytes(),
        ];
        if let Some(rule) = &self.rule {
            parts.push(rule.authority.secret.to_string().into_bytes());
            parts.push(b"roots".to_vec());
            parts.extend(rule.authority.roots.iter().cloned());
            parts.push(b"lists".to_vec());
            parts.extend(rule.authority.lists.iter().cloned());
        }
        Label::of(parts.iter().map(|part| &**part))
    }
}

/// A class, ready for handshakes.
#[derive(Debug)]
pub(crate) struct Class {
    /// `None`: it cannot be set up, and its hosts refuse handshakes.
    pub(super) config: Option<Arc<ServerConfig>>,
    /// What is made of clients' certificates; `None`: none is asked for.
    pub(super) verifier: Option<Arc<Verifier>>,
}

impl Class {
    /// The class of a demand. What an earlier one of it had to compute is taken from there.
    pub(super) fn new(
        demand: &Demand,
        earlier: Option<&Self>,
        settings: &TlsSettings,
        keys: &Keys,
        certificates: &Arc<Certificates>,
        lasting: &Lasting,
    ) -> Self {
        let verifier = match (&demand.rule, earlier) {
            (None, _) => Ok(None),
            (Some(_), Some(Self { verifier: Some(verifier), .. })) => {
                Ok(Some(Arc::clone(verifier)))
            }
            (Some(rule), _) => Verifier::new(rule).map(Arc::new).map(Some),
        };
        let (config, verifier) = match verifier.and_then(|verifier| {
            let config = config(demand, verifier.as_ref(), settings, keys, certificates, lasting)?;
            Ok((config, verifier))
        }) {
            Ok((config, verifier)) => (Some(Arc::new(config)), verifier),
            Err(error) => {
                tracing::error!(%error, ?demand, "handshakes of these hosts are refused");
                (None, None)
            }
        };
        Self { config, verifier }
    }
}

fn config(
    demand: &Demand,
    verifier: Option<&Arc<Verifier>>,
    settings: &TlsSettings,
    keys: &Keys,
    certificates: &Arc<Certificates>,
    lasting: &Lasting,
) -> Result<ServerConfig, rustls::Error> {
    let asking: Arc<dyn ClientCertVerifier> = match verifier.and_then(Verifier::asking) {
        Some(asking) => asking,
        None => Arc::new(NoClientAuth),
    };
    let mut config =
        ServerConfig::builder_with_provider(suite::provider(&demand.suites, &settings.groups))
            .with_protocol_versions(&suite::versions(settings))?
            .with_client_cert_verifier(asking)
            .with_cert_resolver(Arc::new(Resolver {
                certificates: Arc::clone(certificates),
                self_signed: Arc::clone(&lasting.self_signed),
            }));
    let protocols: &[&[u8]] = if demand.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.ignore_client_order = demand.prefer_own_suites;
    let label = demand.label();
    let sessions = settings.sessions > 0;
    config.session_storage = if sessions {
        Arc::new(ClassSessions { all: Arc::clone(&lasting.sessions), label })
    } else {
        Arc::new(NoServerSessionStorage {})
    };
    if settings.tickets {
        let lifetime = settings.session_timeout;
        config.ticketer = Arc::new(ClassTickets { keys: keys.clone(), label, lifetime });
    }
    // A client gets a new one with each resumption; a second in advance would be made for all and
    // used by few.
    config.send_tls13_tickets = usize::from(sessions || settings.tickets);
    Ok(config)
}

#[derive(Debug)]
struct Resolver {
    certificates: Arc<Certificates>,
    self_signed: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = match hello.server_name() {
            Some(name) => self.certificates.find(Some(&super::handshakes::lookup_name(name))),
            None => self.certificates.find(None),
        };
        Some(found.unwrap_or_else(|| Arc::clone(&self.self_signed)))
    }
}
