//! What the host asks of clients' certificates (reference section 2, steps 4 to 6).

use super::authority::without_port;
use crate::{
    proxy::{
        client::Client,
        message::Fields,
        respond::Failure,
        trial::{Says, Stage},
    },
    route::HostTable,
    tls::{Admission, ClientHeaders, admit},
};

/// A request that may enter.
pub(super) enum Entry<'c> {
    /// The host asks for nothing, and leaves what the client says about certificates alone.
    Open,
    /// The upstream is told about the client.
    With(ClientHeaders<'c>),
    /// It may not: it is sent to `auth-tls-error-page`.
    Elsewhere(&'c str),
}

/// Whether a request to this host, called `authority` by the client, may enter.
pub(super) fn enter<'c>(
    client: &'c Client,
    host: &'c HostTable,
    authority: &str,
) -> Result<Entry<'c>, Failure> {
    let asks = host.handshake().and_then(|own| own.client_auth.as_ref());
    let Some(auth) = asks else { return Ok(Entry::Open) };
    client.note(Stage::ClientCertificate, Says::Pass, || match client.tls {
        true => "the client is taken to have none".to_owned(),
        false => "plain HTTP".to_owned(),
    });
    let name = without_port(authority).to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    match admit(auth, client.identity.get(), name) {
        Admission::Pass(headers) => Ok(Entry::With(headers)),
        Admission::ErrorPage(page) => Ok(Entry::Elsewhere(page)),
        Admission::BadCertificate => Err(Failure::BadCertificate),
        Admission::NoCertificate => Err(Failure::NoCertificate),
        Admission::Misdirected => Err(Failure::Misdirected),
        Admission::Forbidden => Err(Failure::Forbidden),
    }
}

impl Entry<'_> {
    /// Tells the upstream; nobody else can.
    pub(super) fn apply(&self, fields: &mut Fields) {
        let Entry::With(own) = self else { return };
        for name in ClientHeaders::NAMES {
            fields.remove_alike(name.as_bytes());
        }
        for (name, [begin, end]) in own.fields() {
            fields.push(name.as_bytes(), [begin, end].concat().as_bytes());
        }
    }
}
