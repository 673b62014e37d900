//! Step 10: whether this client may have what it asks for (reference section 1.3). Addresses come
//! first, external authentication last.

use std::rc::Rc;

use super::{admission::Admission, external, sources, stages::Located};
use crate::{
    model::Policies,
    proxy::{
        balance::View,
        client::Client,
        message::RequestHead,
        respond::{Answer, Failure},
    },
};

/// What one way of authentication says of a request.
pub(super) enum Verdict {
    /// It may pass.
    Allowed,
    /// It may not, and this is the answer: 401 or 403.
    Refused(Answer),
    /// There is no verdict: it may not, whatever another way says.
    Failed(Failure),
}

/// Asks all that the route has. `Some`: the answer of a request that may not pass.
pub(super) async fn check(
    client: &Rc<Client>,
    view: &Rc<View>,
    head: &mut RequestHead,
    located: &Located<'_>,
    policies: &Policies,
    admission: &mut Admission,
) -> Result<Option<Answer>, Failure> {
    if let Some(own) = &policies.sources {
        sources::check(own, located.origin.ip)?;
    }
    let verdict = match &policies.external {
        Some(auth) => external::check(client, view, head, located, auth, admission).await,
        None => Verdict::Allowed,
    };
    match verdict {
        Verdict::Allowed => Ok(None),
        Verdict::Refused(answer) => {
            // Any 401 of the location sends the client to the sign-in page, whoever said it.
            let signin = policies.external.as_ref().filter(|_| answer.head.status == 401);
            match signin {
                Some(auth) => {
                    external::signin(client, head, located, auth, admission, answer).map(Some)
                }
                None => Ok(Some(answer)),
            }
        }
        Verdict::Failed(failure) => Err(failure),
    }
}
