//! External authentication (reference section 8.1): part of step 10.

use std::rc::Rc;

use super::{access::Verdict, admission::Admission, stages::Located};
use crate::{
    model::ExternalAuth,
    proxy::{
        balance::View,
        client::Client,
        message::RequestHead,
        respond::{Answer, Failure},
    },
};

/// Asks the server of the route whether the request may pass. What upstream and client are to get
/// from its answer is put into `admission`.
pub(super) async fn check(
    _client: &Rc<Client>,
    _view: &View,
    _head: &RequestHead,
    _located: &Located<'_>,
    _auth: &ExternalAuth,
    _admission: &mut Admission,
) -> Verdict {
    Verdict::Failed(Failure::Denied)
}

/// What a 401 of the location becomes: the way to the sign-in page, if there is one.
pub(super) fn signin(
    _client: &Rc<Client>,
    _head: &RequestHead,
    _located: &Located<'_>,
    _auth: &ExternalAuth,
    unauthorized: Answer,
) -> Result<Answer, Failure> {
    Ok(unauthorized)
}
