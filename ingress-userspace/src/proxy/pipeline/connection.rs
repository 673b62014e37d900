//! What a client's connection has for the variables of texts.

use super::authority::without_port;
use crate::{
    model::ConnectionVariable,
    proxy::{access_log, client::Client},
    tls::{Agreed, ClientVerdict, Identity},
};

/// Hands over what the connection has for this variable; nothing if it has nothing. `host`: the one
/// that is asked for, perhaps with a port and in capitals.
pub(super) fn variable(
    client: &Client,
    host: &str,
    own: ConnectionVariable,
    take: &mut dyn FnMut(&[u8]),
) {
    use ConnectionVariable as Its;
    let mut text = |text: &str| take(text.as_bytes());
    match own {
        Its::Https => text(if client.tls { "on" } else { "" }),
        Its::ServerAddress => {
            if let Some(address) = client.local {
                text(&address.to_canonical().to_string());
            }
        }
        Its::PeerAddress => text(&client.peer_text),
        Its::PeerPort => text(&client.peer.port().to_string()),
        Its::Number => text(&client.number.to_string()),
        Its::Requests => text(&client.requests.get().to_string()),
        Its::Time => text(&seconds(client.age())),
        Its::TlsVersion => text(agreed(client).map_or("", |own| own.version)),
        Its::TlsCipher => text(agreed(client).map_or("", |own| own.suite)),
        Its::TlsResumed => {
            text(agreed(client).map_or("", |own| if own.resumed { "r" } else { "." }));
        }
        Its::TlsServerName => {
            let identity = client.identity.get();
            text(identity.and_then(|own| own.server_name.as_deref()).unwrap_or_default());
        }
        Its::ClientVerified => {
            // Over plain HTTP nobody shows anything.
            if let Some(identity) = client.identity.get() {
                match verdict(identity, host) {
                    ClientVerdict::None => text("NONE"),
                    ClientVerdict::Valid(_) => text("SUCCESS"),
                    ClientVerdict::Failed(fault, _) => {
                        text("FAILED:");
                        text(fault.text());
                    }
                }
            }
        }
        Its::ClientSubject | Its::ClientIssuer => {
            let Some(identity) = client.identity.get() else { return };
            if let ClientVerdict::Valid(shown) | ClientVerdict::Failed(_, shown) =
                verdict(identity, host)
            {
                text(if own == Its::ClientSubject { &shown.subject } else { &shown.issuer });
            }
        }
        Its::Hostname => text(&client.worker.hostname),
        Its::Pid => text(&std::process::id().to_string()),
        Its::Msec => text(&seconds(access_log::Clock::now())),
        Its::TimeLocal => client.worker.log_clock.local(access_log::Clock::now(), text),
        Its::TimeIso => client.worker.log_clock.iso(access_log::Clock::now(), text),
    }
}

fn agreed(client: &Client) -> Option<&Agreed> {
    client.identity.get()?.session.as_ref()
}

/// What is known of the client's certificate, as far as it was shown to this host: over one
/// connection, requests may come for others, which did not ask for it.
fn verdict<'c>(identity: &'c Identity, host: &str) -> &'c ClientVerdict {
    let host = without_port(host).trim_end_matches('.');
    match &identity.server_name {
        Some(name) if !name.eq_ignore_ascii_case(host) => &ClientVerdict::None,
        _ => &identity.verdict,
    }
}

/// Seconds, cut to three decimals.
fn seconds(time: std::time::Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}
