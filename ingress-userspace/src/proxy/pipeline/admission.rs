//! Steps 9 and 10: whether a request may go to its endpoints. Only routes with policies have these
//! steps, and only their requests pay for them.

use super::{sources, stages::Located};
use crate::{
    model::Policies,
    proxy::{
        balance::View,
        client::Client,
        message::RequestHead,
        respond::{Answer, Failure},
    },
};

/// What a request was admitted with: lives until its answer has ended.
#[derive(Debug, Default)]
pub(super) struct Admission {}

/// What became of a request at these steps, other than a failure.
pub(super) enum Admitted {
    With(Admission),
    /// Answered here.
    Own(Answer),
}

/// Takes a request through the steps, in their order.
pub(super) async fn admit(
    _client: &Client,
    _view: &View,
    head: &mut RequestHead,
    located: &Located<'_>,
    policies: &Policies,
) -> Result<Admitted, Failure> {
    let admission = Admission::default();
    if let Some(own) = &policies.sources {
        sources::check(own, located.origin.ip)?;
    }
    if let Some(applied) = &located.applied {
        let decided = policies.sources.as_ref().is_some_and(|own| !own.allowed.is_empty());
        applied.admit(&head.method, located.origin.ip, decided)?;
    }
    Ok(Admitted::With(admission))
}
