//! Names and passwords (reference section 8.2).

use super::stages::Located;
use crate::{
    model::Login,
    proxy::{
        client::Client,
        credentials::{Basic, Digest, Verdict},
        message::{Fields, Known, RequestHead},
    },
};

/// Why a request is not admitted by name and password.
pub(super) enum NoLogin {
    /// The client is to say who it is: the value of `WWW-Authenticate`.
    Unauthorized(String),
    /// Too many say so at once.
    Busy,
}

/// Whether the client is one of those who may ask.
pub(super) async fn check(
    client: &Client,
    head: &RequestHead,
    located: &Located<'_>,
    login: &Login,
) -> Result<(), NoLogin> {
    let credentials = &client.worker.credentials;
    let given = authorization(&head.fields);
    match login {
        Login::Basic { realm, users } => {
            let verdict = match given.and_then(Basic::of) {
                Some(own) => credentials.basic(users, &own).await,
                None => Verdict::Wrong,
            };
            match verdict {
                Verdict::Right => Ok(()),
                Verdict::Busy => Err(NoLogin::Busy),
                Verdict::Wrong | Verdict::Stale => {
                    Err(NoLogin::Unauthorized(format!("Basic realm=\"{realm}\"")))
                }
            }
        }
        Login::Digest { realm, users } => {
            let target = located.original.as_deref().unwrap_or(&head.target);
            let verdict = given.and_then(Digest::of).map_or(Verdict::Wrong, |own| {
                credentials.digest(users, realm, head.method.as_str(), target, &own)
            });
            // A client that can prove it with another nonce does so without asking its user.
            let stale = match verdict {
                Verdict::Right => return Ok(()),
                Verdict::Stale => ", stale=true",
                Verdict::Wrong | Verdict::Busy => "",
            };
            let nonce = credentials.nonce();
            Err(NoLogin::Unauthorized(format!(
                "Digest realm=\"{realm}\", qop=\"auth\", algorithm=MD5, nonce=\"{nonce}\"{stale}"
            )))
        }
    }
}

/// What the client says about itself; nothing where it says two things.
fn authorization(fields: &Fields) -> Option<&[u8]> {
    let mut all = fields.get_all(Known::Authorization);
    all.next().filter(|_| all.next().is_none())
}
