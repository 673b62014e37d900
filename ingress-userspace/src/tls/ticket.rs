//! Session tickets: the state of a session, sealed and kept by its client (RFC 5077; RFC 8446,
//! section 4.6.1). With keys from a Secret every replica opens what another has sealed.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey},
    hkdf,
};
use rustls::server::ProducesTickets;

use super::class::Label;
use crate::model::TicketKey;

/// The name of its key, which a ticket begins with.
const NAME: usize = 16;
const NONCE: usize = 12;
/// When the ticket was sealed: seconds since 1970, the first bytes of what is sealed.
const TIME: usize = 8;
/// How far the clock of another replica may be ahead.
const SKEW: u64 = 60;
/// A process's own keys are replaced this often, unless tickets live longer.
const ROTATION: Duration = Duration::from_secs(3600);

/// The cryptography library has no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the system has no randomness")]
pub struct NoRandomness;

/// A key that is ready to be used.
pub(super) struct Key {
    name: [u8; NAME],
    /// Unlike plain GCM it keeps its strength when the same random nonce comes twice, which many
    /// replicas and a key that nobody rotates would make likely in the end (RFC 8452).
    sealing: RandomizedNonceKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Key {
    /// From the whole of the material: its parts need not be what nginx takes them for. `None` if
    /// the library fails.
    fn derive(material: &[u8]) -> Option<Self> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"penstock ticket key").extract(material);
        let mut bytes = [0; NAME + 32];
        let length = Length(bytes.len());
        secret.expand(&[b"name and key"], length).ok()?.fill(&mut bytes).ok()?;
        let (name, key) = bytes.split_first_chunk::<NAME>()?;
        let sealing = RandomizedNonceKey::new(&AES_256_GCM_SIV, key).ok()?;
        Some(Self { name: *name, sealing })
    }

    fn random() -> Result<Self, NoRandomness> {
        let mut material = [0; 48];
        aws_lc_rs::rand::fill(&mut material).map_err(|_unspecified| NoRandomness)?;
        Self::derive(&material).ok_or(NoRandomness)
    }

    fn seal(&self, label: Label, plain: &[u8], now: u64) -> Option<Vec<u8>> {
        let mut sealed = Vec::with_capacity(TIME + plain.len() + AES_256_GCM_SIV.tag_len());
        sealed.extend_from_slice(&now.to_be_bytes());
        sealed.extend_from_slice(plain);
        let aad = Aad::from(label.as_bytes());
        let nonce = self.sealing.seal_in_place_append_tag(aad, &mut sealed).ok()?;
        Some([&self.name, &nonce.as_ref()[..], &sealed].concat())
    }

    /// What was sealed less than a lifetime ago.
    fn open(&self, label: Label, ticket: &[u8], now: u64, lifetime: u64) -> Option<Vec<u8>> {
        let (_name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut sealed = sealed.to_vec();
        let plain =
            self.sealing.open_in_place(nonce, Aad::from(label.as_bytes()), &mut sealed).ok()?;
        let (time, plain) = plain.split_first_chunk::<TIME>()?;
        let sealed_at = u64::from_be_bytes(*time);
        let fresh =
            sealed_at <= now.saturating_add(SKEW) && now.saturating_sub(sealed_at) < lifetime;
        fresh.then(|| plain.to_vec())
    }
}

/// Keys of this process alone, replaced from time to time.
#[derive(Debug)]
pub(super) struct OwnKeys(ArcSwap<Generation>);

#[derive(Debug)]
struct Generation {
    current: Arc<Key>,
    previous: Option<Arc<Key>>,
    since: Instant,
}

impl OwnKeys {
    pub(super) fn new() -> Result<Self, NoRandomness> {
        let current = Arc::new(Key::random()?);
        let generation = Generation { current, previous: None, since: Instant::now() };
        Ok(Self(ArcSwap::from_pointee(generation)))
    }

    /// The current key; replaces it when it has been for long enough.
    fn current(&self, lifetime: Duration, now: Instant) -> Arc<Key> {
        let generation = self.0.load();
        if now.saturating_duration_since(generation.since) < lifetime.max(ROTATION) {
            return Arc::clone(&generation.current);
        }
        let Ok(current) = Key::random().map(Arc::new) else {
            return Arc::clone(&generation.current);
        };
        let previous = Some(Arc::clone(&generation.current));
        let next = Generation { current: Arc::clone(&current), previous, since: now };
        // Of two workers that do this at once one wins; the other's key seals nothing.
        let before = self.0.compare_and_swap(&*generation, Arc::new(next));
        if Arc::ptr_eq(&before, &generation) { current } else { Arc::clone(&self.0.load().current) }
    }

