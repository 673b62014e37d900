//! Step 10: whether this client may have what it asks for (reference section 1.3). Addresses come
//! first, then names and passwords, external authentication last. `satisfy` says whether all must
//! agree or one is enough.

use std::rc::Rc;

use super::{admission::Admission, explain, external, login, sources, stages::Located};
use crate::{
    model::Policies,
    proxy::{
        balance::View,
        client::Client,
        message::{Known, RequestHead},
        respond::{Answer, Failure},
        trial::Stage,
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
    let refused = ask(client, view, head, located, policies, admission).await?;
    let Some(answer) = refused else {
        // The password was for us, even where it was not needed.
        if policies.login.is_some() {
            head.fields.remove(Known::Authorization);
        }
        return Ok(None);
    };
    // Any 401 of the location sends the client to the sign-in page, whoever said it.
    let signin = policies.external.as_ref().filter(|_| answer.head.status == 401);
    match signin {
        Some(auth) => external::signin(client, head, located, auth, admission, answer).map(Some),
        None => Ok(Some(answer)),
    }
}

async fn ask(
    client: &Rc<Client>,
    view: &Rc<View>,
    head: &mut RequestHead,
    located: &Located<'_>,
    policies: &Policies,
    admission: &mut Admission,
) -> Result<Option<Answer>, Failure> {
    let mut satisfied = Satisfied { any: policies.satisfy_any, refused: None };
    if let Some(own) = &policies.sources {
        let verdict = sources::check(own, located.origin.ip);
        explain::way(client, Stage::Sources, verdict.as_ref(), || located.origin.ip.to_string());
        if let Some(verdict) = verdict
            && satisfied.by(verdict)?
        {
            return Ok(satisfied.refused);
        }
    }
    if let Some(own) = &policies.login {
        let verdict = login::check(client, head, located, own).await;
        explain::way(client, Stage::Login, Some(&verdict), || explain::login(own));
        if matches!(verdict, Verdict::Allowed) && located.route.proxying.fastcgi.is_some() {
            admission.user = login::name(&head.fields);
        }
        if satisfied.by(verdict)? {
            return Ok(satisfied.refused);
        }
    }
    if let Some(auth) = &policies.external {
        satisfied.by(external::check(client, view, head, located, auth, admission).await)?;
    }
    Ok(satisfied.refused)
}

/// What the ways that were asked come to (NGINX's `satisfy`).
struct Satisfied {
    /// One is enough.
    any: bool,
    /// What is answered unless another way is to be heard, and allows.
    refused: Option<Answer>,
}

impl Satisfied {
    /// Takes the next verdict. True: no other is to be heard.
    fn by(&mut self, verdict: Verdict) -> Result<bool, Failure> {
        match verdict {
            Verdict::Failed(failure) => Err(failure),
            Verdict::Allowed => {
                if self.any {
                    self.refused = None;
                }
                Ok(self.any)
            }
            Verdict::Refused(answer) => {
                self.refused = Some(match self.refused.take() {
                    None => answer,
                    Some(before) => worse(before, answer),
                });
                Ok(!self.any)
            }
        }
    }
}

/// Of two refusals the one that the client can do something about, as in NGINX; of two 401, the
/// later with what both ask for.
fn worse(before: Answer, mut later: Answer) -> Answer {
    if before.head.status != 401 {
        return later;
    }
    if later.head.status != 401 {
        return before;
    }
    for challenge in before.head.fields.get_all(Known::WwwAuthenticate) {
        later.head.fields.push_known(Known::WwwAuthenticate, challenge);
    }
    later
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::respond;

    fn refused(status: u16) -> Verdict {
        Verdict::Refused(match status {
            401 => respond::unauthorized([&b"Basic"[..]]),
            _ => respond::failure(Failure::Forbidden),
        })
    }

    /// What becomes of a request: 200 stands for one that may pass, a zero for a way that is not
    /// asked any more.
    fn outcome(any: bool, verdicts: &[u16]) -> (u16, usize) {
        let mut satisfied = Satisfied { any, refused: None };
        let mut heard = 0;
        for verdict in verdicts {
            heard += 1;
            let verdict = match verdict {
                200 => Verdict::Allowed,
                500 => Verdict::Failed(Failure::Busy),
                status => refused(*status),
            };
            match satisfied.by(verdict) {
                Err(failure) => return (failure.status(), heard),
                Ok(true) => break,
                Ok(false) => {}
            }
        }
        (satisfied.refused.map_or(200, |answer| answer.head.status), heard)
    }

    #[test]
    fn all_must_agree_or_one_is_enough() {
        for (verdicts, all, any) in [
            (&[][..], (200, 0), (200, 0)),
            (&[200], (200, 1), (200, 1)),
            (&[403], (403, 1), (403, 1)),
            (&[401], (401, 1), (401, 1)),
            (&[200, 200, 200], (200, 3), (200, 1)),
            (&[200, 401], (401, 2), (200, 1)),
            (&[403, 200], (403, 1), (200, 2)),
            (&[403, 401], (403, 1), (401, 2)),
            (&[401, 403], (401, 1), (401, 2)),
            (&[403, 401, 403], (403, 1), (401, 3)),
            (&[403, 403], (403, 1), (403, 2)),
            (&[403, 401, 200], (403, 1), (200, 3)),
            (&[401, 500], (401, 1), (503, 2)),
            (&[500, 200], (503, 1), (503, 1)),
            (&[200, 500], (503, 2), (200, 1)),
        ] {
            assert_eq!(outcome(false, verdicts), all, "all {verdicts:?}");
            assert_eq!(outcome(true, verdicts), any, "any {verdicts:?}");
        }
    }

    #[test]
    fn two_refusals_ask_for_what_both_want() {
        let later = worse(
            respond::unauthorized([&b"Basic a"[..]]),
            respond::unauthorized([&b"Bearer"[..]]),
        );
        let asked: Vec<_> = later.head.fields.get_all(Known::WwwAuthenticate).collect();
        assert_eq!(asked, [&b"Bearer"[..], b"Basic a"]);
    }
}
