//! Names and passwords (reference section 8.2).

use super::{access::Verdict, stages::Located};
use crate::{
    model::Login,
    proxy::{
        client::Client,
        credentials::{Basic, Digest, Identity},
        message::{Fields, Known, RequestHead},
        respond::{self, Failure},
    },
};

/// Whether the client is one of those who may ask.
pub(super) async fn check(
    client: &Client,
    head: &mut RequestHead,
    located: &Located<'_>,
    login: &Login,
) -> Verdict {
    let (credentials, counters) = (&client.worker.credentials, &client.worker.counters);
    let given = authorization(&head.fields);
    let challenge = match login {
        Login::Basic { realm, users } => {
            let identity = match given.and_then(Basic::of) {
                Some(own) => credentials.basic(users, &own, counters).await,
                None => Identity::Wrong,
            };
            match identity {
                Identity::Right => return Verdict::Allowed,
                Identity::Busy => return Verdict::Failed(Failure::Busy),
                Identity::Wrong | Identity::Stale => format!("Basic realm=\"{realm}\""),
            }
        }
        Login::Digest { realm, users } => {
            let target = located.original.as_deref().unwrap_or(&head.target);
            let identity = given.and_then(Digest::of).map_or(Identity::Wrong, |own| {
                let (method, again) = match &head.proved {
                    Some(method) => (&**method, true),
                    // What is only thought through uses up nothing.
                    None => (head.method.as_str(), client.is_trial()),
                };
                credentials.digest(users, realm, (method, target), &own, again)
            });
            // A client that can prove it with another nonce does so without asking its user.
            let stale = match identity {
                Identity::Right => {
                    let method = head.method.as_str();
                    head.proved.get_or_insert_with(|| method.into());
                    return Verdict::Allowed;
                }
                Identity::Stale => ", stale=true",
                Identity::Wrong | Identity::Busy => "",
            };
            let nonce = credentials.nonce();
            format!(
                "Digest realm=\"{realm}\", qop=\"auth\", algorithm=MD5, nonce=\"{nonce}\"{stale}"
            )
        }
    };
    Verdict::Refused(respond::unauthorized([challenge.as_bytes()]))
}

/// The name that a client gave, of basic authentication.
pub(super) fn name(fields: &Fields) -> Option<Box<[u8]>> {
    Some(Basic::of(authorization(fields)?)?.name().into())
}

/// What the client says about itself; nothing where it says two things.
fn authorization(fields: &Fields) -> Option<&[u8]> {
    let mut all = fields.get_all(Known::Authorization);
    all.next().filter(|_| all.next().is_none())
}
