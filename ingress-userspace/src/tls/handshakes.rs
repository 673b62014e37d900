//! What each server name gets.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use rustls::ServerConfig;

use super::{
    Lasting,
    class::{Class, Demand},
    ticket::Keys,
    verify::Verifier,
};
use crate::{
    certificates::Certificates,
    model::{HostName, Model, ObjectRef, TicketKey, TlsSettings},
    route::Names,
};

/// The handshakes of one snapshot.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    /// Which class a name is of: index into the classes. As hosts are found for requests.
    names: Names<usize>,
    /// The first is that of names that no host has, and of clients without any: the catch-all's.
    classes: Vec<Class>,
    /// Index into `classes`.
    places: HashMap<Demand, usize>,
    settings: TlsSettings,
    ticket_keys: Vec<TicketKey>,
    keys: Option<Keys>,
    certificates: Arc<Certificates>,
}

/// What a client hello is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The handshake goes on with this configuration. The client's certificate, if one was asked
    /// for, is judged afterwards.
    Go(Arc<ServerConfig>, Option<Arc<Verifier>>),
    /// `ssl-reject-handshake`, and no host has the name: alert 112 (RFC 6066, section 3).
    UnknownName,
    /// The host's class cannot be set up.
    Refuse,
}

/// A server name as hosts are looked up by.
pub(super) fn lookup_name(name: &str) -> Cow<'_, str> {
    let name = name.trim_end_matches('.');
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

impl Handshakes {
    /// The handshakes of a model. What did not change since these is not made again; sessions of
    /// classes that stay can be resumed.
    pub(crate) fn next(&self, model: &Model, lasting: &Lasting) -> Self {
        let settings = &model.settings.tls;
        lasting.sessions.resize(settings.sessions, settings.session_timeout);
        let keys = match &self.keys {
            Some(keys) if self.ticket_keys == model.ticket_keys => keys.clone(),
            _ => Keys::new(&model.ticket_keys, &lasting.own_keys),
        };
        let certificates = Arc::new(self.certificates.next(model));
        let mut classes = Vec::new();
        let mut places = HashMap::new();
        let mut class = |demand: Demand| {
            *places.entry(demand).or_insert_with_key(|demand| {
                let earlier = self.places.get(demand).and_then(|place| self.classes.get(*place));
                classes.push(Class::new(demand, earlier, settings, &keys, &certificates, lasting));
                classes.len() - 1
            })
        };
        let any = model.hosts.iter().find(|host| host.name == HostName::CatchAll);
        class(Demand::of(any.map(|host| &**host), &model.settings));
        let ordinary = class(Demand::of(None, &model.settings));
        let mut names = Names::with_room(model.hosts.len());
        for host in model.hosts.iter() {
            let class = match &host.handshake {
                Some(_) => class(Demand::of(Some(host), &model.settings)),
                None => ordinary,
            };
            names.insert(&host.name, class);
            for alias in &host.aliases {
                names.insert_alias(&alias.name, class);
            }
        }
        Self {
            names,
            classes,
            places,
            settings: settings.clone(),
            ticket_keys: model.ticket_keys.clone(),
            keys: Some(keys),
            certificates,
        }
    }

    /// The Secret of the certificate that is presented for this server name; `None`: the self-signed
    /// one is.
    pub(crate) fn certificate(&self, server_name: Option<&str>) -> Option<&ObjectRef> {
        let name = server_name.map(lookup_name);
        self.certificates.secret(name.as_deref())
    }

    /// What the client of this server name gets.
    pub(crate) fn answer(&self, server_name: Option<&str>) -> Answer {
        let place = match server_name.map(|name| self.names.find(&lookup_name(name))) {
            Some(Some(place)) => *place,
            _ if self.settings.reject_unknown_names => return Answer::UnknownName,
            _ => 0,
        };
        let Some(class) = self.classes.get(place) else { return Answer::Refuse };
        match &class.config {
            Some(config) => Answer::Go(Arc::clone(config), class.verifier.clone()),
            None => Answer::Refuse,
        }
    }
}
