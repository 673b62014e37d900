//! What the host asks of clients' certificates (reference section 2, steps 4 to 6).

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    proxy::{client::Client, respond::Failure},
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
    Elsewhere(HeaderValue),
}

/// Whether a request to this host, called `name` by the client, may enter.
pub(super) fn enter<'c>(
    client: &'c Client,
    host: &'c HostTable,
    name: &str,
) -> Result<Entry<'c>, Failure> {
    let asks = host.model().handshake.as_deref().and_then(|own| own.client_auth.as_ref());
    let Some(auth) = asks else { return Ok(Entry::Open) };
    match admit(auth, client.identity.get(), name) {
        Admission::Pass(headers) => Ok(Entry::With(headers)),
        Admission::ErrorPage(page) => {
            HeaderValue::from_str(page).map(Entry::Elsewhere).map_err(|_checked| Failure::Forbidden)
        }
        Admission::BadCertificate => Err(Failure::BadCertificate),
        Admission::NoCertificate => Err(Failure::NoCertificate),
        Admission::Misdirected => Err(Failure::Misdirected),
        Admission::Forbidden => Err(Failure::Forbidden),
    }
}

impl Entry<'_> {
    /// Tells the upstream; nobody else can.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        let Entry::With(own) = self else { return };
        for name in ClientHeaders::NAMES {
            headers.remove(name);
        }
        for (name, [begin, end]) in own.fields() {
            if let Ok(value) = HeaderValue::try_from([begin, end].concat()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}
