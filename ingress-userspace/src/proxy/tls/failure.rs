use std::io;

use rustls::Error;

/// Why a handshake came to nothing. A closed set: it is a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// The client did not speak TLS at all; it was told so in HTTP.
    PlainHttp,
    /// It took too long.
    Timeout,
    /// The client went away.
    Closed,
    /// Nothing that both sides can do: versions, suites, curves.
    NothingInCommon,
    /// The client broke it off with an alert: it does not like our certificate, most often.
    Alert,
    /// Not what the protocol allows at this point, or at all.
    Malformed,
    /// `ssl-reject-handshake`.
    UnknownName,
    /// Whatever else.
    Other,
}

impl HandshakeFailure {
    pub(crate) const ALL: [Self; 8] = [
        Self::PlainHttp,
        Self::Timeout,
        Self::Closed,
        Self::NothingInCommon,
        Self::Alert,
        Self::Malformed,
        Self::UnknownName,
        Self::Other,
    ];

    /// The label's value.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PlainHttp => "plain_http",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NothingInCommon => "nothing_in_common",
            Self::Alert => "alert",
            Self::Malformed => "malformed",
            Self::UnknownName => "unknown_name",
            Self::Other => "other",
        }
    }

    pub(super) fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => {
                Self::NothingInCommon
            }
            Some(Error::AlertReceived(_)) => Self::Alert,
            Some(
                Error::InappropriateMessage { .. }
                | Error::InappropriateHandshakeMessage { .. }
                | Error::InvalidMessage(_)
                | Error::PeerMisbehaved(_)
                | Error::PeerSentOversizedRecord
                | Error::DecryptError
                | Error::NoCertificatesPresented
                | Error::InvalidCertificate(_),
            ) => Self::Malformed,
            Some(_) => Self::Other,
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => Self::Closed,
                _ => Self::Other,
            },
        }
    }
}
