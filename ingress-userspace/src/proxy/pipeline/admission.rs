//! Steps 9 and 10: whether a request may go to its endpoints. Only routes with policies have these
//! steps, and only their requests pay for them.

use std::{rc::Rc, sync::Arc};

use super::{access, external::Granted, limits, stages::Located};
use crate::{
    model::Policies,
    proxy::{
        balance::View,
        client::Client,
        limits::Slot,
        message::RequestHead,
        respond::{self, Answer, Failure},
        trial::{Says, Stage},
    },
};

/// What a request was admitted with: lives until its answer has ended.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// What the server of external authentication said, if it was asked.
    pub(super) external: Option<Granted>,
    /// Who the client has proved to be by name and password, where somebody is told.
    pub(super) user: Option<Box<[u8]>>,
    /// It counts for `limit-connections`.
    slot: Option<Slot>,
}

/// What became of a request at these steps, other than a failure.
pub(super) enum Admitted {
    With(Box<Admission>),
    /// Answered here.
    Own(Answer),
}

/// Takes a request through the steps, in their order.
pub(super) async fn admit(
    client: &Rc<Client>,
    view: &Rc<View>,
    head: &mut RequestHead,
    located: &Located<'_>,
    policies: &Arc<Policies>,
) -> Result<Admitted, Failure> {
    let mut admission = Admission::default();
    // A page is a part of the request that was counted (NGINX counts the main request once).
    if let Some(own) = policies.limits.as_ref().filter(|_| !located.is_page) {
        match limits::admit(client, head, located, policies, own) {
            Ok(slot) => admission.slot = slot,
            Err(status) => return Ok(Admitted::Own(respond::status(status))),
        }
    }
    // Before who it is: in nginx, addresses are looked at first.
    if let Some(applied) = &located.applied {
        client.note(Stage::SnippetAccess, Says::Pass, String::new);
        let decided = policies.sources.as_ref().is_some_and(|own| !own.allowed.is_empty());
        applied.admit(&head.method, located.origin.ip, decided)?;
    }
    match access::check(client, view, head, located, policies, &mut admission).await? {
        Some(answer) => Ok(Admitted::Own(answer)),
        None => Ok(Admitted::With(Box::new(admission))),
    }
}
