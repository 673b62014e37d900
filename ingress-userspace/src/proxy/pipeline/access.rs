//! Step 10: who may ask, by address and by name and password. `satisfy` says whether all ways in
//! must agree or one is enough.

use super::{
    login::{self, NoLogin},
    sources,
    stages::Located,
};
use crate::{
    model::Policies,
    proxy::{
        client::Client,
        message::{Known, RequestHead},
        respond::{self, Answer, Failure},
    },
};

/// What became of a request at this step.
pub(super) enum Verdict {
    /// It may go on.
    Admitted,
    /// It is answered here.
    Own(Answer),
}

/// Takes a request through the ways in, in NGINX's order. With `satisfy: any`, the first that
/// admits is enough, and what refused before is forgotten; where none does, 401 comes before 403:
/// the client can do something about it.
pub(super) async fn check(
    client: &Client,
    head: &mut RequestHead,
    located: &Located<'_>,
    policies: &Policies,
) -> Result<Verdict, Failure> {
    let any = policies.satisfy_any;
    let mut refused = None;
    if let Some(own) = &policies.sources {
        match sources::check(own, located.origin.ip) {
            // An address that is in no list is not refused, nor is that a way in.
            Ok(admits) if any && admits => return Ok(admitted(head, policies)),
            Ok(_) => {}
            Err(failure) if any => refused = Some(respond::failure(failure)),
            Err(failure) => return Err(failure),
        }
    }
    if let Some(own) = &policies.login {
        match login::check(client, head, located, own).await {
            Ok(()) if any => return Ok(admitted(head, policies)),
            Ok(()) => {}
            Err(NoLogin::Unauthorized(challenge)) => {
                let answer = respond::unauthorized(&challenge);
                if !any {
                    return Ok(Verdict::Own(answer));
                }
                refused = Some(answer);
            }
            Err(NoLogin::Busy) => return Err(Failure::Busy),
        }
    }
    Ok(match refused {
        Some(answer) => Verdict::Own(answer),
        None => admitted(head, policies),
    })
}

/// What was for us is not for the upstream.
fn admitted(head: &mut RequestHead, policies: &Policies) -> Verdict {
    if policies.login.is_some() {
        head.fields.remove(Known::Authorization);
    }
    Verdict::Admitted
}
