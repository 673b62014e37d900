//! Steps 9 and 10: whether a request may go to its endpoints. Only routes with policies have these
//! steps, and only their requests pay for them.

use std::rc::Rc;

use super::{access, stages::Located};
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
    client: &Rc<Client>,
    view: &View,
    head: &mut RequestHead,
    located: &Located<'_>,
    policies: &Policies,
) -> Result<Admitted, Failure> {
    let mut admission = Admission::default();
    match access::check(client, view, head, located, policies, &mut admission).await? {
        Some(answer) => Ok(Admitted::Own(answer)),
        None => Ok(Admitted::With(admission)),
    }
}
