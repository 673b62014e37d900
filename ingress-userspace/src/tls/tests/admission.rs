//! The table of reference section 2, steps 4 to 6.

use std::sync::Arc;

use crate::{
    model::{Authority, ClientAuth, ClientRule, ObjectRef, VerifyClient},
    tls::{
        Admission, Identity, admit,
        verify::{ClientCertificate, ClientVerdict, Fault},
    },
};
use VerifyClient::{Off, Optional, OptionalUntrusted, Required};

fn rule(verify: VerifyClient) -> ClientRule {
    let secret = ObjectRef::new("Secret", "web", "ca");
    ClientRule {
        authority: Arc::new(Authority { secret, roots: vec![vec![1]], lists: Vec::new() }),
        verify,
        depth: 1,
        error_page: None,
        pass_certificate: false,
        subject: None,
    }
}

fn certificate() -> Box<ClientCertificate> {
    let [subject, issuer, pem] = ["CN=alice", "CN=ours", "PEM"].map(str::to_owned);
    Box::new(ClientCertificate { subject, issuer, pem })
}

/// `pass` and the fields, or what else becomes of a request to a.com.
fn outcome(auth: &ClientAuth, identity: Option<&Identity>) -> String {
    match admit(auth, identity, "a.com") {
        Admission::Pass(headers) => {
            let field = |(name, [begin, end]): (&str, [&str; 2])| {
                format!(" {}={begin}{end}", name.trim_start_matches("ssl-client-"))
            };
            format!("pass{}", headers.fields().map(field).collect::<String>())
        }
        other => format!("{other:?}"),
    }
}

fn identity(rule: &ClientRule, verdict: ClientVerdict) -> Identity {
    Identity {
        server_name: Some("a.com".into()),
        rule: Some(Arc::new(rule.clone())),
        verdict,
        subject_matches: true,
        session: None,
    }
}

#[test]
fn verdicts_are_what_the_rule_makes_of_them() {
    let valid = || ClientVerdict::Valid(certificate());
    let untrusted = || ClientVerdict::Failed(Fault::Untrusted, certificate());
    let expired = || ClientVerdict::Failed(Fault::Expired, certificate());
    let described = "subject-dn=CN=alice issuer-dn=CN=ours cert=PEM";
    let success = format!("pass verify=SUCCESS {described}");
    let forgiven = format!("pass verify=FAILED:{} {described}", Fault::Untrusted.text());
    for (verify, verdict, expected) in [
        (Required, valid(), &*success),
        (Required, ClientVerdict::None, "NoCertificate"),
        (Required, untrusted(), "BadCertificate"),
        (Required, expired(), "BadCertificate"),
        (Optional, valid(), &success),
        (Optional, ClientVerdict::None, "pass verify=NONE"),
        (Optional, untrusted(), "BadCertificate"),
        (Optional, expired(), "BadCertificate"),
        (OptionalUntrusted, valid(), &success),
        (OptionalUntrusted, ClientVerdict::None, "pass verify=NONE"),
        (OptionalUntrusted, untrusted(), &forgiven),
        (OptionalUntrusted, expired(), "BadCertificate"),
        (Off, ClientVerdict::None, "pass verify=NONE"),
    ] {
        let rule = rule(verify);
        let identity = identity(&rule, verdict);
        let auth = ClientAuth::Rule(Arc::new(rule));
        assert_eq!(outcome(&auth, Some(&identity)), expected, "{verify:?} {:?}", identity.verdict);
    }
}

#[test]
fn an_error_page_stands_for_400_alone() {
    let rule = ClientRule { error_page: Some("https://x/".into()), ..rule(Required) };
    let auth = ClientAuth::Rule(Arc::new(rule.clone()));
    let page = "ErrorPage(\"https://x/\")";
    let expired = ClientVerdict::Failed(Fault::Expired, certificate());
    assert_eq!(outcome(&auth, Some(&identity(&rule, ClientVerdict::None))), page);
    assert_eq!(outcome(&auth, Some(&identity(&rule, expired))), page);
    let elsewhere = Identity { server_name: Some("b.com".into()), ..Identity::default() };
    assert_eq!(outcome(&auth, Some(&elsewhere)), "Misdirected");
}

#[test]
fn a_subject_that_does_not_match_is_forbidden() {
    let rule = ClientRule { subject: Some("CN=bob".into()), ..rule(Optional) };
    let auth = ClientAuth::Rule(Arc::new(rule.clone()));
    let mut identity = identity(&rule, ClientVerdict::Valid(certificate()));
    assert!(outcome(&auth, Some(&identity)).starts_with("pass"));
    identity.subject_matches = false;
    assert_eq!(outcome(&auth, Some(&identity)), "Forbidden");
    assert_eq!(outcome(&auth, None), "Forbidden", "plain HTTP has no subject");
    // Nor has a client that asked for no name.
    let nameless = Identity { subject_matches: true, ..Identity::default() };
    assert_eq!(outcome(&auth, Some(&nameless)), "Forbidden");
}

#[test]
fn a_connection_made_for_another_host_or_rule_is_sent_away() {
    let own = rule(Optional);
    let auth = ClientAuth::Rule(Arc::new(own.clone()));
    let valid = || ClientVerdict::Valid(certificate());
    let named = |name: Option<&str>, rule: Option<&ClientRule>| Identity {
        server_name: name.map(Box::from),
        rule: rule.map(|rule| Arc::new(rule.clone())),
        verdict: valid(),
        subject_matches: true,
        session: None,
    };
    let mut changed = own.clone();
    changed.authority = Arc::new(Authority { lists: vec![vec![2]], ..(*own.authority).clone() });
    for identity in [
        named(Some("b.com"), Some(&own)),
        named(Some("b.com"), None),
        named(Some("a.com"), None),
        named(Some("a.com"), Some(&changed)),
        named(None, Some(&changed)),
    ] {
        assert_eq!(outcome(&auth, Some(&identity)), "Misdirected", "{identity:?}");
    }
}

#[test]
fn who_asked_for_no_name_has_no_certificate() {
    let nameless = Identity::default();
    for (verify, expected) in [(Required, "NoCertificate"), (Optional, "pass verify=NONE")] {
        let auth = ClientAuth::Rule(Arc::new(rule(verify)));
        assert_eq!(outcome(&auth, Some(&nameless)), expected);
    }
}

#[test]
fn plain_http_is_left_to_the_redirect_and_a_broken_rule_lets_nobody_in() {
    assert_eq!(outcome(&ClientAuth::Rule(Arc::new(rule(Required))), None), "pass");
    let identity = identity(&rule(Required), ClientVerdict::Valid(certificate()));
    assert_eq!(outcome(&ClientAuth::Broken, None), "Forbidden");
    assert_eq!(outcome(&ClientAuth::Broken, Some(&identity)), "Forbidden");
}
