//! The API server as a source: every kind is listed, then watched, and what comes of it is gathered
//! into the stores.
//!
//! `feed` follows one kind, `session` asks the API server, `gather` puts together what the feeds tell
//! and decides when it is complete. Of Secrets and ConfigMaps only names and versions are followed;
//! those that something names (`translate::references`) are fetched one by one (`referenced`), so that
//! no other is ever in memory. A watch for each of them would be a connection for each, at every node.

mod backoff;
mod feed;
mod gather;
mod kind;
mod lines;
mod referenced;
mod session;
mod turns;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};

use self::{gather::Gatherer, session::Session};
use super::{SourceError, SourceState, Stopper, Update};
use crate::{
    config::{Config, L4Mode},
    kubernetes::{Access, Publish},
    translate::{self, Reference},
};

/// What is to be known of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// What decides which Ingresses are served, and by that what they refer to.
    pub options: translate::Options,
    /// Objects that are needed whatever Ingresses say.
    pub always: BTreeSet<Reference>,
    /// The nodes are needed.
    pub nodes: bool,
    /// The namespace of the agents' own Service, where it is given addresses or they are steered.
    pub own_service: Option<Arc<str>>,
}

impl Watched {
    /// What this configuration makes use of.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let key = config.l4.key_secret.as_ref();
        let key = key.map(|(namespace, name)| {
            Reference::Secret(crate::stores::Key::new(namespace.as_str(), name.as_str()))
        });
        let steers = config.l4.mode != L4Mode::Off && !config.l4.interfaces.is_empty();
        let own_service = match &config.writes.publish {
            // Else only its addresses are asked for, by the leader.
            Publish::Service { namespace, .. } if steers || !config.writes.vip_pool.is_empty() => {
                Some(namespace.as_str().into())
            }
            _ => None,
        };
        Self {
            options: config.translate.clone(),
            always: key.into_iter().collect(),
            nodes: steers,
            own_service,
        }
    }

    /// Where objects of a kind are looked for: everywhere, or in these namespaces only.
    fn scopes(&self, of: Scoped) -> Vec<Scope> {
        let Some(own) = &self.options.watch_namespace else { return vec![Scope::All] };
        let options = &self.options;
        let flags = match of {
            Scoped::Ingresses => [None, None, None],
            Scoped::Services => {
                let members = options.members_service.as_ref();
                [options.default_backend_service.as_ref(), members, None]
            }
            Scoped::Secrets => {
                let key =
                    [options.default_ssl_certificate.as_ref(), options.tls_ticket_secret.as_ref()];
                [key[0], key[1], None]
            }
            Scoped::ConfigMaps => [
                options.configmap.as_ref(),
                options.tcp_services.as_ref(),
                options.udp_services.as_ref(),
            ],
        };
        let mut namespaces = BTreeSet::from([own.as_str()]);
        namespaces.extend(flags.into_iter().flatten().map(|(namespace, _)| namespace.as_str()));
        if of == Scoped::Secrets {
            namespaces.extend(self.always.iter().map(|one| &*one.key().namespace));
        }
        if of == Scoped::Services {
            namespaces.extend(self.own_service.as_deref());
        }
        namespaces.into_iter().map(|name| Scope::Namespace(name.into())).collect()
    }
}

/// What is looked for in the namespaces that are watched, and in those that flags name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scoped {
    Ingresses,
    Services,
    Secrets,
    ConfigMaps,
}

/// Where objects are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    All,
    Namespace(Arc<str>),
}

impl Scope {
    fn namespace(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Namespace(name) => Some(name),
        }
    }

    fn holds(&self, namespace: &str) -> bool {
        self.namespace().is_none_or(|own| own == namespace)
    }
}

/// The objects of a cluster, listed and watched.
pub struct Api {
    runtime: Runtime,
    session: Arc<Session>,
    watched: Watched,
    state: Arc<SourceState>,
    stop: Arc<watch::Sender<bool>>,
}

impl Api {
    /// Learns which API server is meant and as whom it is asked; does not ask it yet.
    ///
    /// # Errors
    /// [`SourceError::Client`], [`SourceError::Runtime`].
    pub fn open(access: Access, watched: Watched) -> Result<Self, SourceError> {
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(SourceError::Runtime)?;
        let client = runtime.block_on(access.client())?;
        Ok(Self {
            runtime,
            session: Arc::new(Session::new(client, Some(access))),
            watched,
            state: Arc::default(),
            stop: Arc::new(watch::Sender::new(false)),
        })
    }

    /// What ends [`run`](Self::run), from any thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        let stop = Arc::clone(&self.stop);
        Stopper::new(move || {
            stop.send_replace(true);
        })
    }

    /// Whether the API server answers.
    #[must_use]
    pub fn state(&self) -> Arc<SourceState> {
        Arc::clone(&self.state)
    }

    /// Calls `sink` with the first complete state as soon as it is known, however long that takes,
    /// then some milliseconds after every change. Returns when stopped; blocks its thread.
    pub fn run(self, sink: impl FnMut(Update) + Send + 'static) {
        let Self { runtime, session, watched, state, stop } = self;
        let mut stopped = stop.subscribe();
        runtime.block_on(async {
            let gatherer = Gatherer::start(&session, watched, &state);
            tokio::select! {
                () = gatherer.run(sink) => {}
                _sender_gone = stopped.wait_for(|stop| *stop) => {}
            }
        });
        // A name that is being resolved is waited for by nobody.
        runtime.shutdown_background();
    }
}