    fn named(&self, name: &[u8; NAME]) -> Option<Arc<Key>> {
        let generation = self.0.load();
        let mut keys = [Some(&generation.current), generation.previous.as_ref()].into_iter();
        keys.find_map(|key| key.filter(|key| key.name == *name).cloned())
    }
}

/// The keys of one snapshot.
#[derive(Clone, Debug)]
pub(super) enum Keys {
    /// From the Secret: the first seals, all open. Never empty.
    Shared(Arc<[Key]>),
    /// This process's own.
    Own(Arc<OwnKeys>),
}

impl Keys {
    /// The Secret's keys or, without any, those of the process.
    pub(super) fn new(shared: &[TicketKey], own: &Arc<OwnKeys>) -> Self {
        let shared: Arc<[_]> = shared.iter().filter_map(|key| Key::derive(&key.0)).collect();
        if shared.is_empty() { Self::Own(Arc::clone(own)) } else { Self::Shared(shared) }
    }
}

/// The tickets of one class: another cannot open them, whatever key they share.
#[derive(Debug)]
pub(super) struct ClassTickets {
    pub(super) keys: Keys,
    pub(super) label: Label,
    pub(super) lifetime: Duration,
}

impl ProducesTickets for ClassTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        match &self.keys {
            Keys::Shared(keys) => keys.first()?.seal(self.label, plain, unix_now()),
            Keys::Own(keys) => {
                keys.current(self.lifetime, Instant::now()).seal(self.label, plain, unix_now())
            }
        }
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, _) = ticket.split_first_chunk::<NAME>()?;
        let lifetime = self.lifetime.as_secs();
        match &self.keys {
            Keys::Shared(keys) => {
                let key = keys.iter().find(|key| key.name == *name)?;
                key.open(self.label, ticket, unix_now(), lifetime)
            }
            Keys::Own(keys) => keys.named(name)?.open(self.label, ticket, unix_now(), lifetime),
        }
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str) -> Label {
        Label::of([text.as_bytes()])
    }

    fn shared(keys: &[u8], class: &str) -> ClassTickets {
        let keys: Vec<_> = keys.iter().map(|byte| TicketKey(vec![*byte; 48])).collect();
        let own = Arc::new(OwnKeys::new().expect("randomness"));
        ClassTickets {
            keys: Keys::new(&keys, &own),
            label: label(class),
            lifetime: Duration::from_secs(600),
        }
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let (old, both, new) = (shared(&[1], ""), shared(&[2, 1], ""), shared(&[2], ""));
        let ticket = old.encrypt(b"session").expect("sealed");
        assert_eq!(both.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(new.decrypt(&ticket), None);
        let ticket = both.encrypt(b"session").expect("sealed");
        assert_eq!(new.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(old.decrypt(&ticket), None);
    }

    #[test]
    fn another_class_cannot_open_a_ticket() {
        let ticket = shared(&[1], "one").encrypt(b"session").expect("sealed");
        assert_eq!(shared(&[1], "other").decrypt(&ticket), None);
    }

    #[test]
    fn a_changed_or_cut_ticket_opens_nothing() {
        let tickets = shared(&[1], "");
        let ticket = tickets.encrypt(b"session").expect("sealed");
        for length in 0..ticket.len() {
            assert_eq!(tickets.decrypt(&ticket[..length]), None, "cut to {length}");
        }
        for place in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "changed at {place}");
        }
    }

    #[test]
    fn a_ticket_is_worth_nothing_after_its_lifetime() {
        let key = Key::derive(&[1; 80]).expect("a key");
        let ticket = key.seal(label(""), b"session", 1_000_000).expect("sealed");
        let opens = |now| key.open(label(""), &ticket, now, 600).is_some();
        assert!(opens(1_000_000) && opens(1_000_599) && opens(1_000_000 - SKEW));
        assert!(!opens(1_000_600) && !opens(1_000_000 - SKEW - 1));
    }

    #[test]
    fn the_keys_of_a_process_are_replaced_and_the_last_one_still_opens() {
        let own = OwnKeys::new().expect("randomness");
        let lifetime = Duration::from_secs(600);
        let now = Instant::now();
        let first = own.current(lifetime, now);
        assert_eq!(own.current(lifetime, now + ROTATION / 2).name, first.name);
        let second = own.current(lifetime, now + ROTATION);
        assert_ne!(second.name, first.name);
        assert!(own.named(&first.name).is_some() && own.named(&second.name).is_some());
        let third = own.current(lifetime, now + ROTATION * 2);
        assert!(own.named(&first.name).is_none() && own.named(&third.name).is_some());
    }

    #[test]
    fn nothing_shows_a_key() {
        assert_eq!(format!("{:?}", TicketKey(vec![7; 48])), "TicketKey(..)");
        assert!(format!("{:?}", shared(&[7], "").keys).contains("Shared([Key(..)])"));
    }
}
