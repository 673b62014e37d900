//! The webhook's certificate: read from files, again when they change.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file as given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} holds no {what}", path.display())]
    Content {
        /// The file as given.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong.
        source: pem::Error,
    },
    /// Certificate and key are not of one another, or of a kind that is not known.
    #[error("the webhook's certificate cannot be used")]
    Unusable(#[from] rustls::Error),
    /// The address cannot be bound.
    #[error("cannot listen on --validating-webhook {address}")]
    Listen {
        /// The address as given.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No thread can be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl WebhookError {
    /// The flags or the files that they name have to be changed.
    #[must_use]
    pub fn is_of_the_user(&self) -> bool {
        !matches!(self, Self::Thread(_) | Self::Listen { .. })
    }
}

/// What handshakes are answered with, as the files have it.
#[derive(Debug)]
pub(super) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    present: Arc<ServerConfig>,
    /// What the files looked like when they were read.
    seen: [Option<Looks>; 2],
    looked: Instant,
}

/// Time, length and inode: a Secret that is mounted changes by another link.
type Looks = (SystemTime, u64, u64);

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub(super) fn open(certificate: &Path, key: &Path) -> Result<Self, WebhookError> {
        let seen = [certificate, key].map(looks);
        let present = read(certificate, key)?;
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        Ok(Self { certificate, key, present, seen, looked: Instant::now() })
    }

    /// The latest that can be used: one that is half written, or wrong, waits.
    pub(super) fn current(&mut self, now: Instant) -> Arc<ServerConfig> {
        if now.saturating_duration_since(self.looked) >= LOOK {
            self.looked = now;
            let seen = [&*self.certificate, &*self.key].map(looks);
            if seen != self.seen {
                match read(&self.certificate, &self.key) {
                    Ok(config) => {
                        tracing::info!("the webhook's certificate was read again");
                        self.present = config;
                    }
                    Err(error) => tracing::error!(%error, "the webhook's certificate stays"),
                }
                self.seen = seen;
            }
        }
        Arc::clone(&self.present)
    }
}

fn looks(path: &Path) -> Option<Looks> {
    use std::os::unix::fs::MetadataExt as _;

    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, WebhookError> {
    let text = |path: &Path| {
        fs::read(path).map_err(|source| WebhookError::Unreadable { path: path.to_owned(), source })
    };
    let wrong =
        |path: &Path, what, source| WebhookError::Content { path: path.to_owned(), what, source };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text(certificate)?).collect();
    let chain = match chain {
        Ok(chain) if !chain.is_empty() => chain,
        Ok(_) => return Err(wrong(certificate, "certificate", pem::Error::NoItemsFound)),
        Err(error) => return Err(wrong(certificate, "certificate", error)),
    };
    let key = PrivateKeyDer::from_pem_slice(&text(key)?)
        .map_err(|error| wrong(key, "private key", error))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(dir: &Path, name: &str) {
        let key = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
        fs::write(dir.join("cert"), key.cert.pem()).expect("writable");
        fs::write(dir.join("key"), key.signing_key.serialize_pem()).expect("writable");
    }

    #[test]
    fn files_are_read_again_when_they_change_and_wrong_ones_wait() {
        let dir = tempfile::tempdir().expect("a directory");
        let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
        assert!(Certificate::open(&cert, &key).is_err());
        pair(dir.path(), "one.test");
        let mut certificate = Certificate::open(&cert, &key).expect("it is right");
        let start = Instant::now();
        let first = certificate.current(start);
        fs::write(&key, "nonsense").expect("writable");
        assert!(Arc::ptr_eq(&certificate.current(start + LOOK * 2), &first));
        pair(dir.path(), "another-one.test");
        // Not before it is time to look.
        assert!(Arc::ptr_eq(&certificate.current(start + LOOK * 2), &first));
        let second = certificate.current(start + LOOK * 4);
        assert!(!Arc::ptr_eq(&second, &first));
        assert!(Arc::ptr_eq(&certificate.current(start + LOOK * 6), &second));
    }
}
