//! Steps 9 and 10: whether a request may go to its endpoints. Only routes with policies have these
//! steps, and only their requests pay for them.

use std::sync::Arc;

use super::{limits, sources, stages::Located};
use crate::{
    model::Policies,
    proxy::{
        balance::View,
        client::Client,
        limits::Slot,
        message::RequestHead,
        respond::{self, Answer, Failure},
    },
};

/// What a request was admitted with: lives until its answer has ended.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// It counts for `limit-connections`.
    slot: Option<Slot>,
}

/// What became of a request at these steps, other than a failure.
pub(super) enum Admitted {
    With(Admission),
    /// Answered here.
    Own(Answer),
}

/// Takes a request through the steps, in their order.
pub(super) async fn admit(
    client: &Client,
    _view: &View,
    head: &mut RequestHead,
    located: &Located<'_>,
    policies: &Arc<Policies>,
) -> Result<Admitted, Failure> {
    let mut admission = Admission::default();
    if let Some(own) = &policies.limits {
        match limits::admit(client, head, located, policies, own) {
            Ok(slot) => admission.slot = slot,
            Err(status) => return Ok(Admitted::Own(respond::status(status))),
        }
    }
    if let Some(own) = &policies.sources {
        sources::check(own, located.origin.ip)?;
    }
    Ok(Admitted::With(admission))
}
