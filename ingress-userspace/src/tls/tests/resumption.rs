//! Which sessions are resumed, by whom, and which never.

use std::sync::Arc;

use rustls::{
    ClientConfig, HandshakeKind,
    version::{TLS12, TLS13},
};

use super::{
    authority::{Ca, asking, rule},
    client, connect, host, model,
};
use crate::{
    model::{Model, Settings, TicketKey, TlsSettings, VerifyClient},
    tls::{Handshakes, Lasting},
};

fn lasting() -> Lasting {
    Lasting::new().expect("randomness")
}

fn with(settings: TlsSettings, keys: &[u8]) -> Model {
    Model {
        settings: Settings { tls: settings, ..Settings::default() },
        ticket_keys: keys.iter().map(|byte| TicketKey(vec![*byte; 80])).collect(),
        ..model(vec![host("a.com", None), host("b.com", None)])
    }
}

fn tickets() -> TlsSettings {
    // Without a cache nothing but a ticket can resume a session.
    TlsSettings { tickets: true, sessions: 0, ..TlsSettings::default() }
}

fn resumes(handshakes: &Handshakes, config: &Arc<ClientConfig>, name: &str) -> bool {
    let done = connect(handshakes, config, name).expect("done");
    done.kind == Some(HandshakeKind::Resumed)
}

fn each_version(test: impl Fn(Arc<ClientConfig>)) {
    test(client(&[&TLS12], None));
    test(client(&[&TLS13], None));
}

#[test]
fn the_cache_resumes_and_survives_a_new_snapshot() {
    each_version(|config| {
        let (lasting, model) = (lasting(), with(TlsSettings::default(), &[]));
        let first = Handshakes::default().next(&model, &lasting);
        assert!(!resumes(&first, &config, "a.com"));
        assert!(resumes(&first, &config, "a.com"));
        let second = first.next(&with(TlsSettings::default(), &[]), &lasting);
        assert!(resumes(&second, &config, "a.com"));
        assert!(!resumes(&second, &config, "b.com"), "of another name");
    });
}

#[test]
fn nothing_is_resumed_without_cache_and_tickets() {
    each_version(|config| {
        let settings = TlsSettings { sessions: 0, ..TlsSettings::default() };
        let handshakes = Handshakes::default().next(&with(settings, &[]), &lasting());
        for _ in 0..3 {
            assert!(!resumes(&handshakes, &config, "a.com"));
        }
    });
}

#[test]
fn two_agents_with_one_secret_resume_each_other_s_sessions() {
    each_version(|config| {
        let agent = |keys: &[u8]| Handshakes::default().next(&with(tickets(), keys), &lasting());
        let (one, other, stranger) = (agent(&[1]), agent(&[1]), agent(&[3]));
        assert!(!resumes(&one, &config, "a.com"));
        assert!(resumes(&other, &config, "a.com"));
        assert!(resumes(&one, &config, "a.com"));
        assert!(!resumes(&stranger, &config, "a.com"));
    });
}

#[test]
fn keys_rotate_without_a_session_lost() {
    each_version(|config| {
        let (one, other) = (lasting(), lasting());
        let old = Handshakes::default().next(&with(tickets(), &[1]), &one);
        let old_other = Handshakes::default().next(&with(tickets(), &[1]), &other);
        assert!(!resumes(&old, &config, "a.com"));
        // The new key is known to all before it is the first anywhere.
        let known = old_other.next(&with(tickets(), &[1, 2]), &other);
        let new = old.next(&with(tickets(), &[2, 1]), &one);
        assert!(resumes(&new, &config, "a.com"));
        assert!(resumes(&known, &config, "a.com"));
        let last = new.next(&with(tickets(), &[2]), &one);
        assert!(resumes(&new, &config, "a.com"));
        assert!(resumes(&last, &config, "a.com"));
    });
}

#[test]
fn agents_without_a_secret_keep_to_their_own() {
    each_version(|config| {
        let agent = || Handshakes::default().next(&with(tickets(), &[]), &lasting());
        let (one, other) = (agent(), agent());
        assert!(!resumes(&one, &config, "a.com"));
        assert!(resumes(&one, &config, "a.com"));
        assert!(!resumes(&other, &config, "a.com"));
    });
}

#[test]
fn a_session_of_another_class_is_not_resumed() {
    let ca = Ca::root("ours");
    for settings in [TlsSettings::default(), tickets()] {
        each_version(|config| {
            let lasting = lasting();
            let open =
                Model { hosts: [host("a.com", None)].into(), ..with(settings.clone(), &[1]) };
            let first = Handshakes::default().next(&open, &lasting);
            assert!(!resumes(&first, &config, "a.com"));
            assert!(resumes(&first, &config, "a.com"));
            // From now on the same name asks for a certificate, which the session has not seen.
            let rule = rule(&[&ca], Vec::new(), VerifyClient::Required);
            let asking = vec![host("a.com", asking(rule))];
            let guarded = first.next(&Model { hosts: asking.into(), ..open }, &lasting);
            assert!(!resumes(&guarded, &config, "a.com"));
        });
    }
}
