//! A number for a configuration: equal in every replica that serves the same.
//!
//! It is made of what values show for debugging, bit by bit. Ids are places in this process' lists,
//! which depend on the order in which objects came and went: what they stand for is taken instead.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    hash::Hasher as _,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use crate::model::{Host, HostName, Model};

/// What was computed for earlier pages, of hosts that are the same still.
#[derive(Debug, Default)]
pub(crate) struct Hashes(Mutex<BTreeMap<HostName, (Weak<Host>, u64)>>);

impl Hashes {
    /// A number that is another one when hosts, routes or settings are. Whole, and exact as a
    /// floating-point number.
    pub(super) fn of(&self, model: &Model) -> f64 {
        let mut all = Text::new(model);
        let _infallible = write!(all, "{:?}", model.settings);
        let mut all = all.hash;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = BTreeMap::new();
        for host in model.hosts.iter() {
            let hash = match known.get(&host.name) {
                // What it was computed of cannot be another host now: it is held. Nor can its ids
                // stand for anything else: a host whose backend is another one is another host.
                Some((own, hash)) if own.as_ptr() == Arc::as_ptr(host) => *hash,
                _ => {
                    let mut text = Text::new(model);
                    let _infallible = write!(text, "{host:?}");
                    text.hash.finish()
                }
            };
            all.write_u64(hash);
            next.insert(host.name.clone(), (Arc::downgrade(host), hash));
        }
        *known = next;
        // 53 bits are exact.
        (all.finish() >> 11) as f64
    }
}

/// Text on its way into a hash.
struct Text<'m> {
    hash: Fnv,
    model: &'m Model,
    place: Place,
}

/// How much of an id was written just now: `BackendId`, `(`, its number, each a piece of its own.
#[derive(Clone, Copy)]
enum Place {
    Elsewhere,
    AfterName(List),
    AtNumber(List),
}

#[derive(Clone, Copy)]
enum List {
    Backends,
    Certificates,
}

impl<'m> Text<'m> {
    fn new(model: &'m Model) -> Self {
        Self { hash: Fnv::default(), model, place: Place::Elsewhere }
    }

    /// What this place of a list holds; `None`: there is no such place.
    fn held(&self, list: List, place: usize) -> Option<String> {
        match list {
            List::Backends => Some(format!("{:?}", self.model.backends.get(place)?.key)),
            List::Certificates => Some(self.model.certificates.get(place)?.secret.to_string()),
        }
    }
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let place = std::mem::replace(&mut self.place, Place::Elsewhere);
        match (place, text) {
            (Place::AtNumber(list), number) => {
                let held = number.parse().ok().and_then(|place| self.held(list, place));
                if let Some(held) = held {
                    self.hash.write(held.as_bytes());
                    return Ok(());
                }
            }
            (Place::AfterName(list), "(") => self.place = Place::AtNumber(list),
            (_, "BackendId") => self.place = Place::AfterName(List::Backends),
            (_, "CertificateId") => self.place = Place::AfterName(List::Certificates),
            _ => {}
        }
        self.hash.write(text.as_bytes());
        Ok(())
    }
}

/// FNV-1a, for text that is written bit by bit: the same in every process.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        source::parse::tests::stores,
        stores::Stores,
        translate::{Options, Translator},
    };

    fn ingress(name: &str, service: &str) -> String {
        format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\n\
             metadata: {{name: {name}, annotations: {{kubernetes.io/ingress.class: penstock,\n  \
             nginx.ingress.kubernetes.io/custom-http-errors: '404',\n  \
             nginx.ingress.kubernetes.io/default-backend: {service}}}}}\n\
             spec: {{rules: [{{host: {name}.test, http: {{paths: [{{path: /, pathType: Prefix,\n  \
             backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}]}}}}]}}\n"
        )
    }

    fn state(ingresses: &[(&str, &str)]) -> Stores {
        let mut text: String =
            ingresses.iter().map(|(name, service)| ingress(name, service)).collect();
        for service in ["one", "two", "three"] {
            text += &format!(
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {service}}}\n\
                 spec: {{ports: [{{port: 80}}]}}\n"
            );
        }
        stores(&text).0
    }

    /// The last of these states, one after the other in one process, and its number.
    fn last(history: &[&[(&str, &str)]]) -> (Arc<Model>, f64) {
        let (mut translator, hashes) = (Translator::new(Options::default()), Hashes::default());
        let each = history.iter().map(|ingresses| {
            let model = translator.translate(&state(ingresses), &Arc::default()).model;
            let hash = hashes.of(&model);
            (model, hash)
        });
        each.last().expect("there is one")
    }

    fn hash(ingresses: &[(&str, &str)]) -> f64 {
        last(&[ingresses]).1
    }

    #[test]
    fn replicas_with_one_configuration_have_one_number_however_they_came_to_it() {
        let [a, b, c] = [("a", "one"), ("b", "two"), ("c", "three")];
        let (model, plain) = last(&[&[a, b, c]]);
        let (other, hash) = last(&[&[a], &[a, b], &[a, b, c]]);
        assert_eq!(hash, plain);
        // It is not for want of other ids.
        assert_ne!(format!("{:?}", model.hosts), format!("{:?}", other.hosts));
        assert_eq!(last(&[&[("a", "three"), b], &[b], &[a, b, c]]).1, plain);
    }

    #[test]
    fn another_service_host_or_setting_is_another_number() {
        let (model, before) = last(&[&[("a", "one"), ("b", "two")]]);
        assert_ne!(hash(&[("a", "two"), ("b", "one")]), before);
        assert_ne!(hash(&[("a", "one"), ("c", "two")]), before);
        let mut model = Model::clone(&model);
        assert_eq!(Hashes::default().of(&model), before);
        model.settings.https_port += 1;
        assert_ne!(Hashes::default().of(&model), before);
    }
}
