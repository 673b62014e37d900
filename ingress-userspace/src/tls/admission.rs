//! Whether a request may enter a host that looks at clients' certificates (reference section 2,
//! steps 4 to 6): a pure function of the host's rule, the connection and the request's host.

use super::verify::{ClientVerdict, Identity};
use crate::model::{ClientAuth, ClientRule, VerifyClient};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission<'c> {
    /// It goes on. The upstream gets these fields in place of any that the client sent.
    Pass(ClientHeaders<'c>),
    /// 400, "The SSL certificate error".
    BadCertificate,
    /// 400, "No required SSL certificate was sent".
    NoCertificate,
    /// 421: the connection was not made for this host, or by another rule than the present one. A
    /// client makes a new connection and asks again (RFC 9110, section 15.5.20).
    Misdirected,
    /// 403.
    Forbidden,
    /// 302 to here.
    ErrorPage(&'c str),
}

/// What the upstream is told about a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientHeaders<'c> {
    verify: Option<Verify<'c>>,
    subject: &'c str,
    issuer: &'c str,
    certificate: &'c str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verify<'c> {
    Success,
    None,
    Failed(&'c str),
}

impl<'c> ClientHeaders<'c> {
    /// The fields that a host with a rule never takes from a client.
    pub(crate) const NAMES: [&'static str; 4] =
        ["ssl-client-verify", "ssl-client-subject-dn", "ssl-client-issuer-dn", "ssl-client-cert"];

    /// Names, and values in two parts that belong together. Empty values are not sent, as in
    /// nginx.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, [&'c str; 2])> {
        let verify = match self.verify {
            Some(Verify::Success) => ["SUCCESS", ""],
            Some(Verify::None) => ["NONE", ""],
            Some(Verify::Failed(reason)) => ["FAILED:", reason],
            None => ["", ""],
        };
        let values = [verify, [self.subject, ""], [self.issuer, ""], [self.certificate, ""]];
        Self::NAMES.into_iter().zip(values).filter(|(_, value)| *value != ["", ""])
    }
}

/// What becomes of a request to `host` (lower case, without port) whose host asks for `auth`, over
/// a connection with this identity; `None`: plain HTTP.
///
/// Plain HTTP is let through, as by ingress-nginx, unless a subject is asked for: the redirect to
/// HTTPS comes later.
pub(crate) fn admit<'c>(
    auth: &'c ClientAuth,
    identity: Option<&'c Identity>,
    host: &str,
) -> Admission<'c> {
    let ClientAuth::Rule(rule) = auth else { return Admission::Forbidden };
    let Some(identity) = identity else {
        return match rule.subject {
            Some(_) => Admission::Forbidden,
            None => Admission::Pass(ClientHeaders::default()),
        };
    };
    // nginx's exception: who asked for no name is not sent away, but told that it has no
    // certificate, for it was not asked for one.
    let judged_by_it = match (&identity.rule, &identity.server_name) {
        (Some(by), Some(name)) => **name == *host && by == rule,
        (Some(by), None) => by == rule,
        (None, name) => name.is_none(),
    };
    if !judged_by_it {
        return Admission::Misdirected;
    }
    let refused = |otherwise| match &rule.error_page {
        Some(page) => Admission::ErrorPage(page),
        None => otherwise,
    };
    let (verify, certificate) = match &identity.verdict {
        ClientVerdict::Valid(certificate) => (Verify::Success, Some(certificate)),
        ClientVerdict::None if rule.verify == VerifyClient::Required => {
            return refused(Admission::NoCertificate);
        }
        ClientVerdict::None => (Verify::None, None),
        ClientVerdict::Failed(fault, certificate) if passes(rule, *fault) => {
            (Verify::Failed(fault.text()), Some(certificate))
        }
        ClientVerdict::Failed(..) => return refused(Admission::BadCertificate),
    };
    let no_match = identity.rule.is_none() || !identity.subject_matches;
    if rule.subject.is_some() && no_match {
        return Admission::Forbidden;
    }
    let mut headers = ClientHeaders { verify: Some(verify), ..ClientHeaders::default() };
    if let Some(certificate) = certificate {
        headers.subject = &certificate.subject;
        headers.issuer = &certificate.issuer;
        headers.certificate = &certificate.pem;
    }
    Admission::Pass(headers)
}

/// `optional_no_ca` forgives that nobody we know has signed the certificate, and nothing else.
fn passes(rule: &ClientRule, fault: super::verify::Fault) -> bool {
    rule.verify == VerifyClient::OptionalUntrusted && fault == super::verify::Fault::Untrusted
}
