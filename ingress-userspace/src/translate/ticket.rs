//! Keys of session tickets: `--tls-ticket-secret`, and the ConfigMap's `ssl-session-ticket-key`.

use data_encoding::BASE64;
use k8s_openapi::api::core::v1::Secret;

use super::report::Report;
use crate::model::TicketKey;

/// nginx's lengths: for AES-128 and AES-256. Either holds more than enough randomness.
const LENGTHS: [usize; 2] = [48, 80];

/// The keys of the Secret, its entries in the order of their names. One that is none is left out.
pub(super) fn of_secret(
    secret: Option<&std::sync::Arc<Secret>>,
    report: &mut Report<'_>,
) -> Vec<TicketKey> {
    const OTHERWISE: &str = "sessions are resumed by the process alone that began them";
    let Some(secret) = secret else {
        report.error("--tls-ticket-secret", format!("does not exist; {OTHERWISE}"));
        return Vec::new();
    };
    let mut keys = Vec::new();
    for (name, value) in secret.data.iter().flatten() {
        match raw(&value.0).or_else(|| encoded(&value.0)) {
            Some(key) => keys.push(key),
            None => report.error(
                format!("data[{name}]"),
                "is not a key of 48 or 80 bytes, plain or in Base64; it is left out",
            ),
        }
    }
    if keys.is_empty() {
        report.error("--tls-ticket-secret", format!("has no key; {OTHERWISE}"));
    }
    keys
}

/// The keys of `ssl-session-ticket-key`: Base64, several between blanks or commas.
pub(super) fn of_text(text: &str) -> Option<Vec<TicketKey>> {
    let items = text.split([',', ' ', '\n']).filter(|item| !item.is_empty());
    items.map(|item| encoded(item.as_bytes())).collect()
}

fn raw(bytes: &[u8]) -> Option<TicketKey> {
    LENGTHS.contains(&bytes.len()).then(|| TicketKey(bytes.to_vec()))
}

fn encoded(text: &[u8]) -> Option<TicketKey> {
    // `openssl rand -base64 80` breaks lines.
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    raw(&BASE64.decode(&text).ok()?)
}
