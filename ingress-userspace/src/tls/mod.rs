//! How handshakes are answered: which configuration and certificate a server name gets, which
//! sessions are resumed, and what a client's certificate is worth. Knows no socket and no HTTP.
//!
//! ```text
//! server name ─→ Handshakes ─→ Class: a rustls configuration for all hosts that ask for the same
//!                    │            ├─ certificate   (crate::certificates)
//!                    │            └─ sessions, tickets: sealed to the class
//!                    └→ Verifier ─→ Identity of the connection ─→ admit, for each request
//! ```
#![forbid(unsafe_code)]

mod admission;
mod class;
mod handshakes;
mod name;
mod session;
mod suite;
mod ticket;
mod verify;

#[cfg(test)]
mod tests;

pub(crate) use admission::{Admission, ClientHeaders, admit};
pub(crate) use handshakes::{Answer, Handshakes};
pub(crate) use verify::{
    Agreed, ClientVerdict, Identity, Verifier, is_authority, is_revocation_list, subject_pattern,
};

use std::sync::Arc;

use rustls::sign::CertifiedKey;

use crate::certificates;

/// Why TLS cannot be set up: a failure of the cryptography library, which has no randomness.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No self-signed certificate.
    #[error("cannot make the self-signed certificate")]
    SelfSigned(#[from] rcgen::Error),
    /// No key for session tickets.
    #[error("cannot make a key for session tickets")]
    TicketKey(#[from] ticket::NoRandomness),
}

/// What outlives snapshots.
#[derive(Debug)]
pub(crate) struct Lasting {
    self_signed: Arc<CertifiedKey>,
    sessions: Arc<session::Sessions>,
    own_keys: Arc<ticket::OwnKeys>,
}

impl Lasting {
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn new() -> Result<Self, TlsError> {
        Ok(Self {
            self_signed: Arc::new(certificates::self_signed()?),
            sessions: Arc::default(),
            own_keys: Arc::new(ticket::OwnKeys::new()?),
        })
    }
}
